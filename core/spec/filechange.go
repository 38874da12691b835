package spec

import "strings"

// Change says what it takes to have the difference.
func (d Difference) Change() Change {
	if f := fieldOnDisk(d.Field); f != nil {
		return f.Change
	}
	return ChangeNew // nobody has thought about it
}

// Key is the name of the field in a spec file.
func (d Difference) Key() string {
	key, _ := d.InFile()
	return key
}

// InFile is the name of the field in a spec file, and whether it has one there.
func (d Difference) InFile() (key string, known bool) {
	if f := fieldOnDisk(d.Field); f != nil {
		return f.Key, true
	}
	return d.Field, false
}

// fieldOnDisk is the field to which a name of the form on disk belongs.
func fieldOnDisk(name string) *FileField {
	for i, f := range FileFields {
		if f.disk != "" && (name == f.disk || strings.HasPrefix(name, f.disk+".")) {
			return &FileFields[i]
		}
	}
	return nil
}
