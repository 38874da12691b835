package registry

import "testing"

func TestARegistryWithoutTLSIsOnThisHostOrAllowed(t *testing.T) {
	for ref, want := range map[string]bool{
		"localhost:5000/x:1": true, "127.0.0.1/x:1": true, "registry.example.org/x:1": true,
		"192.168.7.7:5000/x:1": false, "no tag": false, "registry.example.org/x": false,
	} {
		if _, err := (Options{}).Tag(ref); (err == nil) != want {
			t.Errorf("%s: %v", ref, err)
		}
	}
	if _, err := (Options{Insecure: true}).Tag("192.168.7.7:5000/x:1"); err != nil {
		t.Error(err)
	}
}
