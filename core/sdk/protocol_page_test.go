package sdk_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const (
	schema       = "nspawnbuild/bootstrap/v1/bootstrap.proto"
	protocolPage = "../../docs/protocol.md"
	// generated begins what is written of the schema; before it stands what
	// people have written.
	generated = "<!-- From here on written by a test, from the schema: SDKTEST_UPDATE=1 go test ./core/sdk -run Protocol -->\n"
)

func TestTheProtocolsPageIsWhatTheSchemaSays(t *testing.T) {
	compiler := protocompile.Compiler{
		Resolver:       protocompile.WithStandardImports(&protocompile.SourceResolver{ImportPaths: []string{"proto"}}),
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(t.Context(), schema)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(protocolPage)
	if err != nil {
		t.Fatal(err)
	}
	written, _, found := strings.Cut(string(text), generated)
	if !found {
		t.Fatalf("%s does not say where the generated part begins", protocolPage)
	}
	want := written + generated + reference(files[0])
	if os.Getenv("SDKTEST_UPDATE") != "" {
		if err := os.WriteFile(protocolPage, []byte(want), 0o644); err != nil { //nolint:gosec // a page
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(text), want); diff != "" {
		t.Errorf("%s differs (-page +schema), SDKTEST_UPDATE=1 writes it anew:\n%s", protocolPage, diff)
	}
}

// reference is the schema as a page.
func reference(file protoreflect.FileDescriptor) string {
	var b strings.Builder
	comment := func(d protoreflect.Descriptor) string {
		lines := strings.Split(file.SourceLocations().ByDescriptor(d).LeadingComments, "\n")
		for i := range lines {
			lines[i] = strings.TrimSpace(lines[i])
		}
		return strings.TrimSpace(strings.Join(lines, " "))
	}
	for i := range file.Services().Len() {
		service := file.Services().Get(i)
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n| call | request | answer | |\n|---|---|---|---|\n", service.Name(), comment(service))
		for j := range service.Methods().Len() {
			m := service.Methods().Get(j)
			answer := string(m.Output().Name())
			if m.IsStreamingServer() {
				answer = "stream of " + answer
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", m.Name(), m.Input().Name(), answer, comment(m))
		}
	}
	for i := range file.Messages().Len() {
		m := file.Messages().Get(i)
		fmt.Fprintf(&b, "\n### %s\n", m.Name())
		if text := comment(m); text != "" {
			fmt.Fprintf(&b, "\n%s\n", text)
		}
		if m.Fields().Len() == 0 {
			b.WriteString("\nIt has no fields.\n")
			continue
		}
		b.WriteString("\n| number | field | type | |\n|---|---|---|---|\n")
		for j := range m.Fields().Len() {
			f := m.Fields().Get(j)
			text := comment(f)
			if f.ContainingOneof() != nil && !f.HasOptionalKeyword() {
				text = strings.TrimSpace("One of " + string(f.ContainingOneof().Name()) + ". " + text)
			}
			fmt.Fprintf(&b, "| %d | %s | %s | %s |\n", f.Number(), f.Name(), typeOf(f), text)
		}
	}
	for i := range file.Enums().Len() {
		e := file.Enums().Get(i)
		fmt.Fprintf(&b, "\n### %s\n", e.Name())
		if text := comment(e); text != "" {
			fmt.Fprintf(&b, "\n%s\n", text)
		}
		b.WriteString("\n| number | value | |\n|---|---|---|\n")
		for j := range e.Values().Len() {
			v := e.Values().Get(j)
			fmt.Fprintf(&b, "| %d | %s | %s |\n", v.Number(), v.Name(), comment(v))
		}
	}
	return b.String()
}

func typeOf(f protoreflect.FieldDescriptor) string {
	name := f.Kind().String()
	switch {
	case f.IsMap():
		return fmt.Sprintf("map of %s to %s", typeOf(f.MapKey()), typeOf(f.MapValue()))
	case f.Message() != nil:
		name = string(f.Message().Name())
	case f.Enum() != nil:
		name = string(f.Enum().Name())
	}
	if f.IsList() {
		return "list of " + name
	}
	return name
}
