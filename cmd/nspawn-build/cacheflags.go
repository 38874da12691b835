package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/rootcache"
	"github.com/nspawn-build/nspawn-build/core/rootcache/registry"
	"github.com/nspawn-build/nspawn-build/core/stages"
)

// cacheFlags say how bootstrapped trees are kept and used again.
func cacheFlags() []cli.Flag {
	return grouped("Cached trees:", []cli.Flag{
		&cli.BoolFlag{Name: "no-cache", Usage: "bootstrap, whatever is kept, and keep nothing", EnvVars: env("no-cache")},
		&cli.BoolFlag{Name: "explain-cache", Usage: "say of each part of the cache's key whether it is that of a tree that is kept"},
		&cli.BoolFlag{Name: "offline", Usage: "take a tree that is kept, without asking mirrors whether it is current", EnvVars: env("offline")},
		&cli.StringSliceFlag{Name: "cache-from", Usage: "look for trees in the OCI repository `REF` too, such as registry.example.org/ci/roots; may be repeated", EnvVars: env("cache-from")},
		&cli.StringSliceFlag{Name: "cache-to", Usage: "upload trees that were made or are kept to the OCI repository `REF`; may be repeated", EnvVars: env("cache-to")},
		&cli.BoolFlag{Name: "registry-insecure", Usage: "let registries that are not on this host be reached without TLS", EnvVars: env("registry-insecure")},
	})
}

// maxSizeKey is what the bound on the size is called in the file of defaults.
const maxSizeKey = "cache-max-size"

// rootCache opens the cache of trees.
func (a *app) rootCache() (*rootcache.Cache, error) {
	c, err := rootcache.Open(machines.RootsDir)
	if err != nil {
		return nil, err
	}
	c.Warn = func(message, hint string) {
		a.log.Warn(message)
		if hint != "" {
			a.log.Info("hint: " + hint)
		}
	}
	c.MaxSize, err = a.config.cacheMaxSize()
	return c, err
}

// cacheMaxSize is the bound that the file or the environment names; zero when
// they do not.
func (c config) cacheMaxSize() (int64, error) {
	text := os.Getenv(env(maxSizeKey)[0])
	if text == "" && len(c[maxSizeKey]) == 1 {
		text = c[maxSizeKey][0]
	}
	if text == "" {
		return 0, nil
	}
	return parseBound(maxSizeKey, text)
}

// parseBound reads how many bytes are kept at most; infinity is less than zero.
func parseBound(field, text string) (int64, error) {
	if text == "infinity" {
		return -1, nil
	}
	digits, shift := text, 0
	if n := len(text); n > 0 {
		if i := strings.IndexByte("KMGT", text[n-1]); i >= 0 {
			digits, shift = text[:n-1], 10*(i+1)
		}
	}
	v, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || v <= 0 || v > math.MaxInt64>>shift {
		return 0, &usageError{fmt.Sprintf("%s: %q is not a size", field, text), "use 10G, 500M or infinity"}
	}
	return v << shift, nil
}

// cachingHouse is the house with trees kept as flags say.
func (a *app) cachingHouse(ctx *cli.Context) (*machines.House, error) {
	house, err := a.house()
	if err != nil {
		return nil, err
	}
	house.Caching, err = a.caching(ctx)
	return house, err
}

// caching reads from flags how bootstrapped trees are kept and used.
func (a *app) caching(ctx *cli.Context) (stages.Caching, error) {
	if ctx.Bool("no-cache") {
		for _, other := range []string{"offline", "cache-from", "cache-to"} {
			if ctx.IsSet(other) && (other == "offline" || len(repositories(ctx, other)) > 0) {
				return stages.Caching{}, &usageError{"--no-cache and --" + other + " were both given", "leave one of them out"}
			}
		}
		return stages.Caching{}, nil
	}
	c := stages.Caching{Offline: ctx.Bool("offline")}
	for _, list := range []struct {
		flag string
		to   *[]stages.Registry
	}{{"cache-from", &c.From}, {"cache-to", &c.To}} {
		for _, ref := range repositories(ctx, list.flag) {
			r, err := registry.Open(ref, registry.Options{Insecure: ctx.Bool("registry-insecure")})
			if err != nil {
				return c, &usageError{list.flag + ": " + err.Error(), "name a repository, without a tag: registry.example.org/ci/roots"}
			}
			*list.to = append(*list.to, r)
		}
	}
	var err error
	c.Cache, err = a.rootCache()
	var unsafe *rootcache.UnsafeError
	if errors.As(err, &unsafe) {
		a.log.Warn(unsafe.Error())
		a.log.Info("hint: " + unsafe.Hint())
		return stages.Caching{}, nil
	}
	return c, err
}

// repositories are those that a flag or its variable names. An empty one is none:
// so a variable that a CI engine sets from one that nobody did.
func repositories(ctx *cli.Context, flag string) (all []string) {
	for _, ref := range ctx.StringSlice(flag) {
		if ref = strings.TrimSpace(ref); ref != "" {
			all = append(all, ref)
		}
	}
	return all
}

// cacheExplained prints the parts of a key, and which differ from the nearest
// tree that is kept.
func (a *app) cacheExplained(use *stages.CacheUse) {
	if use == nil {
		a.printf("  cache     no tree is kept or used: what one would be made of cannot be told, or need not be\n")
		return
	}
	word := "miss"
	if use.Hit {
		word = "hit"
	}
	a.printf("  cache     %s: %s\n", word, use.Reason)
	a.printf("  key       %s\n", use.Key)
	for _, p := range use.Parts {
		mark := "="
		if !p.Same {
			mark = "!"
		}
		a.printf("    %s %s\n", mark, p)
	}
}
