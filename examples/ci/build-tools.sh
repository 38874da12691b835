#!/bin/sh
# Run in the tree of an image: installs a compiler, whatever the distribution.
set -eu
if command -v apt-get >/dev/null; then
    apt-get update
    apt-get install --yes --no-install-recommends gcc make
elif command -v dnf >/dev/null; then
    dnf --assumeyes install gcc make
else
    pacman -Sy --noconfirm --needed gcc make
fi
