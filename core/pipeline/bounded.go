package pipeline

import "context"

// Turn waits until something costly may be done, and returns what ends the
// turn. Its error is why waiting ended instead.
type Turn func(ctx context.Context) (done func(), err error)

// Turns lets n have their turn at the same time.
func Turns(n int) Turn {
	slots := make(chan struct{}, n)
	return func(ctx context.Context) (func(), error) {
		select {
		case slots <- struct{}{}:
			return func() { <-slots }, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

type bounded struct {
	Stage
	turn Turn
}

// Bounded has s applied when it is its turn. Undoing waits for nobody.
func Bounded(s Stage, turn Turn) Stage { return bounded{s, turn} }

func (b bounded) Apply(ctx context.Context) error {
	done, err := b.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	return b.Stage.Apply(ctx)
}

func (b bounded) Undo(ctx context.Context) error {
	u, ok := b.Stage.(Undoer)
	if !ok {
		return nil
	}
	return u.Undo(ctx)
}
