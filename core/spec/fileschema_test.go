package spec_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"pgregory.net/rapid"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

const schemaPath = "../../docs/spec.schema.json"

// schema is the one that is published, as an editor would take it.
func schema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	data, err := os.ReadFile(schemaPath)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(schemaPath, doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile(schemaPath)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkSchema validates a spec file by the schema.
func checkSchema(s *jsonschema.Schema, data []byte) error {
	var doc any
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return err
	}
	return s.Validate(doc)
}

func TestWhatIsWrittenIsWhatTheSchemaTakes(t *testing.T) {
	s := schema(t)
	rapid.Check(t, func(t *rapid.T) {
		built, err := spec.Build(wish(t))
		if err != nil {
			t.Skip(err)
		}
		if data := spec.FormatFile(built); checkSchema(s, data) != nil {
			t.Fatalf("%v\n%s", checkSchema(s, data), data)
		}
	})
}

func TestTheSchemaRefusesWhatTheReaderRefuses(t *testing.T) {
	s := schema(t)
	for _, data := range []string{
		"distro: debian\n", "version: 2\n", "version: 1\nmemory: 1G\n", "version: 1\nlimits: {memory: 1G}\n",
		"version: 1\ndistro: [debian]\n", "version: 1\npackages: vim\n", "version: 1\nenable: maybe\n", "version: 1\nlabels: [a=b]\n",
		"version: 1\nmachines: []\n", "version: 1\nmachines:\n- distro: debian\n", "version: 1\ndistro: debian\nmachines: [{name: a}]\n",
		"version: 1\ndefaults: {distro: debian}\n", "version: 1\ndefaults: {name: x}\nmachines: [{name: a}]\n", "version: 1\naccess: {password: hunter2}\n",
	} {
		_, err := spec.ReadFile(source, []byte(data))
		if bySchema := checkSchema(s, []byte(data)); bySchema == nil || err == nil {
			t.Errorf("the reader says %v and the schema %v of\n%s", err, bySchema, data)
		}
	}
}

// examples are the spec files in the documentation.
func examples(t *testing.T) map[string]string {
	t.Helper()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, page := range append(pages, "../../README.md") {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for i, block := range strings.Split(string(data), "```yaml\n") {
			block, _, _ = strings.Cut(block, "```")
			if i > 0 && strings.HasPrefix(block, "version:") {
				all[filepath.Base(page)+" "+strings.Repeat("I", i)] = block
			}
		}
	}
	return all
}

func TestTheExamplesInTheDocumentationAreSpecFiles(t *testing.T) {
	s, all := schema(t), examples(t)
	if len(all) < 2 {
		t.Errorf("there are %d", len(all))
	}
	for name, data := range all {
		t.Run(name, func(t *testing.T) {
			if err := checkSchema(s, []byte(data)); err != nil {
				t.Error(err)
			}
			f, err := spec.ReadFile(source, []byte(data))
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range f.Machines {
				if w.Input.Directory == "" {
					w.Input.Directory = "/var/lib/machines"
				}
				if w.Input.Name == "" {
					w.Input.Name = "box"
				}
				if _, err := spec.Build(w.Input); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
