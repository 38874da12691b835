package main

import (
	"errors"

	"github.com/nspawn-build/nspawn-build/core/images"
)

func judgeImage(err error) (verdict, bool) {
	var exists *images.ExistsError
	var busy *images.BusyError
	var unfit *images.VerifyError
	switch {
	case errors.As(err, &exists):
		return verdict{exitExists, exists.Hint()}, true
	case errors.As(err, &busy):
		return verdict{exitExists, "wait until it is done, or choose another name or --out"}, true
	case errors.As(err, &unfit):
		hint := "the lines above say more; with --on-error keep it is kept, to be looked at"
		if unfit.Kept != "" {
			hint = "the lines above say more; it is in " + unfit.Kept
		}
		return verdict{unverifiedExit(*unfit.Report), hint}, true
	}
	return verdict{}, false
}
