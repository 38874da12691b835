package stages

import (
	"errors"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/host"
	"github.com/nspawn-build/nspawn-build/core/readiness"
)

// crowded gives an error of a boot the hint that counts where the kernel let
// root have no more for one machine more: systemd's words for it say files.
func crowded(err error) error {
	var notReady *readiness.Error
	if errors.As(err, &notReady) && slices.ContainsFunc(notReady.Journal, func(line string) bool {
		return strings.Contains(line, "inotify") && strings.Contains(line, "Too many open files")
	}) {
		notReady.Hint = host.InotifyHint
	}
	return err
}
