package machines

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nspawn-build/nspawn-build/core/pipeline"
)

// names are those of n machines.
func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprint("box", i))
	}
	return all
}

func TestBootstrapsAreBoundedAndTheRestIsNot(t *testing.T) {
	h, _ := newHouse(t)
	const n, most = 12, 3
	var now, peak atomic.Int32
	var begun sync.WaitGroup
	begun.Add(n) // all of them are at work before any ends
	_, errs := Make(t.Context(), h, names(n), Fleet{Bootstraps: most}, func(ctx context.Context, h *House, _ int) (int, error) {
		begun.Done()
		begun.Wait()
		return 0, h.inTurn(ctx, func() error {
			if v := now.Add(1); v > peak.Load() {
				peak.Store(v)
			}
			defer now.Add(-1)
			return nil
		})
	})
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
	if peak.Load() > most {
		t.Errorf("%d at once, want at most %d", peak.Load(), most)
	}
}

func TestOneThatFailsEndsTheOthersOnlyWhenThatIsWished(t *testing.T) {
	h, _ := newHouse(t)
	broken := errors.New("broken")
	for _, fast := range []bool{false, true} {
		results, errs := Make(t.Context(), h, names(3), Fleet{FailFast: fast}, func(ctx context.Context, _ *House, i int) (string, error) {
			if i == 1 {
				return "", broken
			}
			if fast {
				<-ctx.Done()
				return "", context.Cause(ctx)
			}
			return "done", nil
		})
		if !errors.Is(errs[1], broken) {
			t.Errorf("fast %v: the failure is %v", fast, errs[1])
		}
		for _, i := range []int{0, 2} {
			if fast != errors.Is(errs[i], ErrStopped) || !fast && results[i] != "done" {
				t.Errorf("fast %v: of another came %q, %v", fast, results[i], errs[i])
			}
		}
	}
}

func TestWhatIsToldOfOneOfSeveralNamesIt(t *testing.T) {
	h, _ := newHouse(t)
	var mu sync.Mutex
	told := map[string]bool{}
	h.Tell = func(e pipeline.Event) {
		mu.Lock()
		defer mu.Unlock()
		told[e.Stage] = true
	}
	_, _ = Make(t.Context(), h, names(2), Fleet{}, func(_ context.Context, h *House, _ int) (int, error) {
		h.Tell(pipeline.Event{Stage: "boot"})
		return 0, nil
	})
	if !told["box0 boot"] || !told["box1 boot"] {
		t.Errorf("told was %v", told)
	}
}
