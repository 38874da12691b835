package images

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"time"

	"github.com/nspawn-build/nspawn-build/core/archive"
	"github.com/nspawn-build/nspawn-build/core/customize"
	"github.com/nspawn-build/nspawn-build/core/image"
	"github.com/nspawn-build/nspawn-build/core/machines"
	"github.com/nspawn-build/nspawn-build/core/pipeline"
	"github.com/nspawn-build/nspawn-build/core/pluginhost"
	"github.com/nspawn-build/nspawn-build/core/rootfs"
	"github.com/nspawn-build/nspawn-build/core/sdk"
	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/stages"
	"github.com/nspawn-build/nspawn-build/core/store"
	"github.com/nspawn-build/nspawn-build/core/verify"
)

// build is one image being made.
type build struct {
	*House
	Wanted
	place   *place
	record  *store.Record
	origin  stages.Origin
	plugin  pluginhost.Listing
	request sdk.Request
	engine  string
	holds   map[string]string // by the repositories, as the plugin says it
	base    *Base
	taken   []spec.Taken
	epoch   int64

	digest    string
	artifacts []image.Artifact
	tools     []image.Tool
	packages  []sdk.Package
	report    *verify.Report
	pushed    []string
}

// prepare finds everything that is in the way, and touches nothing.
func (h *House) prepare(ctx context.Context, w Wanted) (*build, error) {
	b := &build{House: h, Wanted: w, epoch: w.Image.SourceDateEpoch}
	if bad := w.Spec.Customize.Unmade(); bad != nil {
		return nil, bad
	}
	if err := w.check(time.Now()); err != nil {
		return nil, err
	}
	var err error
	if b.taken, err = customize.Sources(w.Spec.Customize); err != nil {
		return nil, err
	}
	if b.place, err = newPlace(w); err != nil {
		return nil, err
	}
	if err := h.ready(ctx, w, b.place.dir); err != nil {
		return nil, err
	}
	if w.Base != "" {
		err = b.fromBase()
	} else {
		err = b.fromPlugin(ctx)
	}
	if err != nil {
		return nil, err
	}
	state := &store.Store{StateDir: b.place.state()}
	b.record = state.NewRecord(store.Machine{
		Name: b.Spec.Name, Spec: b.Spec, AuthorizedKeys: b.Spec.Access.SSHKeys,
		Tree: store.Tree{Path: b.place.root()}, Customized: store.Customized{Taken: b.taken},
	})
	return b, nil
}

// fromPlugin asks the plugin, with the packages of the lock file if there is
// one.
func (b *build) fromPlugin(ctx context.Context) error {
	more := machines.Beyond{Engine: true}
	if b.Image.Lock != "" {
		lock, err := readLock(b.Image.Lock)
		if err != nil {
			return err
		}
		if err := lock.apply(&b.Spec); err != nil {
			return err
		}
		more.Pinned = unlisted(lock.Packages)
		if b.epoch == 0 {
			b.epoch = lock.Epoch
		}
	}
	if b.epoch == 0 && b.Spec.Snapshot != "" {
		b.epoch = moment(b.Spec.Snapshot)
	}
	more.Epoch = b.epoch
	asked, err := b.Machines.Ask(ctx, b.Spec, more)
	b.origin, b.plugin, b.request, b.engine = asked.Origin, asked.Plugin, asked.Request, asked.Engine
	b.holds = asked.Repository
	return err
}

// moment is the time of a snapshot.
func moment(s string) int64 {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if at, err := time.Parse(form, s); err == nil {
			return at.Unix()
		}
	}
	return 0
}

// stages are those of an image, in running order.
func (b *build) stages() []pipeline.Stage {
	custom := &stages.Customize{Record: b.record, LogDir: b.place.logs(), Runtime: machines.RuntimeDir, Tell: b.Machines.Tell, Epoch: b.epoch}
	order := []pipeline.Stage{
		step{stages.NameBootstrap, "create", "the tree", b.bootstrap},
		custom,
		&stages.Password{Record: b.record, Secret: b.Secret},
		&stages.Services{Record: b.record, Image: true},
		&stages.ImageNetwork{Record: b.record},
	}
	for i, s := range order {
		order[i] = custom.Hooked(s)
	}
	order = append(order,
		step{"normalize", "update", "the tree", b.normalize},
		step{"write", "create", b.place.dir, b.write},
	)
	if b.Image.Verify {
		order = append(order, step{"verify", "run", "the image", b.verify})
	}
	if len(b.Push) > 0 {
		order = append(order, step{"push", "create", "the image in a registry", b.push})
	}
	return append(order, step{"describe", "create", "manifest and SBOM", b.describe})
}

func (b *build) run(ctx context.Context) ([]pipeline.Result, error) {
	order := b.stages()
	for i, s := range order {
		order[i] = pipeline.Observed(pipeline.Explained(s, b.full), b.Machines.Tell)
		if b.Machines.Turn != nil && s.Name() == stages.NameBootstrap {
			order[i] = pipeline.Bounded(order[i], b.Machines.Turn)
		}
	}
	if err := customize.OpenLog(stages.CustomizeLog(b.place.logs(), b.Spec.Name)); err != nil {
		return nil, err
	}
	if err := b.record.Update(func(m *store.Machine) { m.Customized.Logged = true }); err != nil {
		return nil, err
	}
	runner := pipeline.Runner{Stages: order}
	results, err := runner.Run(ctx)
	var failed *pipeline.Error
	if errors.As(err, &failed) && !b.Keep {
		failed.Undone = true // the hidden directory goes
	}
	return results, err
}

