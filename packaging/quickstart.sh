#!/bin/bash
# What `sudo make quickstart` does: installs what the host lacks, builds, makes
# a Debian machine named quickstart, and runs a command in it over SSH. Run
# again, it finds the machine that is there. NAME and the flags of create can
# be changed:
#
#   NAME=box packaging/quickstart.sh --memory-max 2G
set -euo pipefail
cd "$(dirname "$(realpath "$0")")/.."

name=${NAME:-quickstart}
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
packaging/install-deps build

# Under systemd the link is configured by networkd. Where another program has
# the host's network, starting networkd beside it is the user's decision.
if [[ -d /run/systemd/system ]] && ! systemctl --quiet is-active systemd-networkd.service; then
    die 'systemd-networkd does not run on this host, and it gives the machines their network' \
        'systemctl enable --now systemd-networkd (it leaves links alone that no .network file of yours names), then run this again' 3
fi

step 'building'
make --no-print-directory build

step "making the machine $name"
if [[ ! -f $key ]]; then
    mkdir -p build/quickstart
    own build build/quickstart
    chmod 0700 build/quickstart
    ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$key"
    own "$key" "$key.pub"
fi
"$program" create --distro debian --ssh-key "$key.pub" "$@" "$name"

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
