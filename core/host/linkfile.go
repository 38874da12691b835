package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
)

// networkDirs are where networkd reads .network files from. A file hides those
// of its name in later ones; the first by name that matches a link counts. See
// systemd.network(5).
var networkDirs = []string{"/etc/systemd/network", "/run/systemd/network", "/usr/local/lib/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network"}

// linkState is where networkd says what it makes of a link.
const linkState = "/run/systemd/netif/links"

// NetworkFile is the .network file by which networkd manages a link that
// exists; empty when it manages it by none.
func NetworkFile(link string) (string, error) {
	l, err := net.InterfaceByName(link)
	if err != nil {
		return "", fmt.Errorf("link %s: %w", link, err)
	}
	data, err := os.ReadFile(filepath.Join(linkState, fmt.Sprint(l.Index)))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(data)) {
		if file, ok := strings.CutPrefix(strings.TrimSpace(line), "NETWORK_FILE="); ok {
			return file, nil
		}
	}
	return "", nil
}

// Outranking is the .network file that a link of a machine would take in place
// of ours, because its name comes first; empty when there is none. The link
// need not exist. A file whose [Match] asks what cannot be told beforehand is
// passed over: networkd says what became of it once the link is there.
func Outranking(link, ours string) (string, error) { return outranking(networkDirs, link, ours) }

func outranking(dirs []string, link, ours string) (string, error) {
	paths := map[string]string{}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".network") && paths[e.Name()] == "" {
				paths[e.Name()] = filepath.Join(dir, e.Name())
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		if paths[name] == ours || name > filepath.Base(ours) {
			break
		}
		data, err := os.ReadFile(paths[name])
		if err != nil || len(data) == 0 { // a link to /dev/null hides a file
			continue
		}
		if matches(data, link) {
			return paths[name], nil
		}
	}
	return "", nil
}

// matches evaluates [Match] for the host's end of a machine's link.
func matches(data []byte, link string) bool {
	options, err := unit.DeserializeOptions(bytes.NewReader(data))
	if err != nil {
		return false // networkd does not take it either
	}
	asked := false
	for _, o := range options {
		if o.Section != "Match" || o.Value == "" {
			continue
		}
		asked = true
		var have string
		switch o.Name {
		case "Name", "OriginalName":
			have = link
		case "Driver", "Kind":
			have = "veth"
		case "Type":
			have = "ether"
		default:
			return false
		}
		if !globbed(o.Value, have) {
			return false
		}
	}
	return asked
}

// globbed matches a list of patterns, which a leading ! inverts as a whole.
func globbed(patterns, have string) bool {
	patterns, invert := strings.CutPrefix(patterns, "!")
	found := slices.ContainsFunc(strings.Fields(patterns), func(p string) bool {
		ok, err := path.Match(p, have)
		return err == nil && ok
	})
	return found != invert
}
