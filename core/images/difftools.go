package images

// makers are the programs that an image's manifest names.
func (m Manifest) makers() []Maker {
	all := []Maker{m.Tool}
	if m.Plugin != nil {
		plugin := *m.Plugin
		plugin.Name = "plugin " + plugin.Name
		all = append(all, plugin)
	}
	if m.Engine != "" {
		all = append(all, Maker{Name: "engine", Version: m.Engine})
	}
	return append(all, m.Tools...)
}

// toolChanges are the programs of both that have other versions. What only one has
// made is of another format or distribution.
func toolChanges(before, after []Maker) []ToolChange {
	had := map[string]string{}
	for _, t := range before {
		had[t.Name] = t.Version
	}
	var changes []ToolChange
	for _, t := range after {
		if v, both := had[t.Name]; both && v != t.Version {
			changes = append(changes, ToolChange{t.Name, v, t.Version})
		}
	}
	return changes
}
