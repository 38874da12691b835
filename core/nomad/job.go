// Package nomad says in HashiCorp Nomad's words what a spec says of a machine:
// a job for the nspawn task driver (https://github.com/JanMa/nomad-driver-nspawn),
// whose argument reference is where the names of its configuration are from.
//
// It does no input or output.
package nomad

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/nomad/api"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

// Driver is the name of the task driver.
const Driver = "nspawn"

// Image is what the job boots.
type Image struct {
	// Place is a URL of http or https from which each client pulls it, the
	// absolute path that it has on each client, or the name of an image that
	// machined of each client knows.
	Place string
	// Format is what is pulled: "tar" or "raw". Only for a URL.
	Format string
	// Verify is what has to be right of what is pulled: "checksum", by the
	// FILE.sha256 beside it, "signature", by that of it, or "no".
	Verify string
}

// Options say what a spec does not.
type Options struct {
	Image       Image
	Datacenters []string // empty means all
	Count       int      // of machines; 0 means 1
}

// Describe returns the job, and what of the spec the job does not say since
// Nomad or the client sees to it. What would leave the machine less confined
// than the spec has it is refused with a spec.Invalid.
func Describe(s spec.Spec, o Options) (*api.Job, []string, error) {
	config, bad := imageConfig(o.Image)
	bad = append(bad, unsaid(s)...)
	if len(bad) > 0 {
		return nil, nil, bad
	}
	config["boot"] = true
	config["network_veth"] = !s.Network.Private
	config["user_namespacing"] = s.Security.PrivateUsers != spec.PrivateUsersNone
	config["ephemeral"] = s.Storage.Ephemeral
	if len(s.Security.Capabilities) > 0 {
		config["capability"] = s.Security.Capabilities
	}
	writable, readOnly := binds(s.Storage.Binds)
	setIf(config, "bind", writable)
	setIf(config, "bind_read_only", readOnly)
	setIf(config, "properties", properties(s.Limits))

	task := api.NewTask(s.Name, Driver)
	task.Config = config
	task.Resources = resources(s.Limits)
	group := api.NewTaskGroup(s.Name, max(o.Count, 1)).AddTask(task)
	if network, labels := ports(s.Network.Publish); network != nil {
		group.Networks = []*api.NetworkResource{network}
		config["ports"] = labels
	}
	job := api.NewServiceJob(s.Name, s.Name, "", 0)
	job.Region, job.Priority = nil, nil // the cluster's own
	job.Datacenters = o.Datacenters
	if len(job.Datacenters) == 0 {
		job.Datacenters = []string{"*"}
	}
	job.Meta = s.Labels
	return job.AddTaskGroup(group), leftOut(s), nil
}

func setIf(config map[string]any, key string, pairs map[string]string) {
	if len(pairs) > 0 {
		// A block of HCL is a list of maps in JSON.
		config[key] = []map[string]string{pairs}
	}
}

func imageConfig(i Image) (map[string]any, spec.Invalid) {
	u, err := url.Parse(i.Place)
	isURL := err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
	switch {
	case i.Place == "":
		return nil, spec.Invalid{{Field: "image", Problem: "no image was given", Hint: "give the URL that clients pull it from, or its path on each of them"}}
	case isURL && u.User != nil:
		return nil, spec.Invalid{{Field: "image", Value: u.Redacted(), Problem: "holds a user name or password, which would stand in the job", Hint: "serve it to the clients without one"}}
	case isURL:
		return pulled(i, u)
	case strings.Contains(i.Place, "://"):
		return nil, spec.Invalid{{Field: "image", Value: i.Place, Problem: "is a URL that systemd-importd does not pull", Hint: "use http:// or https://, or a path"}}
	case i.Format != "" || i.Verify != "":
		return nil, spec.Invalid{{Field: "image", Value: i.Place, Problem: "is not pulled, so it has no format and nothing is verified", Hint: "leave --image-type and --image-verify out"}}
	case strings.Contains(i.Place, "/") && !path.IsAbs(i.Place):
		return nil, spec.Invalid{{Field: "image", Value: i.Place, Problem: "is not an absolute path", Hint: "name the path that it has on each client"}}
	}
	return map[string]any{"image": i.Place}, nil
}

// imageSuffixes are those that importd takes for part of a file's name and not
// of the image's.
var imageSuffixes = []string{".tar", ".tar.xz", ".tar.gz", ".raw", ".raw.xz", ".raw.gz"}

