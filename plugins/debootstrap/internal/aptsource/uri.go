package aptsource

import (
	"errors"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// schemes are those of apt that make sense for a mirror and that debootstrap
// has in common with it.
var schemes = []string{"http", "https", "file", "ftp"}

// plainURI has no character that apt, a shell or a terminal takes for
// anything but itself.
var plainURI = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~:/%+=,@-]*$`)

// CheckURI reports why uri cannot be used as a mirror.
func CheckURI(uri string) error {
	if !plainURI.MatchString(uri) {
		return errors.New("it is not a plain URI: white space, quotes, brackets and the like are not taken")
	}
	u, err := url.Parse(uri)
	if err != nil {
		return errors.New("it is not a URI")
	}
	switch {
	case !slices.Contains(schemes, u.Scheme):
		return errors.New("it begins with none of http://, https://, ftp:// and file:///")
	case u.User != nil:
		return errors.New("it holds a user name or password, which would end up in the machine")
	case u.Scheme == "file" && (u.Host != "" || !path.IsAbs(u.Path)):
		return errors.New("it is not of the form file:///PATH")
	case u.Scheme != "file" && u.Hostname() == "":
		return errors.New("it names no host")
	}
	return nil
}

// LocalPath returns the directory that a file URI names, and "" for others.
func LocalPath(uri string) string {
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "file" {
		return ""
	}
	return path.Clean(u.Path)
}

// Host returns the host that uri names, without its port.
func Host(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// DNSName returns the host of uri when it has to be looked up in the DNS: it is
// no address, not this host and not a single label.
func DNSName(uri string) string {
	host := strings.TrimSuffix(strings.ToLower(Host(uri)), ".")
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(host, ".") ||
		strings.HasSuffix(host, ".localhost") || strings.HasSuffix(host, ".localdomain") {
		return ""
	}
	return host
}

// OnlyHere reports whether uri leads somewhere only on this very host.
func OnlyHere(uri string) bool {
	host := strings.ToLower(Host(uri))
	if address, err := netip.ParseAddr(host); err == nil {
		return address.IsLoopback() || address.IsUnspecified()
	}
	return LocalPath(uri) != "" || host == "localhost" || strings.HasSuffix(host, ".localhost") ||
		strings.HasPrefix(host, "localhost.")
}
