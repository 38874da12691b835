package main

import (
	"fmt"
	"path/filepath"
	"strings"
)

// pacmanConf is the configuration that pacman and pacman-key are given, after
// pacman.conf(5). It names every file that pacman would otherwise look for on
// the host, and no directive that only some versions from 6.0 on know: those
// would be warned about. DownloadUser is left out because that user cannot
// reach private directories.
func (j *job) pacmanConf() string {
	var b strings.Builder
	line := func(format string, values ...any) { fmt.Fprintf(&b, format+"\n", values...) }
	line("# Written by nspawn-build, for one bootstrap.")
	line("[options]")
	line("Architecture = %s", j.machine)
	line("DBPath = %s/", filepath.Join(j.target, "var/lib/pacman"))
	for _, directory := range j.packageD {
		line("CacheDir = %s/", directory)
	}
	line("GPGDir = %s/", j.gpgDir())
	line("HookDir = %s/", j.hooksPath())
	line("LogFile = %s", filepath.Join(j.work, "pacman.log"))
	line("ParallelDownloads = 5")
	if j.checkSpace {
		line("CheckSpace")
	}
	line("SigLevel = %s", j.sigLevel())
	line("LocalFileSigLevel = Required")
	for _, repository := range j.repositories() {
		line("\n[%s]", repository)
		for _, mirror := range j.mirrors {
			line("Server = %s", mirror)
		}
	}
	return b.String()
}

// sigLevel says what has to be signed. An optional signature that is there has
// to be right all the same.
func (j *job) sigLevel() string {
	if j.databases == "required" {
		return "PackageRequired DatabaseRequired TrustedOnly"
	}
	return "PackageRequired DatabaseOptional TrustedOnly"
}
