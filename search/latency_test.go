package search

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"weft/kernel"
	"weft/nn"
	"weft/supernet"
)

// fakeClock tells times such that measurement i, from one call to the next, takes
// took(i).
type fakeClock struct {
	at    time.Time
	calls int
	took  func(i int) time.Duration
}

func (c *fakeClock) now() time.Time {
	if c.calls%2 == 1 {
		c.at = c.at.Add(c.took(c.calls / 2))
	} else {
		c.at = c.at.Add(time.Hour) // between measurements, which must not count
	}
	c.calls++
	return c.at
}

func testPlans(t *testing.T) []*supernet.Plan {
	t.Helper()
	net, _, calib := testNet(t)
	exec := nn.NewExec(net.W, kernel.NewPool(1), false)
	norms := supernet.Norms{}
	table := supernet.NewTable(net, norms)
	var plans []*supernet.Plan
	for _, a := range []supernet.Arch{net.Space.Min(), net.Space.Max()} {
		g, err := net.Space.Lower(a)
		if err != nil {
			t.Fatal(err)
		}
		norms.Add(exec, g, calib)
		p, err := table.Plan(a)
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, p)
	}
	return plans
}

// TestLatencies: medians over the rounds, each in its place, and a disturbance that hits
// fewer than half of the rounds leaves no trace.
func TestLatencies(t *testing.T) {
	plans := testPlans(t)
	const maxBatch = 3
	perRound := len(plans) * maxBatch
	clock := &fakeClock{took: func(i int) time.Duration {
		round, plan, batch := i/perRound, i%perRound/maxBatch, i%maxBatch+1
		us := time.Duration(100*(plan+1)*batch + round - latencyRounds/2) // the middle round's is the median
		if round < 2 || round >= latencyRounds-2 {
			us += 1000 * time.Duration(round-latencyRounds/2) // far off, on both sides
		}
		return us * time.Microsecond
	}}
	rounds := 0
	got, err := Latencies(t.Context(), supernet.NewWorker(kernel.NewPool(1)), plans, maxBatch, clock.now, func() { rounds++ })
	if err != nil || rounds != Rounds() {
		t.Fatalf("%d rounds, %v", rounds, err)
	}
	for p := range plans {
		want := make([]time.Duration, maxBatch)
		for b := range want {
			want[b] = time.Duration(100*(p+1)*(b+1)) * time.Microsecond
		}
		if !slices.Equal(got[p], want) {
			t.Errorf("plan %d: %v, want %v", p, got[p], want)
		}
	}
	if clock.calls != 2*perRound*latencyRounds {
		t.Errorf("the clock was asked %d times", clock.calls)
	}
}

// TestLatenciesArePositive: a clock too coarse to see a batch must not give zeros, which
// no profile may hold.
func TestLatenciesArePositive(t *testing.T) {
	clock := &fakeClock{took: func(int) time.Duration { return 0 }}
	got, err := Latencies(t.Context(), supernet.NewWorker(kernel.NewPool(1)), testPlans(t)[:1], 1, clock.now, func() {})
	if err != nil || got[0][0] <= 0 {
		t.Error(got, err)
	}
}

func TestLatenciesStop(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	clock := &fakeClock{took: func(int) time.Duration { return time.Millisecond }}
	rounds := 0
	_, err := Latencies(ctx, supernet.NewWorker(kernel.NewPool(1)), testPlans(t), 1, clock.now, func() {
		if rounds++; rounds == 2 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || rounds != 2 {
		t.Errorf("%v after %d rounds", err, rounds)
	}
}
