#!/bin/bash
# What `sudo make quickstart` does: installs what the host lacks, builds, makes
# a machine named quickstart of the host's own kind, and runs a command in it
# over SSH. Run again, it finds the machine that is there. What it is and is
# called, and the flags of create, can be changed:
#
#   DISTRO=arch NAME=box packaging/quickstart.sh --memory-max 2G
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

name=${NAME:-quickstart}
distro=${DISTRO:-$(
    # shellcheck disable=SC1091 # a file of the host
    . /etc/os-release
    case " ${ID:-} ${ID_LIKE:-} " in
        *' debian '* | *' ubuntu '*) echo debian ;;
        *' arch '*) echo arch ;;
        *' fedora '* | *' rhel '* | *' centos '*) echo fedora ;;
        *) echo debian ;;
    esac
)}
program=bin/nspawn-build
key=build/quickstart/id_ed25519

step() { printf '\n==> %s\n' "$*"; }
die() {
    printf 'quickstart: %s\nhint: %s\n' "$1" "$2" >&2
    exit "${3:-1}"
}

[[ $(id -u) == 0 ]] || die 'machines take root' 'sudo make quickstart'

# What is made in the clone belongs to whom the clone belongs to.
owner=$(stat -c %U .)
own() { chown "$owner:" "$@"; }

step 'installing what this host lacks'
packaging/install-deps build "$distro"

step 'building'
make --no-print-directory build

step "making the $distro machine $name"
if [[ ! -f $key ]]; then
    mkdir -p build/quickstart
    own build build/quickstart
    chmod 0700 build/quickstart
    ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$key"
    own "$key" "$key.pub"
fi
"$program" create --distro "$distro" --ssh-key "$key.pub" "$@" "$name"

step 'running a command in it'
command=("$program" ssh --identity "$key" "$name" 'cat /etc/os-release; systemctl is-system-running; uptime')
printf '%s ' '$' "${command[@]:0:5}"
printf "'%s'\n" "${command[5]}"
# A machine that is degraded says so and answers all the same.
"${command[@]}"

step 'from here'
cat <<EOF
log in              ssh -i $key $name.nspawn
run a command       ssh -i $key $name.nspawn COMMAND
look at it          sudo $program status $name
throw it away       sudo $program destroy $name
EOF
