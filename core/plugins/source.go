package plugins

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sys/unix"

	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// scheme is how the name of an artifact in a registry begins.
const scheme = "oci://"

// SignatureSuffix is what the name of a file's signature has more than its own.
const SignatureSuffix = ".sig"

// source is where a plugin comes from: a registry or a file.
type source struct {
	text string
	ref  name.Reference
	path string
}

// parse reads the name of a source.
func (s *Store) parse(text string) (source, error) {
	if ref, ok := strings.CutPrefix(text, scheme); ok {
		r, err := s.Registry.Reference(ref)
		if err != nil {
			return source{}, &Error{Kind: Unfit, Problem: "source: " + err.Error(), Advice: "name a repository with a tag or a digest: oci://registry.example.org/plugins/zypper:1.2"}
		}
		return source{text: scheme + r.Name(), ref: r}, nil
	}
	if strings.Contains(text, "://") || text == "" {
		return source{}, unfit("name a file, or an artifact: oci://registry.example.org/plugins/zypper:1.2", "source: %q is neither a file nor an artifact of a registry", text)
	}
	path, err := filepath.Abs(text)
	return source{text: path, path: path}, err
}

// fetch gets what a source has.
func (s *Store) fetch(ctx context.Context, src source) (*candidate, error) {
	if src.ref != nil {
		return s.pull(ctx, src)
	}
	return local(src)
}

// local reads a plugin from a file, and the signature beside it.
func local(src source) (*candidate, error) {
	plugin, ok := pluginhost.NameOf(filepath.Base(src.path))
	if !ok {
		return nil, unfit("a plugin is called after what it is: rename it to "+pluginhost.FileOf("NAME")+", where NAME is "+sdk.PluginNames, "source: %q is not the name of a plugin's file", src.path)
	}
	content, err := readFile(src.path, MaxSize)
	if err != nil {
		return nil, &Error{Kind: Unfit, Problem: fmt.Sprintf("source: %q cannot be installed", src.path), Advice: "name the program of the plugin", Err: cause(err)}
	}
	c := &candidate{name: plugin, source: src.text, file: src.path, content: content}
	c.signature, err = readFile(src.path+SignatureSuffix, maxSig)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{Kind: Unfit, Problem: fmt.Sprintf("the signature %q cannot be read", src.path+SignatureSuffix), Err: cause(err)}
	}
	return c, nil
}

// readFile reads a regular file of no more than limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read from
	info, err := f.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, errors.New("it is not a regular file")
	case info.Size() > limit:
		return nil, fmt.Errorf("%d bytes are too many", info.Size())
	}
	content, err := io.ReadAll(io.LimitReader(f, limit))
	if err == nil && len(content) == 0 {
		err = errors.New("it is empty")
	}
	return content, err
}

// cause leaves out a path that was said already.
func cause(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}
