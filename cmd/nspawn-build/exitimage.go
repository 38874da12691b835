package main

import (
	"errors"

	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/images"
)

func judgeImage(err error) (verdict, bool) {
	var exists *images.ExistsError
	var busy *images.BusyError
	var unfit *images.VerifyError
	var missing *image.MissingError
	switch {
	case errors.As(err, &exists):
		return verdict{exitExists, exists.Hint()}, true
	case errors.As(err, &busy):
		return verdict{exitExists, "wait until it is done, or choose another name or --out"}, true
	case errors.As(err, &unfit):
		return verdict{exitBoot, "the lines above are of its journal; look into the image with --base"}, true
	case errors.Is(err, image.ErrNoLoop):
		return verdict{exitHost, "use a host that has loop devices, or an image that is a directory, a tar or an OCI layout"}, true
	case errors.As(err, &missing):
		return verdict{exitHost, missing.Hint()}, true
	}
	return verdict{}, false
}
