package sdktest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// updateVariable makes Golden write the files.
const updateVariable = "SDKTEST_UPDATE"

// Golden compares got with the file of that name below testdata. With
// SDKTEST_UPDATE=1 in the environment the file is written instead: what it
// changes is then to be looked at as any change is.
func Golden(t testing.TB, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if os.Getenv(updateVariable) != "" {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got), %s=1 writes it anew:\n%s", file, updateVariable, diff)
	}
}
