package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/addr"
)

// configPath is where a host's defaults are. Its keys are the names of flags,
// "pool" and "cache-max-size". What the environment and the command line say wins.
const configPath = "/etc/nspawn-build/config.yaml"

const (
	poolKey  = "pool"
	poolHint = "write the first and the last network, such as 192.168.200.0-192.168.254.0"
)

// config is what the file says: one or more values for each flag.
type config map[string][]string

// readConfig reads the file; without one there are no defaults.
func readConfig(path string) (config, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // no file is no defaults
	}
	if err != nil {
		return nil, err
	}
	c, err := parseConfig(data)
	if err != nil {
		return nil, &usageError{fmt.Sprintf("%s: %v", path, err), "its keys are the names of flags; nspawn-build create --help lists them"}
	}
	return c, nil
}

func parseConfig(data []byte) (config, error) {
	var raw map[string]any
	if err := yaml.Unmarshal(data, &raw); err != nil {
		return nil, errors.New(strings.TrimSpace(yaml.FormatError(err, false, false)))
	}
	c := config{}
	known := configKeys()
	for key, value := range raw {
		if !slices.Contains(known, key) {
			return nil, fmt.Errorf("%q is not known here", key)
		}
		switch v := value.(type) {
		case []any:
			for _, one := range v {
				c[key] = append(c[key], fmt.Sprint(one))
			}
		case map[string]any, nil:
			return nil, fmt.Errorf("%q needs a value", key)
		default:
			c[key] = []string{fmt.Sprint(v)}
		}
	}
	return c, nil
}

// configKeys are the flags that have a variable too: those that make sense as
// a default.
func configKeys() []string {
	keys := []string{poolKey, maxSizeKey}
	for _, f := range append(slices.Concat(specFlags(), cacheFlags(), logFlags()), outputFlag()) {
		if takesDefault(f) {
			keys = append(keys, f.Names()[0])
		}
	}
	return keys
}

// takesDefault says of a flag that the environment and the file can set it.
func takesDefault(f cli.Flag) bool {
	withEnv, ok := f.(interface{ GetEnvVars() []string })
	return ok && len(withEnv.GetEnvVars()) > 0
}

// apply sets the flags of a command that nobody has set. A flag of the same name
// that takes no default, such as the --label that machines are found by, is
// another one.
func (c config) apply(ctx *cli.Context) error {
	for _, f := range ctx.Command.Flags {
		name := f.Names()[0]
		if !takesDefault(f) || ctx.IsSet(name) {
			continue
		}
		for _, v := range c[name] {
			if err := ctx.Set(name, v); err != nil {
				return &usageError{fmt.Sprintf("%s: %s: %q is not a value for it", configPath, name, v), "nspawn-build create --help explains the flag"}
			}
		}
	}
	return nil
}

// pool is the pool of subnets that the file or the environment names.
func (c config) pool() (addr.Pool, error) {
	text := os.Getenv(env(poolKey)[0])
	if text == "" && len(c[poolKey]) == 1 {
		text = c[poolKey][0]
	}
	if text == "" {
		return addr.DefaultPool(), nil
	}
	from, to, _ := strings.Cut(text, "-")
	first, err1 := netip.ParseAddr(strings.TrimSpace(from))
	last, err2 := netip.ParseAddr(strings.TrimSpace(to))
	if err := errors.Join(err1, err2); err != nil {
		return addr.Pool{}, &usageError{fmt.Sprintf("pool: %q is not a range of networks", text), poolHint}
	}
	p, err := addr.NewPool(first, last)
	if err != nil {
		return addr.Pool{}, &usageError{fmt.Sprintf("pool: %q: %v", text, err), poolHint}
	}
	return p, nil
}
