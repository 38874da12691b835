package rootcache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// keyForm is raised when what this program itself makes of a tree before it is
// kept becomes another.
const keyForm = 1

// Key is all that a bootstrapped tree is made of.
type Key struct {
	Plugin       string            `json:"plugin"`
	PluginSHA256 string            `json:"pluginSHA256"`
	Engine       string            `json:"engine"`
	Request      map[string]string `json:"request"`
	Repository   map[string]string `json:"repository"`
}

// NewKey is the key of what a plugin would make of a request, which is as its
// Validate resolved it. What the request says about directories and jobs is no
// part of it, nor where a keyring is: what is in it counts.
func NewKey(plugin, programSHA256 string, state sdk.State, req sdk.Request) (Key, error) {
	request := map[string]string{"distro": req.Distro, "release": req.Release, "architecture": req.Architecture}
	set := func(name, value string) {
		if value != "" {
			request[name] = value
		}
	}
	// Their order decides nothing; that of mirrors does.
	packages := slices.Compact(slices.Sorted(slices.Values(req.Packages)))
	set("packages", strings.Join(packages, " "))
	set("mirrors", strings.Join(req.Mirrors, " "))
	set("snapshot", req.Snapshot)
	if req.SourceDateEpoch != 0 {
		set("source-date-epoch", strconv.FormatInt(req.SourceDateEpoch, 10))
	}
	for name, value := range req.Options {
		set("option "+name, value)
	}
	if req.Keyring != "" {
		keys, err := os.ReadFile(req.Keyring)
		if err != nil {
			return Key{}, fmt.Errorf("keyring: %w", err)
		}
		set("keyring", digest(keys))
	}
	if len(req.Pinned) > 0 {
		pinned, err := json.Marshal(req.Pinned)
		if err != nil {
			return Key{}, err
		}
		set("pinned", digest(pinned))
	}
	return Key{Plugin: plugin, PluginSHA256: programSHA256, Engine: state.Engine, Request: request, Repository: state.Repository}, nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Digest names the key: 64 hexadecimal digits.
func (k Key) Digest() string {
	// Maps are written in the order of their keys.
	b, err := json.Marshal(struct {
		Form int `json:"form"`
		Key
	}{keyForm, k})
	if err != nil {
		panic(err) // strings always can be written
	}
	return digest(b)
}

// Distro is what the key's request says.
func (k Key) Distro() string { return k.Request["distro"] }

// Release is empty for a distribution that has none.
func (k Key) Release() string { return k.Request["release"] }

// Arch is as `uname -m` prints it.
func (k Key) Arch() string { return k.Request["architecture"] }

// check refuses a key that says nothing of what a tree is made of.
func (k Key) check() error {
	if k.Plugin == "" || k.PluginSHA256 == "" || k.Distro() == "" {
		return errors.New("the key of a cached tree names no plugin or distribution")
	}
	return nil
}

// Part is one part of a key.
type Part struct {
	Name  string `json:"part"`
	Value string `json:"value,omitempty"`
	// Cached is the value of the nearest entry; Same says that it is the same.
	Cached string `json:"cached,omitempty"`
	Same   bool   `json:"same"`
}

// parts lists the parts of a key by their names, as people are told of them.
func (k Key) parts() map[string]string {
	all := map[string]string{"plugin": k.Plugin, "plugin's program": k.PluginSHA256, "engine": k.Engine}
	for name, value := range k.Request {
		all[name] = value
	}
	for name, value := range k.Repository {
		all["repository "+name] = value
	}
	return all
}

// Compare lists the parts of k, and what they are in other.
func (k Key) Compare(other Key) []Part {
	mine, theirs := k.parts(), other.parts()
	names := maps.Clone(mine)
	maps.Copy(names, theirs)
	var all []Part
	for _, name := range slices.Sorted(maps.Keys(names)) {
		all = append(all, Part{Name: name, Value: mine[name], Cached: theirs[name], Same: mine[name] == theirs[name]})
	}
	return all
}

// Differing are the parts that are not the same.
func Differing(parts []Part) []Part {
	return slices.DeleteFunc(slices.Clone(parts), func(p Part) bool { return p.Same })
}

// String says what the part is and was.
func (p Part) String() string {
	switch {
	case p.Same:
		return p.Name + " " + brief(p.Value)
	case p.Value == "":
		return p.Name + " " + brief(p.Cached) + " is not asked for"
	case p.Cached == "":
		return p.Name + " " + brief(p.Value) + " is new"
	}
	return p.Name + " is " + brief(p.Value) + " and was " + brief(p.Cached)
}

// brief is a value as it is said in one line: of digests the beginning.
func brief(value string) string {
	const shown = 60
	algorithm, hash, ok := strings.Cut(value, ":")
	if !ok {
		algorithm, hash = "", value
	}
	if b, err := hex.DecodeString(hash); err == nil && len(b) >= 16 {
		value = hash[:12]
		if algorithm != "" {
			value = algorithm + ":" + value
		}
	}
	if len(value) > shown {
		value = value[:shown] + "…"
	}
	return strconv.Quote(value)
}
