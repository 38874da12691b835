//go:build integration

package integration

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/nspawn-build/nspawn-build/integration/testhost"
)

// What a tool has kept of an earlier run when it is measured, in the order in
// which it is: the first fills what the others use.
var beginnings = []string{"cold", "tree", "packages"}

// contender is a tool that makes the tree of a set of packages.
type contender struct {
	name    string
	version []string            // prints its version
	make    map[string][]string // by beginning; what it does not offer is missing
	tree    string
	discard []string // removes the tree
	keeps   []string // the directories of what it keeps

	times  map[string][]time.Duration
	peak   map[string]int64
	size   int // of the tree, MiB
	kept   int // of what it keeps, MiB
	failed string
}

// BenchmarkTreesOfAllTools compares, in turns and in one run, what it takes
// nspawn-build, debootstrap, mmdebstrap and mkosi to make a tree of the same
// packages: seconds, in brackets the ratio to mmdebstrap that has nothing to
// begin with; memory; disk. Two of the tools keep trees, all of them packages.
// docs/benchmarks.md says how the table is to be read.
func BenchmarkTreesOfAllTools(b *testing.B) {
	h := testhost.StartDirect(b, testhost.Options{Packages: []string{"mkosi"}})
	h.InstallProduct(b)
	h.MustRun(b, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519")
	packages := packagesOfAMachine(b, h)
	all := contenders(b, h, packages)
	before := load(b)
	rounds := 0
	for b.Loop() {
		for _, beginning := range beginnings {
			for i := range all { // another one first in each round
				all[(i+rounds)%len(all)].measure(b, h, beginning, packages)
			}
		}
		rounds++
	}
	b.ReportMetric(0, "ns/op") // the sum of all says nothing
	bare := median(all[0].times["cold"])
	if all[0].failed != "" {
		b.Fatalf("mmdebstrap, by which the others are measured: %s", all[0].failed)
	}
	for _, c := range all {
		for beginning, times := range c.times {
			b.ReportMetric(median(times).Seconds(), c.unit(beginning)+"-s")
			b.ReportMetric(median(times).Seconds()/bare.Seconds(), c.unit(beginning)+"/mmdebstrap-cold")
			b.ReportMetric(float64(c.peak[beginning]>>20), c.unit(beginning)+"-MiB")
		}
	}
	// Of what a benchmark logs, ten lines are shown.
	fmt.Fprintf(os.Stdout, "\n%d packages of Debian trixie; median of %d rounds; load %s before, %s after\n%s",
		len(packages), rounds, before, load(b), table(b, h, all, bare))
}

// contenders are the tools, mmdebstrap first. Each is used as its manual says,
// with what it has for keeping things; none is told of another one's.
func contenders(b *testing.B, h *testhost.Host, packages []string) []*contender {
	b.Helper()
	const sources = "/etc/apt/sources.list.d/debian.sources"
	list := strings.Join(packages, ",")
	bare := func(dir string) []string { return []string{"rm", "-rf", dir} }

	mmdebstrap := []string{"mmdebstrap", "--quiet", "--variant=minbase", "--include=" + list}
	withArchives := slices.Concat(mmdebstrap, []string{
		"--skip=essential/unlink,download/empty", `--setup-hook=mkdir -p "$1"/var/cache/apt/archives/`,
		"--setup-hook=sync-in /srv/mmdebstrap /var/cache/apt/archives/",
		"--customize-hook=sync-out /var/cache/apt/archives /srv/mmdebstrap",
	})
	into := []string{"trixie", "/srv/tree", sources}
	h.MustRun(b, "mkdir", "-p", "/srv/mmdebstrap")
	h.MustRun(b, slices.Concat(withArchives, into)...) // it would keep nothing when not told to
	h.MustRun(b, bare("/srv/tree")...)

	debootstrap := []string{"debootstrap", "--variant=minbase", "--include=" + list, "--cache-dir=/srv/debootstrap", "trixie", "/srv/tree", mirrorOf(b, h, sources)}

	// Its own sources name mirrors that the host cannot reach.
	h.MustRun(b, "sh", "-c", `mkdir -p /srv/mkosi/work /srv/mkosi/sandbox/etc/apt/sources.list.d /srv/mkosi/sandbox/etc/apt/apt.conf.d &&
		cp "$1" /srv/mkosi/sandbox/etc/apt/sources.list.d/mkosi.sources && cp /etc/apt/apt.conf.d/90-mirror /srv/mkosi/sandbox/etc/apt/apt.conf.d/`, "sh", sources)
	mkosi := []string{
		"mkosi", "--directory=", "--distribution=debian", "--release=trixie", "--format=directory", "--bootable=no",
		"--output=image", "--output-directory=/srv/mkosi/out", "--workspace-directory=/srv/mkosi/work",
		"--package-cache-directory=/srv/mkosi/packages", "--sandbox-tree=/srv/mkosi/sandbox", "--package=" + list,
	}
	keepsTrees := append(slices.Clone(mkosi), "--incremental=yes", "--cache-directory=/srv/mkosi/trees", "build")

	create := []string{"nspawn-build", "--distro", "debian", "--release", "trixie", "box"}
	ours := func(name string, more ...string) *contender {
		c := slices.Concat(create, more)
		return &contender{
			name: name, version: []string{"nspawn-build", "--version"},
			make: map[string][]string{"cold": c, "packages": slices.Concat(c, []string{"--no-cache"}), "tree": c},
			tree: "/root/containers/box", discard: []string{"nspawn-build", "destroy", "box"}, keeps: []string{"/var/cache/nspawn-build"},
		}
	}
	all := []*contender{
		{
			name: "mmdebstrap", version: []string{"mmdebstrap", "--version"},
			make: map[string][]string{"cold": slices.Concat(mmdebstrap, into), "packages": slices.Concat(withArchives, into)},
			tree: "/srv/tree", discard: bare("/srv/tree"), keeps: []string{"/srv/mmdebstrap"},
		},
		{
			name: "debootstrap", version: []string{"debootstrap", "--version"},
			make: map[string][]string{"cold": debootstrap, "packages": debootstrap},
			tree: "/srv/tree", discard: bare("/srv/tree"), keeps: []string{"/srv/debootstrap"},
		},
		{
			name: "mkosi", version: []string{"mkosi", "--version"},
			make: map[string][]string{"cold": keepsTrees, "packages": append(slices.Clone(mkosi), "build"), "tree": keepsTrees},
			tree: "/srv/mkosi/out/image", discard: bare("/srv/mkosi/out"), keeps: []string{"/srv/mkosi/packages", "/srv/mkosi/trees"},
		},
		ours("nspawn-build --no-boot", "--no-boot"),
		ours("nspawn-build, up to a login"),
	}
	for _, c := range all {
		c.times, c.peak = map[string][]time.Duration{}, map[string]int64{}
	}
	return all
}

// mirrorOf is the mirror of the plain suite: debootstrap takes one, and so none
// of the updates.
func mirrorOf(b *testing.B, h *testhost.Host, sources string) string {
	b.Helper()
	for stanza := range strings.SplitSeq(h.ReadFile(b, sources), "\n\n") {
		var uri string
		for line := range strings.Lines(stanza) {
			name, value, _ := strings.Cut(line, ":")
			switch words := strings.Fields(value); {
			case name == "URIs" && len(words) > 0:
				uri = words[0]
			case name == "Suites" && slices.Contains(words, "trixie"):
				return uri
			}
		}
	}
	b.Fatalf("%s names no mirror of trixie", sources)
	return ""
}

// measure has the tree made once, and looks whether it is what was asked for.
// A tool that cannot is out of the race, and the table says why.
func (c *contender) measure(b *testing.B, h *testhost.Host, beginning string, packages []string) {
	b.Helper()
	argv, offered := c.make[beginning]
	if !offered || c.failed != "" {
		return
	}
	if beginning == "cold" && c.name != "mmdebstrap" { // which does not use what it keeps when it is not told to
		h.MustRun(b, slices.Concat([]string{"rm", "-rf"}, c.keeps)...)
	}
	h.MustRun(b, slices.Concat([]string{"mkdir", "-p"}, c.keeps, []string{"/srv/mkosi/out"})...)
	h.MustRun(b, "sync", "-f", "/srv") // nobody is to wait for what another one wrote
	stop := h.PeakMemory(b)
	start := time.Now()
	r := h.RunCommand(b, testhost.Command{Args: argv, Timeout: 20 * time.Minute})
	took := time.Since(start)
	c.peak[beginning] = max(c.peak[beginning], stop())
	switch missing := c.missing(b, h, packages); {
	case r.Exit != 0:
		c.failed = lastLine(r.Stdout + r.Stderr)
		b.Logf("%s, %s: %s", c.name, beginning, r)
	case len(missing) > 0:
		c.failed = fmt.Sprintf("the tree lacks %q", missing)
	default:
		c.times[beginning] = append(c.times[beginning], took)
		c.size, c.kept = mebibytes(b, h, c.tree), mebibytes(b, h, c.keeps...)
	}
	if c.failed != "" && c.discard[0] == "nspawn-build" {
		b.Fatalf("%s, %s: %s", c.name, beginning, c.failed)
	}
	h.MustRun(b, c.discard...)
}

// missing lists the packages that are not in the tree.
func (c *contender) missing(b *testing.B, h *testhost.Host, packages []string) []string {
	b.Helper()
	r := h.Run(b, "dpkg-query", "--admindir="+c.tree+"/var/lib/dpkg", "-W", "-f=${db:Status-Status} ${Package}\n")
	installed := map[string]bool{}
	for line := range strings.Lines(r.Stdout) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), "installed "); ok {
			installed[name] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(packages), func(name string) bool { return installed[name] })
}