// step is a stage that is always run.
type step struct {
	name, action, subject string
	do                    func(context.Context) error
}

func (s step) Name() string { return s.name }

func (s step) Check(context.Context) ([]pipeline.Change, error) {
	return []pipeline.Change{{Action: s.action, Subject: s.subject}}, nil
}

func (s step) Apply(ctx context.Context) error { return s.do(ctx) }

func (b *build) bootstrap(ctx context.Context) error {
	facts, err := b.origin.Make(ctx, b.record, b.place.root(), b.place.work())
	if err != nil {
		return err
	}
	tree, err := rootfs.Open(b.place.root())
	if err != nil {
		return err
	}
	id, err := tree.Identity()
	if err := errors.Join(err, tree.Close()); err != nil {
		return err
	}
	b.packages = facts.Packages
	return b.record.Update(func(m *store.Machine) { m.Facts, m.Tree.Root = &facts, id })
}

func (b *build) withTree(f func(*rootfs.Tree) error) error {
	tree, err := stages.OpenTree(b.record)
	if err != nil {
		return err
	}
	return errors.Join(f(tree), tree.Close())
}

func (b *build) normalize(ctx context.Context) error {
	return b.withTree(func(tree *rootfs.Tree) error {
		all, known, err := installed(tree)
		if err != nil {
			return err
		}
		if known {
			b.packages = merged(all, b.packages)
		}
		return stages.Anonymize(ctx, tree)
	})
}

func (b *build) time() time.Time {
	if b.epoch == 0 {
		return time.Time{}
	}
	return time.Unix(b.epoch, 0).UTC()
}

// write writes every format.
func (b *build) write(ctx context.Context) error {
	return b.withTree(func(tree *rootfs.Tree) error {
		size, err := image.Measure(ctx, tree)
		if err != nil {
			return err
		}
		for i, name := range b.Image.Formats {
			if err := b.roomFor(b.Image.Formats[i:], size); err != nil {
				return err
			}
			b.tell("write", pipeline.Progress, name)
			a, err := image.Write(ctx, tree, image.Format(name), filepath.Join(b.place.out(), b.place.file(name)), image.Options{
				Name: b.Spec.Name, Arch: b.request.Architecture, Epoch: b.time(), Labels: b.Spec.Labels,
				Progress: func(done, total uint64) {
					b.Machines.Tell(pipeline.Event{Stage: "write", Kind: pipeline.Progress, Text: name, Done: done, Total: total, Item: "files"})
				},
			})
			if err != nil {
				return err
			}
			b.artifacts = append(b.artifacts, a)
			tools, err := image.Tools(ctx, a.Format)
			if err != nil {
				return err
			}
			b.tools = append(b.tools, tools...)
			if a.Format == image.Tar || a.Format == image.Directory {
				b.digest = a.SHA256
			}
		}
		if b.digest != "" {
			return nil
		}
		b.digest, err = Digest(ctx, tree, b.time())
		return err
	})
}

// Digest is the SHA-256 of a tree's canonical tar.
func Digest(ctx context.Context, tree *rootfs.Tree, epoch time.Time) (string, error) {
	sum := sha256.New()
	if err := archive.Write(ctx, sum, tree, archive.WriteOptions{Epoch: epoch}); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// finish says where everything is.
func (b *build) finish(res *Result) {
	res.Digest, res.Packages, res.Pushed = b.digest, len(b.packages), b.pushed
	for _, a := range b.artifacts {
		a.Path = filepath.Join(b.place.dir, filepath.Base(a.Path))
		res.Artifacts = append(res.Artifacts, a)
	}
	at := func(suffix string) string { return filepath.Join(b.place.dir, b.Spec.Name+suffix) }
	res.Manifest, res.SBOM, res.Sums, res.Lock, res.Log = at(suffixManifest), at(suffixSBOM), at(suffixSums), at(suffixLock), at(suffixLog)
	if m := b.record.Machine(); m.Facts != nil && res.Release == "" {
		res.Release = m.Facts.OSRelease["VERSION_CODENAME"]
	}
}

// ready checks what writing the formats takes of this host.
func (h *House) ready(ctx context.Context, w Wanted, dir string) error {
	if h.Machines.Host.Nspawn == "" && (len(w.Spec.Customize.Scripts) > 0 || len(w.Spec.Customize.Hooks) > 0) {
		return &machines.HostError{Problem: "systemd-nspawn, in which scripts and hooks run, is not installed", Hint: "install systemd-container (Debian, Fedora) or systemd (Arch Linux)"}
	}
	var needs []image.Need
	for _, name := range w.Image.Formats {
		needs = append(needs, image.Needs(image.Format(name))...)
	}
	signer := image.Signer{Key: w.Image.Sign}
	if signer.Key != "" {
		needs = append(needs, signer.Needs()...)
	}
	for _, need := range needs {
		if sdk.FindTool(need.Program) != "" {
			continue
		}
		missing := image.MissingError{Need: need}
		hint := missing.Hint()
		if c := sdk.InstallCommand(h.Machines.Host.Family, need.Packages[h.Machines.Host.Family]); c != "" {
			hint = "install it: " + c
		}
		return &machines.HostError{Problem: missing.Error(), Hint: hint}
	}
	if signer.Key != "" {
		if err := signer.Check(ctx); err != nil {
			return spec.Invalid{{
				Field: "image.sign", Value: signer.Key, Problem: "is no key that can sign: " + err.Error(),
				Hint: "name one of gpg --list-secret-keys; under sudo those are root's, unless GNUPGHOME is passed on",
			}}
		}
	}
	return roomBefore(w, dir)
}
