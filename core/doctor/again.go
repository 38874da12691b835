package doctor

import (
	"slices"
	"strings"

	"github.com/nspawn-build/nspawn-build/core/spec"
	"github.com/nspawn-build/nspawn-build/core/store"
)

// remake is how a machine is made anew: what its reader is to know before, and
// the command, which is empty where there is none.
type remake struct{ say, command string }

// after puts what is to be known after why it is needed.
func (r remake) after(why string) string { return why + ". " + r.say }

// anew is how the machine is destroyed and made again as it was asked for. What
// that was is in a file before, and that a machine can be made of it, with all
// that it takes of this host, is tried by a dry run: only then something is
// destroyed. whole says that the machine's tree is in its place; steps are
// commands that come right before it is destroyed.
func (p *patient) anew(whole bool, steps ...string) remake {
	if p.m.Clone != nil {
		return p.cloneAnew(*p.m.Clone, steps)
	}
	s := p.m.Spec
	file := p.specFile()
	flag, say := password(s.Access.Password)
	create := "nspawn-build create --file " + file + flag
	check := create + " --dry-run"
	switch {
	case len(s.Network.Publish) == 0:
		// Under another name all is looked at that making it takes; the address is
		// still the machine's.
		if s.Network.Address.IsValid() {
			check += " --address="
		}
		if s.Network.Gateway.IsValid() {
			check += " --gateway="
		}
		check += " " + p.unused()
	case whole:
		check += " --apply=false"
	case s.Access.Password == spec.PasswordGiven:
		check = "test -s FILE" // ports are the machine's still, and there is nothing else to lose
	default:
		check = ""
	}
	if s.Access.InvokerKeys {
		say = append(say, "it lets in the SSH keys of whoever runs this")
	}
	return remake{
		sentences(append(say, "what it was asked for is kept in "+file)),
		chain(append([]string{p.saved(), check}, append(steps, "nspawn-build destroy "+p.m.Name, create)...)),
	}
}

// cloneAnew is the same for a clone: its source is cloned again, and what the
// clone was given otherwise is changed then.
func (p *patient) cloneAnew(c store.Clone, steps []string) remake {
	if !slices.ContainsFunc(p.machines, func(m store.Machine) bool { return m.Name == c.Of && m.Complete && m.Created.Equal(c.Made) }) {
		return remake{"It is a clone, and its source " + c.Of + " is gone or was made again since: there is no command that makes it anew", ""}
	}
	s := p.m.Spec
	flags := " --directory " + quote(s.Directory) + " --driver " + string(s.Driver)
	if c.Live {
		flags += " --live"
	}
	var say []string
	if c.NewPassword {
		var flag string
		if flag, say = password(s.Access.Password); s.Access.Password == spec.PasswordGenerated {
			flag = " --generate-password"
		}
		flags += flag
	}
	own := ""
	if s.Network.Address.IsValid() {
		own += " --address " + s.Network.Address.String()
	}
	if s.Network.Gateway.IsValid() {
		own += " --gateway " + s.Network.Gateway.String()
	}
	file, clone := p.specFile(), "nspawn-build clone "+c.Of+" "
	return remake{
		sentences(append([]string{"it gets the files that " + c.Of + " has now"}, append(say, "what it was asked for is kept in "+file)...)),
		chain(append([]string{p.saved(), clone + p.unused() + flags + " --dry-run"}, append(steps,
			"nspawn-build destroy "+p.m.Name, clone+p.m.Name+flags+own, "nspawn-build create --file "+file+" --restart")...)),
	}
}

// specFile is where the spec of a machine is kept while it is made anew: in the
// working directory, under a name that nobody would give a file of his own.
func (p *patient) specFile() string { return p.m.Name + ".anew.yaml" }

// saved is the command that writes it.
func (p *patient) saved() string {
	return "nspawn-build show " + p.m.Name + " --output yaml >" + p.specFile()
}

// unused is a name that no machine has.
func (e *exam) unused() string {
	name := "anew"
	for slices.ContainsFunc(e.machines, func(m store.Machine) bool { return m.Name == name }) {
		name += "w"
	}
	return name
}

// password is the flag of create that a password needs, which is kept nowhere,
// with the word that its reader is to replace. Without that the dry run fails.
func password(kind spec.PasswordKind) (flag string, say []string) {
	switch kind {
	case spec.PasswordGiven:
		return " --password-file FILE", []string{"FILE stands for the path of a file that has root's password in its first line: put that in its place"}
	case spec.PasswordHash:
		return " --password-hash HASH", []string{"HASH stands for the crypt(3) hash of root's password: put that in its place, in single quotes"}
	case spec.PasswordGenerated:
		return "", []string{"root gets a new password, which is printed once"}
	case spec.PasswordLocked:
	}
	return "", nil
}

func sentences(all []string) string { return "This makes the machine anew; " + strings.Join(all, "; ") }

// chain has each command run only if the one before it succeeded.
func chain(commands []string) string {
	return strings.Join(slices.DeleteFunc(commands, func(c string) bool { return c == "" }), " && ")
}