// unit is how a metric of the tool begins, which must have no blanks.
func (c *contender) unit(beginning string) string {
	name, login, _ := strings.Cut(strings.ReplaceAll(c.name, ",", ""), " up to a ")
	name, _, _ = strings.Cut(name, " ")
	if login != "" {
		name += "-" + login
	}
	return name + "-" + beginning
}

// table renders what was measured, plainly.
func table(b *testing.B, h *testhost.Host, all []*contender, bare time.Duration) string {
	b.Helper()
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
	cell := func(c *contender, beginning string) string {
		if _, offered := c.make[beginning]; !offered {
			return "-"
		}
		s := median(c.times[beginning])
		return fmt.Sprintf("%.1f (%.2f)", s.Seconds(), s.Seconds()/bare.Seconds())
	}
	memory := func(c *contender, beginning string) string {
		if _, offered := c.make[beginning]; !offered {
			return "-"
		}
		return strconv.FormatInt(c.peak[beginning]>>20, 10)
	}
	fmt.Fprintln(w, "\tcold s\twith packages s\twith the tree s\tpeak MiB: cold\tpackages\ttree\ton disk MiB: tree\tkept\t ")
	var versions []string
	for _, c := range all {
		versions = append(versions, lastLine(h.MustRun(b, c.version...)))
		if c.failed != "" {
			fmt.Fprintf(w, "%s\t  could not run: %s\n", c.name, c.failed)
			continue
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t \n", c.name,
			cell(c, "cold"), cell(c, "packages"), cell(c, "tree"),
			memory(c, "cold"), memory(c, "packages"), memory(c, "tree"), c.size, c.kept)
	}
	if err := w.Flush(); err != nil {
		b.Fatal(err)
	}
	return text.String() + strings.Join(slices.Compact(versions), "; ") + "\n"
}

// mebibytes is what directories take on the disk.
func mebibytes(b *testing.B, h *testhost.Host, dirs ...string) int {
	b.Helper()
	out := h.MustRun(b, slices.Concat([]string{"du", "--summarize", "--total", "--block-size=1M", "--one-file-system"}, dirs)...)
	n, err := strconv.Atoi(strings.Fields(lastLine(out))[0])
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

func median(all []time.Duration) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(all))
	return (sorted[(len(all)-1)/2] + sorted[len(all)/2]) / 2
}

// load is how many processes wanted a processor during the last minute.
func load(b *testing.B) string {
	b.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		b.Fatal(err)
	}
	one, _, _ := strings.Cut(string(text), " ")
	return one
}
