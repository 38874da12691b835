package spec

import "testing"

func TestMachinesAreFoundByTheirLabels(t *testing.T) {
	labels := map[string]string{"project": "web", "empty": ""}
	for in, want := range map[string]bool{
		"project=web": true, "project=api": false, "project": true, "project=": false,
		"empty": true, "empty=": true, "empty=x": false, "none": false, "none=": false,
	} {
		s, e := ParseSelector(in)
		if e != nil {
			t.Errorf("%q: %v", in, e)
		} else if got := s.Matches(labels); got != want {
			t.Errorf("%q matches: %v, want %v", in, got, want)
		}
	}
	if s, e := ParseSelector("project"); e != nil || s.Matches(nil) {
		t.Errorf("a machine without labels matches: %v", e)
	}
	for _, in := range []string{"", "=web", "a b=c", "a=b,c", "a=b=c", "a=\n", "-x=y"} {
		if s, e := ParseSelector(in); e == nil || e.Hint == "" {
			t.Errorf("%q is taken for %+v", in, s)
		}
	}
}
