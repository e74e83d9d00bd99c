package workload_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/workload"
)

type senderFunc func(ctx context.Context, i int, left time.Duration) (workload.Reply, error)

func (f senderFunc) Send(ctx context.Context, i int, left time.Duration) (workload.Reply, error) {
	return f(ctx, i, left)
}

// every returns n arrivals, one each gap.
func every(gap time.Duration, n int) []time.Duration {
	arrivals := make([]time.Duration, n)
	for i := range arrivals {
		arrivals[i] = time.Duration(i) * gap
	}
	return arrivals
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		arrivals := []time.Duration{0, 10 * ms, 10 * ms, 500 * ms}
		got, err := workload.Run(t.Context(), workload.Config{
			Arrivals: arrivals, SLO: 50 * ms, Sleep: time.Sleep,
			Sender: senderFunc(func(_ context.Context, i int, left time.Duration) (workload.Reply, error) {
				if left != 50*ms {
					t.Errorf("request %d has %v left", i, left)
				}
				time.Sleep(time.Duration(i+1) * 20 * ms) // the third is late
				return workload.Reply{Subnet: "a", Images: i + 1}, nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		var want []workload.Outcome
		for i, at := range arrivals {
			want = append(want, workload.Outcome{
				Intended: at, Sent: at, Finished: at + time.Duration(i+1)*20*ms, Deadline: at + 50*ms,
				Reply: workload.Reply{Subnet: "a", Images: i + 1},
			})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if s := workload.Account(got, 0); s.Met != 2 || s.Late != 2 {
			t.Errorf("%d met, %d late", s.Met, s.Late)
		}
	})
}

// TestNoCoordinatedOmission: a generator that stalls charges the stall to the
// requests that it held up, and tells the server how much time is left.
func TestNoCoordinatedOmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stalled := false
		var mu sync.Mutex
		var least time.Duration
		got, err := workload.Run(t.Context(), workload.Config{
			Arrivals: every(ms, 100), SLO: 50 * ms,
			Sleep: func(d time.Duration) {
				if !stalled {
					stalled, d = true, 80*ms
				}
				time.Sleep(d)
			},
			Sender: senderFunc(func(_ context.Context, _ int, left time.Duration) (workload.Reply, error) {
				mu.Lock()
				defer mu.Unlock()
				least = min(least, left)
				return workload.Reply{}, nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		s := workload.Account(got, 0)
		if s.Sent != 100 || s.Late != 29 || s.LagMS.Max < 79 || s.LatencyMS.Max < 79 {
			t.Errorf("%d sent, %d late, lag up to %v ms, latency up to %v ms", s.Sent, s.Late, s.LagMS.Max, s.LatencyMS.Max)
		}
		if want := -29 * ms; least != want {
			t.Errorf("the request held up most was given %v, want %v", least, want)
		}
	})
}

func TestInFlightIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		now, most := 0, 0
		got, err := workload.Run(t.Context(), workload.Config{
			Arrivals: every(ms, 100), SLO: 50 * ms, MaxInFlight: 10, Sleep: time.Sleep,
			Sender: senderFunc(func(context.Context, int, time.Duration) (workload.Reply, error) {
				add := func(n int) {
					mu.Lock()
					defer mu.Unlock()
					now += n
					most = max(most, now)
				}
				add(1)
				time.Sleep(20*ms - ms/2)
				add(-1)
				return workload.Reply{}, nil
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		s := workload.Account(got, 0)
		if most != 10 || s.NotSent != 50 || s.Failed != 50 || s.Met != 50 {
			t.Errorf("%d under way at most, %d not sent, %d met", most, s.NotSent, s.Met)
		}
	})
}

// TestHangingServer: a request that is never answered fails when patience ends.
func TestHangingServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got, err := workload.Run(t.Context(), workload.Config{
			Arrivals: every(ms, 2), SLO: 50 * ms, Patience: time.Second, Sleep: time.Sleep,
			Sender: senderFunc(func(ctx context.Context, i int, _ time.Duration) (workload.Reply, error) {
				if i == 1 {
					return workload.Reply{}, errors.New("connection refused")
				}
				<-ctx.Done()
				return workload.Reply{}, ctx.Err()
			}),
		})
		if err != nil {
			t.Fatal(err)
		}
		if o := got[0]; o.Status != workload.Failed || o.Finished != 1050*ms {
			t.Errorf("%+v", o)
		}
		if o := got[1]; o.Status != workload.Failed || o.Err != "connection refused" {
			t.Errorf("%+v", o)
		}
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 55*ms)
		defer cancel()
		last := 0
		got, err := workload.Run(ctx, workload.Config{
			Arrivals: every(10*ms, 100), SLO: 50 * ms, Sleep: time.Sleep,
			Sender: senderFunc(func(context.Context, int, time.Duration) (workload.Reply, error) {
				return workload.Reply{}, nil
			}),
			Progress: func(n int) { last = n },
		})
		if !errors.Is(err, context.DeadlineExceeded) || len(got) != 6 || last != 6 {
			t.Errorf("%d outcomes, progress %d, %v", len(got), last, err)
		}
	})
}

func TestValidate(t *testing.T) {
	sender := senderFunc(nil)
	for want, c := range map[string]workload.Config{
		"no arrivals":  {SLO: 1, Sender: sender},
		"out of order": {Arrivals: []time.Duration{2, 1}, SLO: 1, Sender: sender},
		"no sender":    {Arrivals: []time.Duration{1}, SLO: 1},
		"slo":          {Arrivals: []time.Duration{1}, Sender: sender},
	} {
		if _, err := workload.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
}
