package console

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLogIsBoundedAndKeepsTheEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	log, err := Create(path, 2000)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		if _, err := fmt.Fprintf(log, "line %d\n", i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := log.Write(append(bytes.Repeat([]byte("x"), 5000), []byte("\nthe end\n")...)); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	var size int64
	for _, p := range []string{path, path + ".1"} {
		fi, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", p, fi.Mode())
		}
		size += fi.Size()
	}
	if size > 2000 {
		t.Errorf("the log grew to %d bytes", size)
	}
	lines, err := Tail(path, 1)
	if diff := cmp.Diff([]string{"the end"}, lines); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestNewLogForgetsTheOneBefore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	for _, text := range []string{strings.Repeat("old\n", 1000), "new\n"} {
		log, err := Create(path, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := log.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if err := log.Close(); err != nil {
			t.Fatal(err)
		}
	}
	lines, err := Tail(path, 100)
	if diff := cmp.Diff([]string{"new"}, lines); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestTailReachesOverTheTurnOfTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "console.log")
	log, err := Create(path, 40)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := log.Write([]byte("one one one one\ntwo two two\nthree\n")); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	lines, err := Tail(path, 3)
	if diff := cmp.Diff([]string{"one one one one", "two two two", "three"}, lines); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestMissingLogIsEmpty(t *testing.T) {
	lines, err := Tail(filepath.Join(t.TempDir(), "none"), 5)
	if err != nil || len(lines) != 0 {
		t.Errorf("%q, %v", lines, err)
	}
}
