package main

import "path/filepath"

// enclosure prepares the namespaces that a tool runs in: it gets a /run with
// nothing in it but the host's directories, mounted one by one. pacstrap of
// arch-install-scripts 30 and later shows the tree the host's /run, without
// what is mounted below it: so scripts of packages find empty directories there,
// write to nothing of the host's and do not take its services for theirs. /run/user
// is left out, or gpg would put its sockets there.
//
// $0 is an empty directory, the arguments are the tool and its own.
const enclosure = `set -e
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$0"
for directory in /run/*; do
  if [ -d "$directory" ] && [ ! -L "$directory" ] && [ "$directory" != /run/user ]; then
    mkdir "$0/${directory##*/}"
    mount --rbind "$directory" "$0/${directory##*/}"
  fi
done
mount --rbind "$0" /run
exec "$@"`

// enclosed makes a command run in mount, PID and IPC namespaces of its own.
// Whatever it mounts and whatever it leaves running, a gpg-agent for one, is
// gone when it ends or is killed.
func (j *job) enclosed(argv []string) []string {
	return append([]string{
		"unshare", "--mount", "--propagation", "private", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc",
		"sh", "-c", enclosure, filepath.Join(j.scratch, "run"),
	}, argv...)
}
