package spec

import (
	"reflect"
	"strings"
	"testing"
)

func TestEveryLimitIsSetShownAndTakenBackByItsName(t *testing.T) {
	written := map[string]string{
		"cpu-quota": "150%", "memory-max": "512M", "memory-high": "400M", "io-bandwidth": "50M", "io-weight": "7", "tasks-max": "500",
	}
	if n := reflect.TypeFor[Limits]().NumField(); n != len(written) || n != len(LimitNames()) {
		t.Fatalf("there are %d limits, %d have names", n, len(LimitNames()))
	}
	var l Limits
	for name, value := range written {
		if e := l.Set(name, value); e != nil {
			t.Errorf("%s: %v", name, e)
		}
		if got := l.Show(name); got != value {
			t.Errorf("%s: given %s, shown as %q", name, value, got)
		}
	}
	if words := l.Words(); len(words) != len(written) {
		t.Errorf("they read %q", words)
	}
	for name := range written {
		if name == "cpu-quota" || name == "io-weight" {
			continue // these are never infinite
		}
		if e := l.Set(name, "infinity"); e != nil || l.Show(name) != "infinity" {
			t.Errorf("%s: %v, shown as %q", name, e, l.Show(name))
		}
	}
	for name := range written {
		if e := l.Set(name, ""); e != nil || l.Get(name) != 0 || l.Show(name) != "" {
			t.Errorf("%s: not taken back: %v, %q", name, e, l.Show(name))
		}
	}
	if l != (Limits{}) {
		t.Errorf("something is left: %+v", l)
	}
}

func TestWhatIsNoLimitIsRefusedAndChangesNothing(t *testing.T) {
	l := Limits{MemoryMax: 1 << 30}
	for name, value := range map[string]string{
		"memory": "1G", "memory-max": "12X", "tasks-max": "4194305", "cpu-quota": "50", "": "",
	} {
		e := l.Set(name, value)
		if e == nil || e.Hint == "" || !strings.Contains(e.Error(), name) {
			t.Errorf("%s=%s: %v", name, value, e)
		}
	}
	if l != (Limits{MemoryMax: 1 << 30}) {
		t.Errorf("they became %+v", l)
	}
}
