package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func words(all []suggestion) string {
	var w []string
	for _, s := range all {
		w = append(w, s.word)
	}
	return strings.Join(w, " ")
}

func TestALineIsCompletedByWhatCanComeNext(t *testing.T) {
	app := newApp(streams{os.Stdin, &bytes.Buffer{}, &bytes.Buffer{}}).cli
	there := onHost{
		machines: func() []string { return []string{"api", "web1", "web2"} },
		distros:  func() []string { return []string{"arch", "debian"} },
	}
	for _, tt := range []struct{ line, want string }{
		{"reb|", "reboot"},
		{"zzz|", ""},
		{"sto|", "stop"},
		{"plugin |", "new list describe check install update verify remove push"},
		{"plugin install |", ":files"},
		{"plugin push p |", ""},
		{"plugin install --key |", ":files"},
		{"create --dev-plugin |", ""},
		{"destroy |", "api web1 web2"},
		{"destroy w|", "web1 web2"},
		{"destroy web1 |", "api web2"},
		{"destroy --yes web1 w|", "web2"},
		{"status web1 |", ""}, // it takes one
		{"create |", ""},      // a new name
		{"list |", ""},
		{"destroy --al|", "--all"},
		{"destroy -- --al|", ""},
		{"--dist|", "--distro"},
		{"--distro debian --dri|", "--driver"},
		{"--driver |", "auto systemd direct"},
		{"create --driver d|", "direct"},
		{"create --driver=d|", "--driver=direct"},
		{"create --driver = d|", "direct"}, // as bash takes it apart
		{"create --driver = |", "auto systemd direct"},
		{"create --driver = direct --out|", "--output"},
		{"list --output |", "text json"},
		{"create --on-error |", "undo keep"},
		{"create --memory-max |", ""},
		{"create --keyring |", ":files"},
		{"create --keyring=/et|", ":files"},
		{"create --directory |", ":dirs"},
		{"create --no-boot |", ""},
		{"image --format |", "directory tar tar.zst tar.xz tar.gz oci squashfs erofs raw"},
		{"image --format tar.|", "tar.zst tar.xz tar.gz"},
		{"image --format=tar.z|", "--format=tar.zst"},
		{"image --base |", ":files"},
		{"image --out |", ":files"},
		{"image -o |", ":files"},
		{"--distro |", "arch debian"},
		{"plan --distro d|", "debian"},
		{"--distro=|", "--distro=arch --distro=debian"},
		{"--drop-capability CAP_SYS_T|", "CAP_SYS_TIME CAP_SYS_TTY_CONFIG"},
		{"create --capability CAP_BP|", "CAP_BPF"},
		{"set web1 --unset memory-|", "memory-max memory-high"},
		{"diff |", ":files"},
		{"diff one |", ":files"},
		{"diff one two |", ""},
		{"clone |", "api web1 web2"},
		{"clone web1 |", ""},
		{"ssh w|", "web1 web2"},
		{"shell a|", "api"},
		{"completion |", "bash zsh fish"},
		{"completion bash |", ""},
		{"matrix |", "plan merge"},
		{"matrix merge |", ":dirs"},
		{"matrix --emit |", "github gitlab"},
		{"cache |", "list prune"},
		{"cache prune --o|", "--older-than --output"},
		{"cache prune --max|", "--max-size"},
		{"cache prune --output |", "text json"},
		{"cache list --|", "--help --output --log-level --log-format"},
	} {
		line := strings.TrimSuffix(tt.line, "|")
		if got := words(suggest(app, strings.Split(line, " "), there)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.line, got, tt.want)
		}
	}
	if got := words(suggest(app, []string{""}, there)); !strings.Contains(got, "create") || strings.Contains(got, "supervise") {
		t.Errorf("the commands are %q", got)
	}
	if got := suggest(app, nil, there); got != nil {
		t.Errorf("no line at all: %v", got)
	}
}

// shell runs a script in a real shell that finds nspawn-build.
func shell(t *testing.T, program, script string) string {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("needs %s", program)
		}
		t.Skipf("needs %s", program)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	if err := os.Symlink(self, filepath.Join(home, "nspawn-build")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "-c", script)
	cmd.Dir = home
	cmd.Env = []string{"PATH=" + home + ":/usr/local/bin:/usr/bin:/bin", "HOME=" + home, "TERM=dumb", "LANG=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
	return string(out)
}

func TestBashCompletes(t *testing.T) {
	// What bash does with a line on which TAB is pressed; a space ends each word.
	const press = `source <(nspawn-build completion bash)
		complete -p nspawn-build >/dev/null || exit 1
		compopt() { :; } # works only while a key is pressed
		press() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _nspawn_build "$1"; echo "${COMPREPLY[*]}"; }
		touch some.key other; mkdir -p dir
		press nspawn-build rebo
		press nspawn-build destroy --al
		press nspawn-build create --driver = ""
		press nspawn-build create --driver =
		press nspawn-build create --keyring some
		press nspawn-build create --directory ""
		press ./nspawn-build nosuch`
	want := "reboot\n--all\nauto systemd direct\nauto systemd direct\nsome.key\ndir\n\n"
	if diff := cmp.Diff(want, shell(t, "bash", press)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestZshCompletes(t *testing.T) {
	// A real line editor, on a terminal of its own.
	const press = `zmodload zsh/zpty
		zpty z zsh -f -i
		zpty -w z "PS1= PS2= PATH=$PATH; autoload -Uz compinit; compinit -u -D; source <(nspawn-build completion zsh); echo REA''DY"
		zpty -r -m z text '*READY*' || exit 1
		zpty -w -n z $'nspawn-build rebo\t'
		zpty -r -m z text '*reboot*' || exit 1
		zpty -w -n z $'box \C-unspawn-build create --driver=syst\t'
		zpty -r -m z text '*--driver=systemd*' || exit 1
		zpty -d z; echo completed`
	if got := shell(t, "zsh", press); !strings.HasSuffix(got, "completed\n") {
		t.Errorf("got %s", got)
	}
}

func TestZshFindsItsFunctionWhereItIsInstalled(t *testing.T) {
	const press = `mkdir functions; nspawn-build completion zsh >functions/_nspawn-build
		zmodload zsh/zpty
		zpty z zsh -f -i
		zpty -w z "PS1= PS2= PATH=$PATH; fpath=($PWD/functions "'$fpath'"); autoload -Uz compinit; compinit -u -D; echo REA''DY"
		zpty -r -m z text '*READY*' || exit 1
		zpty -w -n z $'nspawn-build rebo\t'
		zpty -r -m z text '*reboot*' || exit 1
		zpty -d z; echo completed`
	if got := shell(t, "zsh", press); !strings.HasSuffix(got, "completed\n") {
		t.Errorf("got %s", got)
	}
}

func TestFishCompletes(t *testing.T) {
	const press = `nspawn-build completion fish | source
		complete --do-complete "nspawn-build rebo"
		complete --do-complete "nspawn-build destroy --al"
		complete --do-complete "nspawn-build create --driver syst"
		complete --do-complete "nspawn-build create --driver=syst"
		touch some.key; complete --do-complete "nspawn-build create --keyring som"`
	var got []string
	for line := range strings.Lines(shell(t, "fish", press)) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), "\t")
		got = append(got, word)
	}
	if diff := cmp.Diff([]string{"reboot", "--all", "systemd", "--driver=systemd", "some.key"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
