package main

import (
	"context"
	"regexp"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/indexes"
)

// State implements sdk.Stater: what the lists of packages are that a tree would
// be made of, of the first mirror that answers. They name every package by its
// digest.
func (p *plugin) State(ctx context.Context, req sdk.Request) (sdk.State, error) {
	j, found := p.host.resolve(req)
	if err := found.Err(); err != nil {
		return sdk.State{}, err
	}
	var state sdk.State
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		state.Engine = pacmanVersion(ctx)
		return nil
	})
	group.Go(func() (err error) {
		state.Repository, err = j.holdings(ctx)
		return err
	})
	if err := group.Wait(); err != nil {
		return sdk.State{}, sdk.AsFailure(err)
	}
	return state, nil
}

var versionForm = regexp.MustCompile(`Pacman v([0-9][0-9A-Za-z.-]*)`)

// pacmanVersion is that of the pacman that does the work.
func pacmanVersion(ctx context.Context) string {
	version := ""
	ask := sdk.Command{Argv: []string{"pacman", "--version"}, OnLine: func(line string) {
		if m := versionForm.FindStringSubmatch(line); m != nil {
			version = m[1]
		}
	}}
	if ask.Run(ctx) != nil || version == "" {
		return "pacman of unknown version"
	}
	return "pacman " + version
}

func (j *job) holdings(ctx context.Context) (map[string]string, error) {
	c := indexes.NewClient(nil)
	defer c.Close()
	var err error
	for _, mirror := range j.mirrors {
		var all []indexes.Index
		for _, repository := range j.repositories() {
			place := strings.NewReplacer("$repo", repository, "$arch", j.machine).Replace(mirror)
			place = strings.TrimRight(place, "/") + "/" + repository + ".db"
			all = append(all, indexes.Index{Name: repository, Digest: func(ctx context.Context, c *indexes.Client) (string, error) {
				return c.Stamp(ctx, place)
			}})
		}
		var state map[string]string
		if state, err = indexes.All(ctx, c, all); err == nil {
			return state, nil
		}
	}
	return nil, err
}
