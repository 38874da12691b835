package spec

import "slices"

// fileCustomize say what is done to the tree after it was bootstrapped.
var fileCustomize = []FileField{
	{
		Key: "customize.copy", Flag: "copy", Change: ChangeNew, disk: "customize.copies", kind: kindList, path: true, Help: "files and trees of this host that are copied into the tree, as SOURCE:TARGET",
		at: func(w *Wish) any { return &w.Input.Copies }, show: func(s Spec) any { return formOf(s.Customize.Copies) },
	},
	{
		Key: "customize.script", Flag: "script", Change: ChangeNew, disk: "customize.scripts", kind: kindList, path: true, Help: "programs of this host that run in the tree",
		at: func(w *Wish) any { return &w.Input.Scripts }, show: func(s Spec) any { return s.Customize.Scripts },
	},
	{
		Key: "customize.hook", Flag: "hook", Change: ChangeNew, disk: "customize.hooks", kind: kindList, Help: "commands that run in the tree, as before|after:STAGE:COMMAND",
		at: func(w *Wish) any { return &w.Input.Hooks }, show: func(s Spec) any { return formOf(s.Customize.Hooks) },
	},
	{
		Key: "customize.network", Flag: "script-network", Change: ChangeNew, disk: "customize.network", kind: kindSwitch, Help: "let scripts and hooks use this host's network",
		at: func(w *Wish) any { return &w.Input.ScriptNetwork }, show: func(s Spec) any { return s.Customize.Network },
	},
}

// fileImage say how an image is made of the tree; a machine has no use for
// them.
var fileImage = []FileField{
	{
		Key: "image.format", Flag: "format", kind: kindList, choices: ImageFormats, Help: "formats in which the image is written",
		at: func(w *Wish) any { return &w.Image.Formats },
	},
	{
		Key: "image.verify", Flag: "verify", kind: kindSwitch, Help: "boot the image and check that it works",
		at: func(w *Wish) any { return &w.Image.Verify },
	},
	{
		Key: "image.check", Flag: "check", kind: kindList, Help: "commands that must succeed in the booted image",
		at: func(w *Wish) any { return &w.Image.Checks },
	},
	{
		Key: "image.source-date-epoch", Flag: "source-date-epoch", number: true, Help: "the time, in seconds since 1970, that stands for every time that building leaves in the image",
		at: func(w *Wish) any { return &w.Image.SourceDateEpoch },
	},
	{
		Key: "image.lock", Flag: "locked", path: true, Help: "a lock file, whose packages in whose versions the image is made of",
		at: func(w *Wish) any { return &w.Image.Lock },
	},
	{
		Key: "image.sign", Flag: "sign", Help: "the key of gpg that signs the checksums by which the image is verified",
		at: func(w *Wish) any { return &w.Image.Sign },
	},
}

// absolute makes a path of a list absolute; a colon is part of a script's.
func (r *reader) absolute(f *FileField, s string) string {
	if f.Key == "customize.script" {
		return r.relative(s)
	}
	return r.bind(s)
}

// Unmade are the hooks that an image has no stage for.
func (c Customize) Unmade() Invalid {
	var bad Invalid
	for _, h := range c.Hooks {
		if !slices.Contains(ImageStages, h.Stage) {
			bad = append(bad, &FieldError{"customize.hook", h.String(), "is at a stage that an image is not made by", "use after:network, the last one of an image"})
		}
	}
	return bad
}
