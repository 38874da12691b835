package unitfile

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/coreos/go-systemd/v22/unit"
)

// ValueError says that a value cannot stand in a configuration file.
type ValueError struct {
	Name  string // the directive
	Value string
	Why   string
}

func (e *ValueError) Error() string { return fmt.Sprintf("%s: %q %s", e.Name, e.Value, e.Why) }

// file collects directives in the order in which they are to stand.
type file struct {
	options []*unit.UnitOption
	section string
}

func (f *file) in(section string) { f.section = section }

func (f *file) set(name, value string) {
	f.options = append(f.options, unit.NewUnitOption(f.section, name, value))
}

// render puts the header for machine before the directives.
func (f *file) render(machine string) ([]byte, error) {
	h, err := header(machine)
	if err != nil {
		return nil, err
	}
	for _, o := range f.options {
		if err := checkValue(o.Name, o.Value); err != nil {
			return nil, err
		}
	}
	var b bytes.Buffer
	b.WriteString(h)
	b.WriteString("\n")
	if _, err := io.Copy(&b, unit.Serialize(f.options)); err != nil {
		return nil, fmt.Errorf("render: %w", err)
	}
	return b.Bytes(), nil
}

// checkValue refuses what systemd would read as something else than value:
// a line end or any other control character, bytes that are not UTF-8 (the
// line is ignored), white space at an end (dropped), and a last backslash
// (it joins the next line).
func checkValue(name, value string) error {
	var why string
	switch {
	case !utf8.ValidString(value):
		why = "is not UTF-8"
	case strings.IndexFunc(value, unicode.IsControl) >= 0:
		why = "holds a control character"
	case strings.TrimSpace(value) != value:
		why = "begins or ends with white space"
	case strings.HasSuffix(value, `\`):
		why = "ends with a backslash"
	default:
		return nil
	}
	return &ValueError{Name: name, Value: value, Why: why}
}
