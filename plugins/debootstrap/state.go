package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/indexes"
	"github.com/nspawn-build/nspawn-build/plugins/debootstrap/internal/aptsource"
)

// State implements sdk.Stater: what the InRelease files of all suites are that a
// tree would be made of, of the first archive that answers. They name, by
// digests, every list of packages, and these every package.
func (p *plugin) State(ctx context.Context, req sdk.Request) (sdk.State, error) {
	j, found := p.host.resolve(req)
	if err := found.Err(); err != nil {
		return sdk.State{}, err
	}
	var state sdk.State
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		state.Engine = j.engine + " " + toolVersion(ctx, j.engine)
		return nil
	})
	group.Go(func() (err error) {
		state.Repository, err = j.holdings(ctx, p.host)
		return err
	})
	if err := group.Wait(); err != nil {
		return sdk.State{}, sdk.AsFailure(err)
	}
	return state, nil
}

// toolVersion is what a tool says of itself: "mmdebstrap 1.3.5".
func toolVersion(ctx context.Context, tool string) string {
	version := "of unknown version"
	ask := sdk.Command{Argv: []string{tool, "--version"}, OnLine: func(line string) {
		if rest, ok := strings.CutPrefix(line, tool+" "); ok {
			version = rest
		}
	}}
	if err := ask.Run(ctx); err != nil {
		return "of unknown version"
	}
	return version
}

// holdings are the digests of the first archive that answers; none where the
// tool has yet to choose an archive, or one is reached by FTP.
func (j *job) holdings(ctx context.Context, h host) (map[string]string, error) {
	var err error
	for _, a := range j.archives {
		if a.askSecurity {
			if a, err = j.secured(ctx, h, a); err != nil {
				return nil, err
			}
		}
		var proxy func(scheme, host string) string
		if a.ofHost {
			proxy = proxies(ctx, h)
		}
		var all []indexes.Index
		for _, s := range j.sources(a, j.inMachine()) {
			for _, suite := range s.Suites {
				all = append(all, releaseOf(s.URIs[0], suite))
			}
		}
		if strings.HasPrefix(a.uri, "ftp:") || strings.HasPrefix(a.security, "ftp:") {
			return map[string]string{}, nil
		}
		c := indexes.NewClient(proxy)
		var state map[string]string
		state, err = indexes.All(ctx, c, all)
		c.Close()
		if err == nil {
			return state, nil
		}
	}
	return nil, err
}

// secured finds out where mmdebstrap has security updates from, as making the
// tree does.
func (j *job) secured(ctx context.Context, h host, a archive) (_ archive, err error) {
	if j.engine != engineMmdebstrap {
		return a, nil
	}
	own := *j
	if own.work, err = os.MkdirTemp("", "state"); err != nil {
		return archive{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(own.work)) }()
	r := &run{job: &own, host: h, report: silent{}}
	choice, err := r.askMmdebstrap(ctx)
	if err != nil {
		return archive{}, err
	}
	return a.withSecurity(&own, choice.Security), nil
}

// releaseOf is the index of a suite.
func releaseOf(uri, suite string) indexes.Index {
	base := strings.TrimRight(uri, "/") + "/dists/" + suite
	name := suite
	if local := aptsource.LocalPath(uri); local == "" {
		name = suite + " of " + aptsource.Host(uri)
	}
	return indexes.Index{Name: name, Digest: func(ctx context.Context, c *indexes.Client) (string, error) {
		return c.Of(ctx, base+"/InRelease", base+"/Release")
	}}
}

// proxies are those that the host's apt is configured for.
func proxies(ctx context.Context, h host) func(scheme, host string) string {
	if h.Find("apt-config") == "" {
		return nil
	}
	settings := map[string]string{}
	dump := sdk.Command{Argv: []string{"apt-config", "dump", "--no-empty", "Acquire"}, OnLine: func(line string) { proxySetting(settings, line) }}
	if dump.Run(ctx) != nil || len(settings) == 0 {
		return nil
	}
	return func(scheme, host string) string {
		if own := settings[scheme+"::"+host]; own != "" {
			return own
		}
		return settings[scheme]
	}
}

// proxySetting reads a line such as Acquire::http::Proxy "http://proxy:3128";
// after Proxy there may be the host that it is for.
func proxySetting(settings map[string]string, line string) {
	name, value, ok := strings.Cut(strings.TrimSuffix(line, ";"), " ")
	if !ok {
		return
	}
	parts := strings.Split(strings.ToLower(name), "::")
	if len(parts) < 3 || parts[0] != "acquire" || parts[1] != "http" && parts[1] != "https" || parts[2] != "proxy" {
		return
	}
	key := parts[1]
	if len(parts) == 4 {
		key += "::" + parts[3]
	}
	settings[key] = strings.Trim(value, `"`)
}

// silent hears what a tool says and tells nobody.
type silent struct{}

func (silent) Phase(string)           {}
func (silent) Progress(sdk.Progress)  {}
func (silent) Line(string)            {}
func (silent) Warning(string, string) {}
