//go:build integration

package matrix_test

import (
	"bytes"
	"context"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"github.com/nspawn-build/nspawn-build/core/matrix"
	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// browse runs a headless Chromium that reaches no network, and returns what it
// prints and says.
func browse(t *testing.T, args ...string) (string, string) {
	t.Helper()
	testhost.Require(t, "chromium")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "chromium", append([]string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--user-data-dir=" + t.TempDir(),
		"--enable-logging=stderr", "--hide-scrollbars",
	}, args...)...)
	// Its processes are in a namespace with it, and end with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID, Pdeathsig: syscall.SIGKILL}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		t.Fatalf("chromium: %v\n%s", err, &said)
	}
	return out.String(), said.String()
}

// written is the page of a report in a file beside its results.
func written(t *testing.T, r *matrix.Report, dir string) string {
	t.Helper()
	var b bytes.Buffer
	if err := matrix.WriteHTML(&b, r, dir, dir); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "index.html")
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestABrowserShowsThePageAndRunsNothingOfIt(t *testing.T) {
	dom, said := browse(t, "--dump-dom", "file://"+written(t, report(), t.TempDir()))
	root, err := html.Parse(strings.NewReader(dom))
	if err != nil {
		t.Fatal(err)
	}
	shown := map[string]bool{}
	for n := range root.Descendants() {
		if id, ok := attribute(n, "id"); ok {
			shown[id] = true
		}
		if n.Type == html.ElementNode && n.Data == "script" {
			t.Error("the browser has found a script")
		}
	}
	for _, j := range report().Jobs {
		if !shown[j.Name] {
			t.Errorf("%s is not shown", j.Name)
		}
	}
	inOrder(t, said)
}

// inOrder fails for an error of the page, or what its policy forbids. The browser
// loads pages of its own beside it, which complain when the machine is busy.
func inOrder(t *testing.T, said string) {
	t.Helper()
	for line := range strings.Lines(said) {
		if strings.Contains(line, "CONSOLE") && !strings.Contains(line, "source: chrome://") {
			t.Errorf("the browser says %s", line)
		}
	}
}

// What several runners have left is joined, and its page looked at.
func TestABrowserShowsWhatEachCellOfAJoinedReportIs(t *testing.T) {
	r, dir, want := mergedPage(t)
	dom, said := browse(t, "--dump-dom", "file://"+written(t, r, dir))
	root, err := html.Parse(strings.NewReader(dom))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, gridRows(root)); d != "" {
		t.Error(d)
	}
	inOrder(t, said)
}

func TestAPageIsDarkInTheDark(t *testing.T) {
	page := "file://" + written(t, report(), t.TempDir())
	for _, c := range []struct {
		name, flag string
		dark       bool
	}{{"light", "--blink-settings=preferredColorScheme=1", false}, {"dark", "--blink-settings=preferredColorScheme=0", true}} {
		shot := filepath.Join(t.TempDir(), c.name+".png")
		if dir := os.Getenv("PAGE_OUT"); dir != "" { // for a look at it
			shot = filepath.Join(dir, c.name+".png")
		}
		browse(t, "--window-size=1200,1600", "--screenshot="+shot, c.flag, page)
		f, err := os.Open(shot)
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(f)
		_ = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		back := brightness(img, 2, 2)
		if (back < 100) != c.dark || back > 100 && back < 200 {
			t.Errorf("its background has a brightness of %d where it is to be %s", back, c.name)
		}
		// There is something to read on it, in words that stand out.
		most := 0
		for y := range img.Bounds().Dy() {
			for x := range img.Bounds().Dx() {
				d := brightness(img, x, y) - back
				most = max(most, d, -d)
			}
		}
		if most < 150 {
			t.Errorf("nothing stands out by more than %d where it is %s", most, c.name)
		}
	}
}

// brightness is that of a point, from 0 to 255.
func brightness(img image.Image, x, y int) int {
	r, g, b, _ := img.At(x, y).RGBA()
	return int(r+g+b) / 3 >> 8
}
