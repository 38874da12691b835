package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
)

// devPluginFlag names a plugin that is being worked on. It takes no default
// from the environment or the file: it is about this one command line.
func devPluginFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: "dev-plugin", Usage: "run a plugin that you work on, though nothing vouches for it: `NAME=PATH`; may be repeated"}
}

// readDevPlugins reads the flag of a command that has it, and says loudly what
// it does.
func (a *app) readDevPlugins(ctx *cli.Context) error {
	a.dev = nil
	for _, text := range ctx.StringSlice("dev-plugin") {
		name, path, ok := strings.Cut(text, "=")
		if _, named := pluginhost.NameOf(pluginhost.FileOf(name)); !ok || !named || path == "" {
			return &usageError{fmt.Sprintf("dev-plugin: %q is not a plugin and its program", text), "write NAME=PATH, such as zypper=./nspawn-build-plugin-zypper"}
		}
		path, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		for _, other := range a.dev {
			if other.Name == name {
				return &usageError{fmt.Sprintf("dev-plugin: %s was given twice", name), "leave one of them out"}
			}
		}
		a.dev = append(a.dev, pluginhost.DevPlugin{Name: name, Path: path, Owner: developer()})
		a.log.Warnf("dev-plugin: the %s plugin is %s: NOTHING VOUCHES FOR IT, and it runs as root; never use this for machines that matter", name, path)
	}
	return nil
}

// developer is the user that called sudo; root without.
func developer() uint32 {
	uid, err := strconv.ParseUint(os.Getenv("SUDO_UID"), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(uid)
}

// devWords are the flags by which another run of this program has the same
// plugins.
func (a *app) devWords() []string {
	var words []string
	for _, d := range a.dev {
		words = append(words, "--dev-plugin", d.Name+"="+d.Path)
	}
	return words
}

// devPrograms are what these plugins are now, for what must not be taken for
// the work of others.
func (a *app) devPrograms() []string {
	var all []string
	for _, d := range a.dev {
		content, err := os.ReadFile(d.Path)
		all = append(all, fmt.Sprintf("dev-plugin %s: %x %v", d.Name, sha256.Sum256(content), err))
	}
	return all
}
