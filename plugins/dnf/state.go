package main

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/sdk/indexes"
)

// State implements sdk.Stater: what the repomd.xml files of all repositories are
// that a tree would be made of. They name, by digests, every list of packages,
// and these every package.
func (p *plugin) State(ctx context.Context, req sdk.Request) (sdk.State, error) {
	j, found := p.host.resolve(req)
	if err := found.Err(); err != nil {
		return sdk.State{}, err
	}
	state := sdk.State{Engine: j.engine.program + " " + j.engine.version}
	var all []indexes.Index
	for _, r := range j.repositories {
		if strings.HasPrefix(r.place(), "ftp:") {
			return state, nil // it cannot be told
		}
		all = append(all, indexes.Index{Name: r.id, Digest: r.digest})
	}
	c := indexes.NewClient(nil)
	defer c.Close()
	var err error
	if state.Repository, err = indexes.All(ctx, c, all); err != nil {
		return sdk.State{}, sdk.AsFailure(err)
	}
	return state, nil
}

// digest is that of the repository's repomd.xml.
func (r repository) digest(ctx context.Context, c *indexes.Client) (string, error) {
	switch {
	case r.metalink != "":
		text, err := c.Read(ctx, r.metalink)
		if err != nil {
			return "", err
		}
		return metalinkDigest(text)
	case r.mirrorlist != "":
		text, err := c.Read(ctx, r.mirrorlist)
		if err != nil {
			return "", err
		}
		mirrors := mirrorsIn(text)
		if len(mirrors) == 0 {
			return "", fmt.Errorf("%s lists no mirror", r.mirrorlist)
		}
		return c.Of(ctx, mirrors...)
	}
	return c.Of(ctx, repomd(r.baseurl))
}

func repomd(base string) string { return strings.TrimRight(base, "/") + "/repodata/repomd.xml" }

// metalink is what is of interest in the answer to a metalink address.
type metalink struct {
	Files []struct {
		Name   string `xml:"name,attr"`
		Hashes []struct {
			Type string `xml:"type,attr"`
			Text string `xml:",chardata"`
		} `xml:"verification>hash"`
	} `xml:"files>file"`
}

var sha256Form = regexp.MustCompile(`^[0-9a-f]{64}$`)

// metalinkDigest reads the digest of the current repomd.xml. Those of older ones,
// which mirrors may still have, are further down and in another namespace.
func metalinkDigest(text []byte) (string, error) {
	var m metalink
	if err := xml.Unmarshal(text, &m); err != nil {
		return "", fmt.Errorf("the metalink cannot be read: %w", err)
	}
	for _, f := range m.Files {
		if f.Name != "repomd.xml" {
			continue
		}
		for _, h := range f.Hashes {
			if digest := strings.ToLower(strings.TrimSpace(h.Text)); h.Type == "sha256" && sha256Form.MatchString(digest) {
				return "sha256:" + digest, nil
			}
		}
	}
	return "", errors.New("the metalink does not tell the digest of repomd.xml")
}

// mirrorsIn are the first few mirrors of a list.
func mirrorsIn(text []byte) []string {
	const tried = 3
	var all []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); plainURL.MatchString(line) && strings.HasPrefix(line, "http") && len(all) < tried {
			all = append(all, repomd(line))
		}
	}
	return all
}
