package spec

import (
	"encoding/json"
	"strings"
)

// schemaID is the name of the schema, not an address that anybody asks.
const schemaID = "https://nspawn-build.invalid/spec.schema.json"

// FileSchema is the JSON Schema of spec files.
func FileSchema() []byte {
	object := func(properties map[string]any, required ...string) map[string]any {
		o := map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
		if len(required) > 0 {
			o["required"] = required
		}
		return o
	}
	version := map[string]any{"const": Version, "description": "the version of the form of spec files"}
	one, own, shared := schemaFields(), schemaFields(), schemaFields()
	one["version"] = version
	delete(shared, "name")
	schema := map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": schemaID,
		"title": "nspawn-build spec file", "description": "one machine, or several under machines",
		"if":   map[string]any{"type": "object", "required": []string{"machines"}},
		"then": map[string]any{"$ref": "#/$defs/several"},
		"else": map[string]any{"$ref": "#/$defs/one"},
		"$defs": map[string]any{
			"one": object(one, "version"),
			"several": object(map[string]any{
				"version": version, "defaults": map[string]any{"$ref": "#/$defs/defaults"},
				"machines": map[string]any{
					"type": "array", "minItems": 1, "maxItems": fileMachineLimit, "items": map[string]any{"$ref": "#/$defs/machine"},
				},
			}, "version", "machines"),
			"machine":  object(own, "name"),
			"defaults": object(shared),
		},
	}
	return encodeSchema(schema)
}

func encodeSchema(schema map[string]any) []byte {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(schema); err != nil {
		panic("the schema cannot be marshalled: " + err.Error()) // strings and maps only
	}
	return []byte(out.String())
}

// schemaFields are the properties that say a machine.
func schemaFields() map[string]any {
	all := map[string]any{}
	for _, f := range FileFields {
		group, name, inside := strings.Cut(f.Key, ".")
		if !inside {
			all[f.Key] = f.schema()
			continue
		}
		g, ok := all[group].(map[string]any)
		if !ok {
			g = map[string]any{"type": "object", "additionalProperties": false, "properties": map[string]any{}}
			all[group] = g
		}
		if members, ok := g["properties"].(map[string]any); ok {
			members[name] = f.schema()
		}
	}
	return all
}

func (f FileField) schema() map[string]any {
	word := map[string]any{"type": "string"}
	if f.number {
		word["type"] = []string{"string", "number"}
	}
	if f.choices != nil {
		word = map[string]any{"enum": f.choices}
	}
	s := word
	switch f.kind {
	case kindSwitch:
		s = map[string]any{"type": "boolean"}
	case kindList:
		s = map[string]any{"type": "array", "items": word}
	case kindPairs:
		s = map[string]any{"type": "object", "additionalProperties": word}
	}
	s["description"] = f.Help
	return s
}
