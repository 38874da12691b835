package stages

import (
	"fmt"
	"strconv"
	"strings"
)

// accounts are the users and groups of this host as its own files have them.
// Who is known from elsewhere, a directory service say, is a number here, and
// a group from elsewhere is one of many members.
type accounts struct {
	users  []account
	groups map[uint32]group
}

type account struct {
	name     string
	uid, gid uint32
	home     string
}

type group struct {
	name    string
	members []string
}

func parseAccounts(passwd, groups string) accounts {
	a := accounts{groups: map[uint32]group{}}
	number := func(s string) (uint32, bool) {
		n, err := strconv.ParseUint(s, 10, 32)
		return uint32(n), err == nil
	}
	for line := range strings.Lines(passwd) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 7 {
			continue
		}
		uid, ok := number(f[2])
		gid, also := number(f[3])
		if ok && also {
			a.users = append(a.users, account{f[0], uid, gid, f[5]})
		}
	}
	for line := range strings.Lines(groups) {
		f := strings.Split(strings.TrimSpace(line), ":")
		if len(f) < 4 {
			continue
		}
		if gid, ok := number(f[2]); ok {
			g := group{name: f[0]}
			if f[3] != "" {
				g.members = strings.Split(f[3], ",")
			}
			a.groups[gid] = g
		}
	}
	return a
}

// name is a user's name, or the number where it has none.
func (a accounts) name(uid uint32) string {
	for _, u := range a.users {
		if u.uid == uid {
			return u.name
		}
	}
	return fmt.Sprintf("user %d", uid)
}

// homeOf is the user whose home path is.
func (a accounts) homeOf(path string) string {
	for _, u := range a.users {
		if u.home == path {
			return u.name
		}
	}
	return ""
}

// alone tells whether nobody but owner and root is in the group of d. Where an
// access control list widens what the group may, nobody knows.
func (a accounts) alone(d directory, owner uint32) bool {
	if d.acl {
		return false
	}
	g, known := a.groups[d.gid]
	if !known {
		return false
	}
	trusted := func(u account) bool { return u.uid == owner || u.uid == 0 }
	for _, u := range a.users {
		if u.gid == d.gid && !trusted(u) {
			return false
		}
	}
	for _, m := range g.members {
		found := false
		for _, u := range a.users {
			found = found || u.name == m && trusted(u)
		}
		if !found {
			return false
		}
	}
	return true
}