func pulled(i Image, u *url.URL) (map[string]any, spec.Invalid) {
	format, verify := cmp.Or(i.Format, "tar"), cmp.Or(i.Verify, "checksum")
	var bad spec.Invalid
	if i.Format == "" && strings.Contains(path.Base(u.Path), ".raw") {
		format = "raw"
	}
	if format != "tar" && format != "raw" {
		bad = append(bad, &spec.FieldError{Field: "image-type", Value: format, Problem: "is neither tar nor raw", Hint: "use tar or raw"})
	}
	if !slices.Contains([]string{"no", "checksum", "signature"}, verify) {
		bad = append(bad, &spec.FieldError{Field: "image-verify", Value: verify, Problem: "is not a way to verify", Hint: "use checksum, signature or no"})
	}
	name := path.Base(u.Path)
	if strings.HasSuffix(name, ".zst") {
		return nil, append(bad, &spec.FieldError{
			Field: "image", Value: i.Place, Problem: "is compressed by zstd, which systemd-importd of most clients cannot read (systemd up to 257)",
			Hint: "serve it as .tar.xz or .tar.gz: nspawn-build image --format tar.xz",
		})
	}
	for _, suffix := range imageSuffixes {
		if rest, ok := strings.CutSuffix(name, suffix); ok {
			name = rest
			break
		}
	}
	if _, e := spec.ParseName(name); e != nil {
		bad = append(bad, &spec.FieldError{Field: "image", Value: i.Place, Problem: "does not end in the name of an image", Hint: "name a file such as https://images.example.org/web.tar.xz"})
	}
	return map[string]any{
		"image":          name,
		"image_download": []map[string]any{{"url": i.Place, "type": format, "verify": verify}},
	}, bad
}

// unsaid is what the driver has no word for and what confines the machine.
func unsaid(s spec.Spec) spec.Invalid {
	var bad spec.Invalid
	refuse := func(field, value string) {
		bad = append(bad, &spec.FieldError{
			Field: field, Value: value, Problem: "cannot be said to Nomad's nspawn driver, and the machine would be less confined without it",
			Hint: "leave it out of the spec that is exported, or run the machine with nspawn-build",
		})
	}
	if s.Security.Profile != spec.ProfileNone {
		refuse("security.profile", string(s.Security.Profile))
	}
	if s.Network.Egress != spec.EgressAny {
		refuse("network.egress", string(s.Network.Egress))
	}
	if len(s.Security.DropCapabilities) > 0 {
		refuse("security.drop-capabilities", strings.Join(s.Security.DropCapabilities, " "))
	}
	if len(s.Security.SystemCallFilter) > 0 {
		refuse("security.system-call-filter", strings.Join(s.Security.SystemCallFilter, " "))
	}
	if s.Security.NoNewPrivileges {
		refuse("security.no-new-privileges", "true")
	}
	if s.Storage.ReadOnly { // the driver takes it only without user namespaces
		refuse("storage.read-only", "true")
	}
	for _, p := range s.Network.Publish {
		if p.Address.IsValid() { // a client has addresses of its own
			refuse("network.publish", p.String())
		}
	}
	return bad
}

// leftOut is what somebody else sees to.
func leftOut(s spec.Spec) []string {
	var out []string
	note := func(there bool, what string) {
		if there {
			out = append(out, what)
		}
	}
	note(s.Network.Address.IsValid(), "network.address and network.gateway: the client's networkd gives the addresses")
	note(s.Network.Alias, "network.alias: names are the client's")
	note(s.Limits.IOBandwidth > 0, "limits.io-bandwidth: it goes by the device of a client")
	note(s.Enable, "enable: Nomad starts the job again by itself")
	note(s.TTL > 0, "ttl: Nomad runs the job until it is stopped")
	note(s.Access.Password != spec.PasswordLocked || len(s.Access.SSHKeys) > 0 || s.Access.InvokerKeys, "access: who may log in is part of the image")
	return out
}

func binds(all []spec.Bind) (writable, readOnly map[string]string) {
	writable, readOnly = map[string]string{}, map[string]string{}
	for _, b := range all {
		if b.ReadOnly {
			readOnly[b.Source] = b.Target
		} else {
			writable[b.Source] = b.Target
		}
	}
	return writable, readOnly
}

// properties are those of the machine's scope, see systemd.resource-control(5).
func properties(l spec.Limits) map[string]string {
	out := map[string]string{}
	set := func(name string, value uint64, unit string) {
		switch value {
		case 0:
		case spec.Infinity:
			out[name] = "infinity"
		default:
			out[name] = strconv.FormatUint(value, 10) + unit
		}
	}
	set("CPUQuota", l.CPUQuota, "%")
	set("MemoryMax", l.MemoryMax, "")
	set("MemoryHigh", l.MemoryHigh, "")
	set("IOWeight", l.IOWeight, "")
	set("TasksMax", l.TasksMax, "")
	return out
}

// resources are what the scheduler sets aside: as much memory as the machine may
// use, in MiB.
func resources(l spec.Limits) *api.Resources {
	if l.MemoryMax == 0 || l.MemoryMax == spec.Infinity {
		return nil
	}
	const mib = 1 << 20
	needed := min((l.MemoryMax-1)/mib+1, 1<<31-1)
	memory := int(needed) //nolint:gosec // bounded above
	return &api.Resources{MemoryMB: &memory}
}

func ports(all []spec.Publish) (*api.NetworkResource, []string) {
	if len(all) == 0 {
		return nil, nil
	}
	network := &api.NetworkResource{}
	labels := make([]string, 0, len(all))
	for _, p := range all {
		label := fmt.Sprintf("%s-%d", p.Protocol, p.Machine)
		if slices.Contains(labels, label) {
			label += fmt.Sprintf("-%d", p.Host)
		}
		labels = append(labels, label)
		network.ReservedPorts = append(network.ReservedPorts, api.Port{Label: label, Value: int(p.Host), To: int(p.Machine)})
	}
	return network, labels
}
