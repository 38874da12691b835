package unitfile

import "bytes"

// Preset keeps units enabled where the distribution runs `systemctl
// preset-all` on the first boot, which disables what no preset names, as
// /etc/systemd/system-preset/00-nspawn-build.preset in a machine's tree.
func Preset(enable []string) ([]byte, error) {
	h, err := header("")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(h + "\n")
	for _, name := range enable {
		if err := checkUnit("enable", name); err != nil {
			return nil, err
		}
		b.WriteString("enable " + name + "\n")
	}
	return b.Bytes(), nil
}
