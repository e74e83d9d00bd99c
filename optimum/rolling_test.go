package optimum_test

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"weft/optimum"
	"weft/sched"
)

var draws = flag.Int("futures", 0, "futures to draw at each decision for the scheduler that knows how requests come; minutes from 15 on")

// TestRolling reports what a scheduler gains on the recorded instances that knows no more
// than a policy does but plans that exactly, and beside it, with -futures, one that knows
// the process which made the instance.
func TestRolling(t *testing.T) {
	total := map[string]*sums{}
	for i, rec := range recorded(t) {
		var o optimum.Rolling
		name, _, _ := strings.Cut(rec.Name, "/")
		if *draws > 0 {
			o.Draws, o.Limit, o.Futures = *draws, 20000, futures(t, i, rec)
		}
		s, err := o.Run(rec.Instance)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(rec.Instance, s); err != nil {
			t.Fatalf("%s: %v", rec.Name, err)
		}
		if s.Value > rec.Optimum+1e-6 {
			t.Errorf("%s: %v, the optimum is %v", rec.Name, s.Value, rec.Optimum)
		}
		for _, k := range []string{name, "all"} {
			if total[k] == nil {
				total[k] = new(sums)
			}
			total[k].add(sums{ours: s.Value, smallest: smallest(t, rec.Instance), optimum: rec.Optimum})
		}
	}
	for _, k := range []string{"all", "bursty", "tight", "mixed", "demands"} {
		t.Logf("%-8s %.3f", k, total[k].fraction())
	}
	if got := total["all"].fraction(); got < 0.8 {
		t.Errorf("gains %.3f of what there is to gain", got)
	}
}

// futures draws from the family of the i-th recorded instance with its own rate,
// burstiness and number of requests.
func futures(t *testing.T, i int, rec optimum.Recorded) func(time.Duration, int) []sched.Request {
	f, seed := &families[i/40], uint64(i%40)
	r := rand.New(rand.NewPCG(seed, uint64(len(f.name))))
	like := f.draw(t, r)
	if like.n != len(rec.Requests) || like.workers != rec.Workers {
		t.Fatalf("%s: drawn again it has %d requests", rec.Name, like.n)
	}
	r = rand.New(rand.NewPCG(uint64(i), 7))
	return func(now time.Duration, arrived int) []sched.Request {
		var list []sched.Request
		from := time.Duration(r.IntN(20)) * ms
		for _, at := range bursty(like.rate/4, like.rate, like.cv2, 60+4*like.n, r.Uint64()) {
			if at < from || len(list) == like.n-arrived {
				continue
			}
			q := sched.Request{Arrival: now + max((at-from).Round(ms), ms), Size: 1, Subnet: sched.AnySubnet}
			q.Deadline = q.Arrival + slo/time.Duration(f.hurry)
			f.request(r, rec.Profile, &q)
			list = append(list, q)
		}
		return list
	}
}
