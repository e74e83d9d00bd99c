// Package bustest checks that an implementation of [bus.Bus] keeps the contract.
package bustest

import (
	"context"
	"testing"
	"time"

	"weft/bus"
)

// Fixture is a bus to test.
type Fixture struct {
	// Connect returns another connection to the same bus, or the bus itself where there are none. The test closes it.
	Connect func(t *testing.T) bus.Bus
	// Damage changes what a store keeps under a digest: it flips a bit or, with lose, drops a part.
	Damage func(t *testing.T, store, digest string, lose bool)
}

// patience bounds each test; an operation that has not succeeded by then never will.
const patience = 20 * time.Second

// Run tests the bus that open makes, a new one for each group of tests.
func Run(t *testing.T, open func(t *testing.T) Fixture) {
	for _, g := range []struct {
		name  string
		tests func(t *testing.T, f Fixture)
	}{
		{"messages", messages}, {"keys", keys}, {"watches", watches}, {"objects", objects}, {"end", end},
	} {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			g.tests(t, open(t))
		})
	}
}

// connect returns a connection that is closed with the test.
func (f Fixture) connect(t *testing.T) bus.Bus {
	t.Helper()
	b := f.Connect(t)
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return b
}

// within is a context for a whole test.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// must ends the test on an error.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// receive waits for the next value of a channel.
func receive[T any](ctx context.Context, t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-from:
		if !ok {
			t.Fatal("the channel was closed")
		}
		return v
	case <-ctx.Done():
		t.Fatal("nothing came")
	}
	panic("unreachable")
}
