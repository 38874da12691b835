package spec_test

import (
	"flag"
	"fmt"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

var update = flag.Bool("update", false, "write what is generated into docs/")

// fill gives everything in v a value that is not its zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("10.1.2.3")))
		return
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix("10.1.2.3/24")))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(t, v.Index(0))
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(t, value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), value)
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	case reflect.Uint16, reflect.Uint64:
		v.SetUint(1)
	default:
		t.Fatalf("how is a %s filled?", v.Type())
	}
}

// Who adds a field to Spec decides here what it is called in a file and what it
// takes to change it.
func TestTheTableKnowsEveryFieldOfASpec(t *testing.T) {
	var full spec.Spec
	fill(t, reflect.ValueOf(&full).Elem())
	seen := map[string]bool{}
	for _, d := range spec.Diff(spec.Spec{}, full) {
		if key, known := d.InFile(); known {
			seen[key] = true
		} else if d.Field != "version" {
			t.Errorf("%s is in no row of the table", d.Field)
		}
	}
	for _, f := range spec.FileFields {
		if f.Change != "" && !seen[f.Key] && f.Key != "storage.bind-ro" {
			t.Errorf("%s is in no spec, not even in one that says everything", f.Key)
		}
		if f.Help == "" {
			t.Errorf("%s has no help", f.Key)
		}
	}
}

func TestTheTableSaysWhatAChangeTakes(t *testing.T) {
	for field, want := range map[string]spec.Change{
		"limits.memoryMax": spec.ChangeLive, "labels.a.b": spec.ChangeLive, "storage.binds": spec.ChangeRestart, "network.private": spec.ChangeNew,
		"network.dns.servers": spec.ChangeRestart, "release": spec.ChangeNew, "options.variant": spec.ChangeNew,
		"network.address": spec.ChangeNew, "a.field.of.the.future": spec.ChangeNew,
	} {
		if got := (spec.Difference{Field: field}).Change(); got != want {
			t.Errorf("%s takes %q, want %q", field, got, want)
		}
	}
}

func TestThePublishedSchemaIsCurrent(t *testing.T) {
	const path = "../../docs/spec.schema.json"
	if *update {
		if err := os.WriteFile(path, spec.FileSchema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(spec.FileSchema()), string(have)); diff != "" {
		t.Errorf("go test ./core/spec -update writes it (-want +got):\n%s", diff)
	}
}

// The page says of every field what the table does.
func TestThePageAboutSpecFilesHasEveryKey(t *testing.T) {
	const path, begin, end = "../../docs/spec-file.md", "<!-- keys: go test ./core/spec -update -->\n", "<!-- end of keys -->\n"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, rest, found := strings.Cut(string(page), begin)
	have, tail, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatal("the page has no place for the keys")
	}
	want := "| key | what | flag | a change |\n|---|---|---|---|\n"
	for _, f := range spec.FileFields {
		flag, change := "", string(f.Change)
		if f.Flag != "" {
			flag = "`--" + f.Flag + "`"
		}
		want += fmt.Sprintf("| `%s` | %s | %s | %s |\n", f.Key, strings.ReplaceAll(f.Help, "|", `\|`), flag, map[string]string{
			"live": "at once", "restart": "restart", "new machine": "new machine", "": "",
		}[change])
	}
	if *update {
		if err := os.WriteFile(path, []byte(head+begin+want+end+tail), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("go test ./core/spec -update writes it (-want +got):\n%s", diff)
	}
}
