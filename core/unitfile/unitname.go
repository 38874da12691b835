package unitfile

import (
	"path"
	"regexp"
	"strings"
)

// unitForm follows systemd.unit(5): prefix, optional @ with an instance, type.
var unitForm = regexp.MustCompile(
	`^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\@-]*)?` +
		`\.(service|socket|target|device|mount|automount|swap|timer|path|slice|scope)$`)

const longestUnit = 255

// checkUnit refuses what is not the name of a unit, and with it every path.
func checkUnit(where, name string) error {
	if len(name) > longestUnit || !unitForm.MatchString(name) {
		return &ValueError{where, name, "is not the name of a unit"}
	}
	return nil
}

// unitName is a unit's name in its parts.
type unitName struct {
	prefix   string // before the @
	instance string // after it; empty for a template
	at       bool
	suffix   string // with its dot
}

// splitUnit expects a name that checkUnit accepts.
func splitUnit(name string) unitName {
	n := unitName{suffix: path.Ext(name)}
	stem := strings.TrimSuffix(name, n.suffix)
	n.prefix, n.instance, n.at = strings.Cut(stem, "@")
	return n
}

func (n unitName) template() bool { return n.at && n.instance == "" }

func (n unitName) String() string {
	if n.at {
		return n.prefix + "@" + n.instance + n.suffix
	}
	return n.prefix + n.suffix
}
