package inside

import (
	"context"
	"fmt"
	"path"
	"regexp"
	"strings"
)

// User is an account of a machine, as the machine says.
type User struct {
	Name, UID, GID, Home, Shell string
}

// NoUserError says that a machine knows no such account.
type NoUserError struct{ Name string }

func (e *NoUserError) Error() string {
	return fmt.Sprintf("user: %q is not a user of the machine", e.Name)
}

var userForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}\$?$`)

// LookUp asks a running machine for an account, by name or number.
func LookUp(ctx context.Context, leader int, name string) (User, error) {
	if !userForm.MatchString(name) {
		return User{}, &NoUserError{name}
	}
	out, code, err := Command{Leader: leader, Argv: []string{"getent", "passwd", name}}.Output(ctx, 1<<16)
	if err != nil {
		return User{}, err
	}
	line, _, _ := strings.Cut(string(out), "\n")
	f := strings.Split(line, ":")
	if code != 0 || len(f) != 7 || strings.ContainsRune(line, 0) {
		return User{}, &NoUserError{name}
	}
	return User{Name: f[0], UID: f[2], GID: f[3], Home: f[5], Shell: f[6]}, nil
}

// NoLoginError says that an account has no shell that one could be logged in to.
type NoLoginError struct{ Name, Shell, Problem string }

func (e *NoLoginError) Error() string {
	return fmt.Sprintf("user: %q cannot log in: its shell, %s, %s", e.Name, e.Shell, e.Problem)
}

// MayLogIn returns an error for a user whose shell lets nobody in or is not there:
// a login would end without a word.
func (u User) MayLogIn(ctx context.Context, leader int) error {
	switch path.Base(u.Shell) {
	case "false", "nologin":
		return &NoLoginError{u.Name, u.Shell, "lets nobody in"}
	}
	if u.Shell == "" {
		return nil // which means /bin/sh
	}
	_, code, err := Command{Leader: leader, Argv: []string{"test", "-x", u.Shell}}.Output(ctx, 1)
	if err == nil && code != 0 {
		err = &NoLoginError{u.Name, u.Shell, "is not there or cannot be run"}
	}
	return err
}

// As has c run as the user, with the groups that the user has, in dir; empty
// means where commands of the machine start. The environment is told who it is.
func (c Command) As(u User, dir string) Command {
	prefix := []string{}
	if u != (User{}) && u.UID != "0" {
		prefix = append(prefix, "setpriv", "--reuid="+u.UID, "--regid="+u.GID, "--init-groups", "--inh-caps=-all", "--")
	}
	if u != (User{}) {
		who := []string{"HOME=" + u.Home, "USER=" + u.Name, "LOGNAME=" + u.Name}
		c.Env = append(who, c.Env...)
	}
	if dir != "" {
		prefix = append(prefix, "env", "--chdir="+dir, "--")
	}
	c.Argv = append(prefix, c.Argv...)
	return c
}

// Login is the command that gives the user a login of the machine's own, with
// the session that its PAM sets up: an interactive shell, or argv run by it.
func (u User) Login(argv []string, env []string) []string {
	login := []string{"runuser", "--login", u.Name}
	var script strings.Builder
	for _, e := range env {
		key, value, _ := strings.Cut(e, "=")
		fmt.Fprintf(&script, "export %s=%s; ", key, word(value))
	}
	if len(argv) == 0 && script.Len() == 0 {
		return login
	}
	script.WriteString("exec")
	if len(argv) == 0 {
		script.WriteString(" " + word(u.Shell))
	}
	for _, a := range argv {
		script.WriteString(" " + word(a))
	}
	// Not --command, which takes the terminal away.
	return append(login, "--session-command="+script.String())
}

// word makes one word for a shell of what may hold anything.
func word(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }
