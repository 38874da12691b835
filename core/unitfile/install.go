package unitfile

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/coreos/go-systemd/v22/unit"
)

// Install is the [Install] section of a unit, its specifiers not yet expanded.
type Install struct {
	WantedBy, RequiredBy, UpheldBy []string
	Alias, Also                    []string
	DefaultInstance                string
}

// ParseInstall reads the [Install] section of a unit and of the drop-ins that
// follow it, in the order in which systemd reads them. A unit without one is
// not an error.
func ParseInstall(fragments ...[]byte) (Install, error) {
	var in Install
	lists := map[string]*[]string{
		"WantedBy": &in.WantedBy, "RequiredBy": &in.RequiredBy, "UpheldBy": &in.UpheldBy,
		"Alias": &in.Alias, "Also": &in.Also,
	}
	for _, data := range fragments {
		options, err := unit.DeserializeOptions(bytes.NewReader(data))
		if err != nil {
			return Install{}, fmt.Errorf("read the [Install] section: %w", err)
		}
		for _, o := range options {
			if o.Section != "Install" {
				continue
			}
			if o.Name == "DefaultInstance" {
				in.DefaultInstance = o.Value
			} else if list, ok := lists[o.Name]; ok {
				*list = extend(*list, o.Value)
			}
		}
	}
	return in, nil
}

// extend appends the words of value; the empty value empties the list.
func extend(list []string, value string) []string {
	words := strings.Fields(strings.ReplaceAll(value, "\\\n", " "))
	if len(words) == 0 {
		return nil
	}
	for _, w := range words {
		list = append(list, strings.Trim(w, `"'`))
	}
	return list
}

// AlsoUnits are the units to enable together with the one of that name.
func (in Install) AlsoUnits(name string) ([]string, error) {
	if err := checkUnit("enable", name); err != nil {
		return nil, err
	}
	var also []string
	for _, a := range in.Also {
		unit, err := in.expand("Also", a, name)
		if err != nil {
			return nil, err
		}
		also = append(also, unit)
	}
	return also, nil
}

// expand replaces the specifiers that make a name of a unit out of the one
// that is enabled, and checks the result.
func (in Install) expand(directive, text, name string) (string, error) {
	n := splitUnit(name)
	if n.template() {
		n.instance = in.DefaultInstance
	}
	last := n.prefix[strings.LastIndex(n.prefix, "-")+1:]
	values := map[byte]string{
		'%': "%", 'n': n.String(), 'N': strings.TrimSuffix(n.String(), n.suffix),
		'p': n.prefix, 'i': n.instance, 'j': last,
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '%' {
			b.WriteByte(text[i])
			continue
		}
		i++
		if i == len(text) {
			return "", &ValueError{directive, text, "ends with %"}
		}
		v, ok := values[text[i]]
		if !ok {
			return "", &ValueError{directive, text, "depends on the machine that runs it"}
		}
		b.WriteString(v)
	}
	return b.String(), checkUnit(directive, b.String())
}
