package sdk_test

import (
	"bytes"
	"flag"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/exp/apidiff"
	"golang.org/x/tools/go/gcexportdata"
	"golang.org/x/tools/go/packages"
)

var promise = flag.Bool("promise", false, "promise plugins the SDK as it is now, for a release")

// promised is where each package of the SDK is kept as it was promised last, as
// export data without positions.
const promised = "testdata/promised"

// TestThePromiseToPluginsIsKept compares the SDK with what was promised: what
// compiles with an SDK compiles with every later one of the same major version.
func TestThePromiseToPluginsIsKept(t *testing.T) {
	kept := map[string]bool{}
	for _, p := range packagesOfTheSDK(t) {
		name := strings.ReplaceAll(p.PkgPath[strings.LastIndex(p.PkgPath, "core/sdk")+len("core/"):], "/", ".") + ".api"
		kept[name] = true
		path := filepath.Join(promised, name)
		if *promise {
			keep(t, path, p.Types)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Logf("%s is not promised yet: %v", p.PkgPath, err)
			continue
		}
		old, err := gcexportdata.Read(bytes.NewReader(data), token.NewFileSet(), map[string]*types.Package{}, p.PkgPath)
		if err != nil {
			t.Fatal(err)
		}
		for _, change := range apidiff.Changes(old, p.Types).Changes {
			if !change.Compatible {
				t.Errorf("%s: %s\n\tplugins of other teams use it: keep it beside what is new", p.PkgPath, change.Message)
			}
		}
	}
	files, err := filepath.Glob(filepath.Join(promised, "*.api"))
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing was promised: %v", err)
	}
	for _, file := range files {
		if !kept[filepath.Base(file)] {
			t.Errorf("the package of %s is gone", file)
		}
	}
}

func packagesOfTheSDK(t *testing.T) []*packages.Package {
	t.Helper()
	all, err := packages.Load(&packages.Config{
		Mode:    packages.NeedName | packages.NeedTypes | packages.NeedImports | packages.NeedDeps,
		Context: t.Context(),
	}, "./...")
	if err != nil {
		t.Fatal(err)
	}
	if packages.PrintErrors(all) > 0 || len(all) == 0 {
		t.Fatal("the SDK cannot be loaded")
	}
	return all
}

func keep(t *testing.T, path string, p *types.Package) {
	t.Helper()
	var data bytes.Buffer
	if err := gcexportdata.Write(&data, nil, p); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data.Bytes(), 0o644); err != nil { //nolint:gosec // as public as the SDK
		t.Fatal(err)
	}
}
