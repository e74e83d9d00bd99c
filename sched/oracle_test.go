package sched_test

import (
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"

	"weft/sched"
)

// optimum returns the largest sum of accuracies over requests that meet their
// deadlines, by exhaustive search over every schedule that knows the future
// (the paper's ZILP, section 4.1, with (1c) on the latest arrival of a batch).
// Workers are alike, so one worker's best value of each subset of the requests
// is found first, and the subsets are then shared out among the workers.
func optimum(p *sched.Profile, requests []sched.Request, workers int) float64 {
	full := 1<<len(requests) - 1
	one := bestAlone(p, requests)
	best := make([]float64, full+1)
	for range workers {
		next := make([]float64, full+1)
		for all := range next {
			for sub := all; ; sub = (sub - 1) & all {
				next[all] = max(next[all], one[sub]+best[all&^sub])
				if sub == 0 {
					break
				}
			}
		}
		best = next
	}
	return best[full]
}

// plan is the end and the value of a schedule.
type plan struct {
	end   time.Duration
	value float64
}

// bestAlone returns, for each subset, one worker's best value when it serves all of it.
func bestAlone(p *sched.Profile, requests []sched.Request) []float64 {
	full := 1<<len(requests) - 1
	plans := make([][]plan, full+1) // that none of the others dominates
	plans[0] = []plan{{}}
	value := make([]float64, full+1)
	for served := range plans {
		rest := full &^ served
		for _, pl := range plans[served] {
			value[served] = max(value[served], pl.value)
			for batch := rest; batch > 0; batch = (batch - 1) & rest {
				arrival, deadline, images := span(requests, batch)
				if images > p.MaxBatch {
					continue
				}
				for i, s := range p.Subnets {
					end := max(pl.end, arrival) + p.Latency(i, images)
					if end <= deadline {
						next := plan{end, pl.value + float64(bits.OnesCount(uint(batch)))*s.Accuracy}
						plans[served|batch] = add(plans[served|batch], next)
					}
				}
			}
		}
	}
	return value
}

// span returns the latest arrival, the first deadline and the images of a batch.
func span(requests []sched.Request, batch int) (arrival, deadline time.Duration, images int) {
	deadline = 1<<63 - 1
	for i, r := range requests {
		if batch>>i&1 == 1 {
			arrival, deadline, images = max(arrival, r.Arrival), min(deadline, r.Deadline), images+r.Size
		}
	}
	return arrival, deadline, images
}

func add(plans []plan, n plan) []plan {
	kept := plans[:0]
	for _, o := range plans {
		if o.end <= n.end && o.value >= n.value {
			return plans
		}
		if !(n.end <= o.end && n.value >= o.value) {
			kept = append(kept, o)
		}
	}
	return append(kept, n)
}

func oracleProfile(t testing.TB) *sched.Profile {
	const ms = time.Millisecond
	p, err := sched.NewProfile([]sched.Subnet{
		linear("small", 0.70, ms, ms, 4), linear("mid", 0.75, ms, 2*ms, 4), linear("large", 0.80, ms, 4*ms, 4),
	}, 4)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestOptimum checks the oracle itself on schedules found by hand.
func TestOptimum(t *testing.T) {
	const ms = time.Millisecond
	p := oracleProfile(t)
	at := func(arrival, deadline time.Duration) sched.Request {
		return sched.Request{Arrival: arrival, Deadline: deadline, Size: 1, Subnet: sched.AnySubnet}
	}
	for _, c := range []struct {
		name     string
		requests []sched.Request
		workers  int
		want     float64
	}{
		{"alone", []sched.Request{at(0, 5*ms)}, 1, 0.80},
		{"too tight for large", []sched.Request{at(0, 5*ms-1)}, 1, 0.75},
		{"hopeless", []sched.Request{at(0, 2*ms-1)}, 1, 0},
		{"both in mid", []sched.Request{at(0, 5*ms), at(0, 5*ms)}, 1, 1.50},
		{"a worker each", []sched.Request{at(0, 5*ms), at(0, 5*ms)}, 2, 1.60},
		{"waiting for the second", []sched.Request{at(0, 6*ms), at(1*ms, 6*ms)}, 1, 1.50},
		{"one must go", []sched.Request{at(0, 2*ms), at(0, 2*ms)}, 1, 0.70},
	} {
		if got := optimum(p, c.requests, c.workers); got < c.want-1e-9 || got > c.want+1e-9 {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestNoPolicyBeatsTheOptimum also holds weft to a share of it, so that neither
// bound is idle.
func TestNoPolicyBeatsTheOptimum(t *testing.T) {
	const ms = time.Millisecond
	p := oracleProfile(t)
	r := rand.New(rand.NewPCG(1, 2))
	policies := []string{"weft", "slackfit", "slackfit-literal", "maxacc", "maxbatch", "fixed:small", "fixed:mid", "fixed:large"}
	total := map[string]float64{}
	best := 0.0
	for range 150 {
		workers := 1 + r.IntN(2)
		requests := make([]sched.Request, 1+r.IntN(7))
		at := time.Duration(0)
		for i := range requests {
			at += time.Duration(r.IntN(4)) * ms
			requests[i] = sched.Request{Arrival: at, Deadline: at + time.Duration(2+r.IntN(16))*ms, Size: 1 + r.IntN(2)*r.IntN(2), Subnet: sched.AnySubnet}
		}
		bound := optimum(p, requests, workers)
		best += bound
		for _, policy := range policies {
			outcomes, err := sched.Sim{Profile: p, Policy: policy, Workers: workers, Requests: requests}.Run()
			if err != nil {
				t.Fatal(err)
			}
			value := 0.0
			for i, o := range outcomes {
				if o.Met(requests[i]) {
					value += p.Subnets[o.Subnet].Accuracy
				}
			}
			if value > bound+1e-9 {
				t.Fatalf("%s reaches %v on %v, the optimum is %v", policy, value, requests, bound)
			}
			total[policy] += value
		}
	}
	for _, policy := range policies {
		t.Logf("%-16s %.3f of the optimum", policy, total[policy]/best)
	}
	if total["weft"] < 0.87*best {
		t.Errorf("weft reaches %.3f of the optimum", total["weft"]/best)
	}
}
