package direct

import (
	"bufio"
	"encoding/json"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReporterSaysNothingAfterItsLastWord(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	report := &reporter{to: w}
	report.say(news{Warning: "first"})
	report.say(news{Ready: true})
	report.unlessTold(news{Error: "never"})
	report.close()
	var got []news
	for lines := bufio.NewScanner(r); lines.Scan(); {
		var n news
		if err := json.Unmarshal(lines.Bytes(), &n); err != nil {
			t.Fatal(err)
		}
		got = append(got, n)
	}
	if diff := cmp.Diff([]news{{Warning: "first"}, {Ready: true}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStarterThatWentDoesNotDisturbTheSupervisor(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	report := &reporter{to: w}
	report.say(news{Warning: "nobody hears"})
	report.say(news{Ready: true})
}

func TestReporterWithoutADescriptorIsSilent(t *testing.T) {
	for _, value := range []string{"", "x", "0", "2", "-1"} {
		t.Setenv(newsVariable, value)
		if report := openReporter(); report.to != nil {
			t.Errorf("%q: reports to %s", value, report.to.Name())
		}
	}
}
