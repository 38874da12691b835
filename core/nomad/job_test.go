package nomad

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/nomad/api"

	"github.com/nspawn-build/nspawn-build/core/spec"
)

var web = spec.Input{
	Name: "web", Distro: "debian", Directory: "/srv", Password: spec.PasswordHash,
	MemoryMax: "512M", CPUQuota: "50%", TasksMax: "infinity", IOBandwidth: "10M",
	Publish: []string{"8080:80", "8443:443", "53:53/udp"},
	Binds:   []string{"/srv/data:/data", "/etc/motd:/etc/motd:ro"},
	Labels:  []string{"team=web"}, TTL: "2h",
}

func build(t *testing.T, change func(*spec.Input)) spec.Spec {
	t.Helper()
	in := web
	if change != nil {
		change(&in)
	}
	s, err := spec.Build(in)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAJobSaysWhatTheSpecSays(t *testing.T) {
	job, left, err := Describe(build(t, nil), Options{Image: Image{Place: "https://images.example.org/web.tar.xz"}})
	if err != nil {
		t.Fatal(err)
	}
	task := job.TaskGroups[0].Tasks[0]
	want := map[string]any{
		"image":          "web",
		"image_download": []map[string]any{{"url": "https://images.example.org/web.tar.xz", "type": "tar", "verify": "checksum"}},
		"boot":           true, "network_veth": true, "user_namespacing": true, "ephemeral": false,
		"bind":           []map[string]string{{"/srv/data": "/data"}},
		"bind_read_only": []map[string]string{{"/etc/motd": "/etc/motd"}},
		"properties":     []map[string]string{{"CPUQuota": "50%", "MemoryMax": "536870912", "TasksMax": "infinity"}},
		"ports":          []string{"tcp-80", "tcp-443", "udp-53"},
	}
	if diff := cmp.Diff(want, task.Config); diff != "" {
		t.Errorf("the task's configuration (-want +got):\n%s", diff)
	}
	wantPorts := []api.Port{{Label: "tcp-80", Value: 8080, To: 80}, {Label: "tcp-443", Value: 8443, To: 443}, {Label: "udp-53", Value: 53, To: 53}}
	if diff := cmp.Diff(wantPorts, job.TaskGroups[0].Networks[0].ReservedPorts); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	if *task.Resources.MemoryMB != 512 || task.Driver != "nspawn" || job.Meta["team"] != "web" || *job.ID != "web" {
		t.Errorf("%+v of %+v", task, job)
	}
	if len(left) != 3 || !strings.Contains(strings.Join(left, " "), "io-bandwidth") {
		t.Errorf("left out: %q", left)
	}
	data, err := json.Marshal(map[string]any{"Job": job})
	if err != nil {
		t.Fatal(err)
	}
	var again struct{ Job *api.Job }
	if err := json.Unmarshal(data, &again); err != nil || *again.Job.TaskGroups[0].Count != 1 {
		t.Errorf("Nomad's own types read the job back as %+v, %v", again.Job, err)
	}
}

func TestAnImageIsPulledOrThere(t *testing.T) {
	for name, tt := range map[string]struct {
		image Image
		want  any    // image
		bad   string // the field
	}{
		"raw":            {Image{Place: "http://images.example.org/dir/web.raw.xz"}, "web", ""},
		"a path":         {Image{Place: "/var/lib/machines/web"}, "/var/lib/machines/web", ""},
		"a name":         {Image{Place: "web"}, "web", ""},
		"none":           {Image{}, nil, "image"},
		"zstd":           {Image{Place: "https://images.example.org/web.tar.zst"}, nil, "image"},
		"a zstd disk":    {Image{Place: "https://images.example.org/web.raw.zst", Format: "raw"}, nil, "image"},
		"another scheme": {Image{Place: "oci://registry.example.org/web"}, nil, "image"},
		"relative":       {Image{Place: "images/web"}, nil, "image"},
		"a secret":       {Image{Place: "https://me:secret@images.example.org/web.tar"}, nil, "image"},
		"no name":        {Image{Place: "https://images.example.org/"}, nil, "image"},
		"a format":       {Image{Place: "https://images.example.org/web", Format: "zip"}, nil, "image-type"},
		"a verification": {Image{Place: "https://images.example.org/web", Verify: "maybe"}, nil, "image-verify"},
		"nothing pulled": {Image{Place: "/srv/web", Verify: "checksum"}, nil, "image"},
	} {
		t.Run(name, func(t *testing.T) {
			job, _, err := Describe(build(t, nil), Options{Image: tt.image})
			if tt.bad != "" {
				var bad spec.Invalid
				if !errors.As(err, &bad) || bad[0].Field != tt.bad || bad[0].Hint == "" || strings.Contains(err.Error(), "secret") {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := job.TaskGroups[0].Tasks[0].Config["image"]; got != tt.want {
				t.Errorf("the image is %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWhatConfinesAMachineIsNotDropped(t *testing.T) {
	for field, change := range map[string]func(*spec.Input){
		"security.drop-capabilities":  func(in *spec.Input) { in.DropCapabilities = []string{"CAP_NET_RAW"} },
		"security.system-call-filter": func(in *spec.Input) { in.SystemCallFilter = []string{"~@mount"} },
		"security.no-new-privileges":  func(in *spec.Input) { in.NoNewPrivileges = true },
		"network.egress":              func(in *spec.Input) { in.Egress = "internet" },
		"storage.read-only":           func(in *spec.Input) { in.ReadOnly = true },
		"network.publish":             func(in *spec.Input) { in.Publish = []string{"127.0.0.1:8080:80"} },
	} {
		_, _, err := Describe(build(t, change), Options{Image: Image{Place: "web"}})
		var bad spec.Invalid
		if !errors.As(err, &bad) || bad[0].Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
}
