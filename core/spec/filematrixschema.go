package spec

// matrixSchemaID is the name of the schema, not an address that anybody asks.
const matrixSchemaID = "https://nspawn-build.invalid/matrix.schema.json"

// MatrixSchema is the JSON Schema of matrix files.
func MatrixSchema() []byte {
	text := func(help string) map[string]any { return map[string]any{"type": "string", "description": help} }
	release := map[string]any{"type": []string{"string", "number"}, "description": "a release of the distribution"}
	variant := map[string]any{"type": "string", "pattern": variantForm.String(), "description": "the name of a variant"}
	object := func(own map[string]any, settings bool, required ...string) map[string]any {
		if settings {
			for key, field := range schemaFields() {
				if key != "name" && key != "distro" && key != "release" && !machineOnly[key] {
					own[key] = field
				}
			}
		}
		o := map[string]any{"type": "object", "additionalProperties": false, "properties": own}
		if len(required) > 0 {
			o["required"] = required
		}
		return o
	}
	list := func(of map[string]any, help string) map[string]any {
		return map[string]any{"type": "array", "items": of, "description": help}
	}
	base := text("the variant, or the image of the matrix, that it is built on")
	chosen := func() map[string]any {
		return map[string]any{"distro": text("the distribution"), "release": release, "variant": variant}
	}
	override, include := chosen(), chosen()
	override["base"], include["base"] = base, base
	include["name"] = text("the image's name, in place of distribution, release and variant")
	exclude := object(chosen(), false)
	exclude["minProperties"] = 1
	overrides := object(override, true)
	overrides["anyOf"] = []any{map[string]any{"required": []string{"distro"}}, map[string]any{"required": []string{"release"}}, map[string]any{"required": []string{"variant"}}}
	distros := list(map[string]any{"anyOf": []any{
		text("a distribution, in its current stable release"),
		object(map[string]any{
			"distro":   text("the distribution"),
			"releases": map[string]any{"type": "array", "items": release, "minItems": 1, "description": "its releases; the current stable one unless given"},
		}, true, "distro"),
	}}, "the distributions")
	distros["minItems"] = 1
	schema := object(map[string]any{
		"version":  map[string]any{"const": Version, "description": "the version of the form of matrix files"},
		"defaults": object(map[string]any{}, true),
		"distros":  distros,
		"variants": list(object(map[string]any{"name": variant, "base": base}, true, "name"), "what is built of each release"),
		"exclude":  list(exclude, "what is not built"),
		"override": list(overrides, "what is said of a part of the matrix"),
		"include":  list(object(include, true, "distro"), "images beside those of the matrix"),
	}, false, "version")
	schema["anyOf"] = []any{map[string]any{"required": []string{"distros"}}, map[string]any{"required": []string{"include"}}}
	schema["$schema"], schema["$id"] = "https://json-schema.org/draft/2020-12/schema", matrixSchemaID
	schema["title"], schema["description"] = "nspawn-build matrix file", "the images of a matrix: distributions, releases and variants"
	return encodeSchema(schema)
}
