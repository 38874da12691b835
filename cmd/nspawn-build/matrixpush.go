package main

import (
	"slices"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/urfave/cli/v2"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/matrix"
	"github.com/nspawn-build/nspawn-build/core/registry"
	"github.com/nspawn-build/nspawn-build/core/spec"
)

func matrixPushFlag() cli.Flag {
	return &cli.StringFlag{
		Name: "push", Usage: "upload each image that has a layout of OCI, as REPOSITORY/IMAGE:TAG, of the `REF` REPOSITORY:TAG, such as registry.example.org/images:1.2",
	}
}

// pushPlaces are the tags that the images of a matrix get in a registry, by
// their names. An image that is built for another one's sake alone is pushed by
// the runner that it was given to.
func pushPlaces(ctx *cli.Context, m *matrix.Matrix, needed map[string]bool) (map[string]string, error) {
	if !ctx.IsSet("push") {
		return nil, nil //nolint:nilnil // none are
	}
	how, ref := registry.Options{Insecure: ctx.Bool("registry-insecure")}, ctx.String("push")
	const hint = "name a repository and a tag: registry.example.org/images:1.2"
	under, err := how.Tag(ref)
	if err != nil {
		return nil, &usageError{"push: " + err.Error(), hint}
	}
	places, some := map[string]string{}, false
	for _, j := range m.Jobs {
		if !slices.Contains(j.Formats, string(image.OCI)) {
			continue
		}
		some = true
		place, err := pushPlace(how, under, j.Name)
		if err != nil {
			return nil, &usageError{"push: " + err.Error(), "the names of images are part of it: give them names that a registry takes"}
		}
		if !needed[j.Name] {
			places[j.Name] = place
		}
	}
	if !some {
		return nil, spec.Invalid{{Field: "push", Value: ref, Problem: "takes OCI images, and none is built", Hint: "add oci to image: format"}}
	}
	return places, nil
}

// pushPlace is the tag of one image.
func pushPlace(how registry.Options, under name.Tag, job string) (string, error) {
	place := under.Context().Name() + "/" + job + ":" + under.TagStr()
	_, err := how.Tag(place)
	return place, err
}

// pushWords are what a runner is given of the line.
func pushWords(ctx *cli.Context) []string {
	if !ctx.IsSet("push") {
		return nil
	}
	return []string{"--push", ctx.String("push")}
}
