package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"syscall"

	"github.com/nspawn-build/nspawn-build/core/sdk"
)

// owned is a file that a package wants to belong to somebody else than root.
type owned struct {
	user, group string
	mode        uint32 // with the kind of file, as stat(2) has it
	name        string
}

// parseOwned reads a line of listOwners.
func parseOwned(line string) (owned, bool) {
	fields := strings.SplitN(line, "|", 4)
	if len(fields) != 4 || !strings.HasPrefix(fields[3], "/") {
		return owned{}, false
	}
	mode, err := strconv.ParseUint(fields[2], 8, 16)
	if err != nil || fields[0] == "root" && fields[1] == "root" {
		return owned{}, false
	}
	return owned{user: fields[0], group: fields[1], mode: uint32(mode), name: fields[3][1:]}, true
}

// giveFiles gives files to the users and groups that packages name for them. rpm
// before 4.19 unpacks a package before its users are there, and gives what it
// cannot give to them to root.
func (r *run) giveFiles(ctx context.Context) error {
	var files []owned
	err := r.ask(ctx, r.listOwners(), func(line string) {
		if o, ok := parseOwned(line); ok {
			files = append(files, o)
		}
	})
	if err != nil {
		return err
	}
	users, err := r.ids("etc/passwd")
	if err != nil {
		return err
	}
	groups, err := r.ids("etc/group")
	if err != nil {
		return err
	}
	unknown := map[string]bool{}
	for _, file := range files {
		user, knowsUser := users[file.user]
		group, knowsGroup := groups[file.group]
		if !knowsUser || !knowsGroup {
			unknown[file.user+":"+file.group] = true
			continue
		}
		if err := r.give(file, user, group); err != nil {
			return err
		}
	}
	for pair := range unknown {
		r.report.Warning("the tree has no "+pair+", which some of its files should belong to", "they belong to root")
	}
	return nil
}

// give changes the owner of a file, if it is another. That takes setuid bits
// away, so they are set again.
func (r *run) give(file owned, user, group int) error {
	info, err := r.tree.Lstat(file.name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // not everything that a package lists is there
	}
	if err != nil {
		return fmt.Errorf("target: %w", err)
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(stat.Uid) == user && int(stat.Gid) == group || stat.Mode&syscall.S_IFMT != file.mode&syscall.S_IFMT {
		return nil
	}
	if err := r.tree.Lchown(file.name, user, group); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) == 0 || !info.Mode().IsRegular() {
		return nil
	}
	if err := r.tree.Chmod(file.name, info.Mode()&(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky)); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// ids reads the numbers in the tree's passwd or group.
func (r *run) ids(name string) (map[string]int, error) {
	f, err := r.tree.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, &sdk.Failure{
			Code: sdk.CodeTool, Message: "the tree has no usable /" + name, Hint: "the packages of the mirror do not make a system", Err: err,
		}
	}
	defer f.Close() //nolint:errcheck // only read from
	return parseIDs(io.LimitReader(f, 1<<20)), nil
}

func parseIDs(in io.Reader) map[string]int {
	ids := map[string]int{}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 3 {
			continue
		}
		if id, err := strconv.ParseUint(fields[2], 10, 31); err == nil {
			ids[fields[0]] = int(id)
		}
	}
	return ids
}
