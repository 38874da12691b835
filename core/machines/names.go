package machines

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/unitfile"
)

// SettingsDir holds a file for each machine that everybody may read.
const SettingsDir = "/etc/systemd/nspawn"

// Names are the machines of this host, sorted, for whoever asks: root reads the
// records, others see the machines that are complete by the settings that were
// written for them. It is for suggestions only; what cannot be read is left out.
func Names(stateDir, settingsDir string) []string {
	names := stems(filepath.Join(stateDir, "machines"), ".json")
	for _, name := range stems(settingsDir, ".nspawn") {
		data, err := os.ReadFile(filepath.Join(settingsDir, name+".nspawn"))
		if err == nil && unitfile.Made(data, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// stems are the names of a directory's files that end so, without the ending.
func stems(dir, ending string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var found []string
	for _, e := range entries {
		if name, ok := strings.CutSuffix(e.Name(), ending); ok && e.Type().IsRegular() && !strings.HasPrefix(name, ".") {
			found = append(found, name)
		}
	}
	return found
}
