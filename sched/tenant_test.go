package sched_test

import (
	"testing"
	"time"

	"weft/sched"
)

// byTenant runs requests of two tenants, at these multiples of the capacity, and
// returns what share of its requests each attains.
func byTenant(t *testing.T, opt sched.Options, a, b float64) (attained [2]float64) {
	p := sixSubnets(t)
	const workers = 2
	sim := sched.Sim{Profile: p, Policy: "weft", Workers: workers, Options: opt}
	arrivals := gammaArrivals((a+b)*workers*capacity(p, 0), 1, 40000, 7)
	sim.Requests = sched.OpenLoop(arrivals, slo)
	dice := gammaArrivals(1, 1, len(arrivals), 8) // its gaps are exponential
	last := time.Duration(0)
	sent := [2]float64{}
	tenant := make([]int, len(arrivals))
	for i, at := range dice {
		// P(gap of a < gap of b) = a / (a + b); exponentials decide by their fraction of a second
		if float64((at-last)%time.Millisecond)/float64(time.Millisecond) >= a/(a+b) {
			tenant[i] = 1
		}
		last = at
		sim.Requests[i].Tenant = []string{"a", "b"}[tenant[i]]
		sent[tenant[i]]++
	}
	outcomes, err := sim.Run()
	if err != nil {
		t.Fatal(err)
	}
	for i, o := range outcomes {
		if o.Met(sim.Requests[i]) {
			attained[tenant[i]] += 1 / sent[tenant[i]]
		}
	}
	return attained
}

// TestFairShares: beyond capacity each tenant gets about its share, and one that
// asks for less than that gets all of it.
func TestFairShares(t *testing.T) {
	for _, c := range []struct {
		name   string
		shares map[string]float64
		a, b   float64    // load
		want   [2]float64 // of the capacity
		within float64
	}{
		{"modest", nil, 0.3, 1.5, [2]float64{0.3, 0.7}, 0.05},
		{"both", nil, 1, 2, [2]float64{0.5, 0.5}, 0.15},
		{"shares", map[string]float64{"a": 3}, 1, 1, [2]float64{0.75, 0.25}, 0.15},
		{"enough", nil, 0.2, 0.6, [2]float64{0.2, 0.6}, 0.01},
	} {
		got := byTenant(t, sched.Options{Shares: c.shares}, c.a, c.b)
		got[0] *= c.a
		got[1] *= c.b
		t.Logf("%s: %.3f of the capacity", c.name, got)
		for i := range got {
			if got[i] < c.want[i]-c.within || got[i] > c.want[i]+c.within {
				t.Errorf("%s: tenants get %.3f of the capacity, want %.3f", c.name, got, c.want)
			}
		}
	}
	if _, err := sched.New("weft", sixSubnets(t), sched.Options{Shares: map[string]float64{"a": 0}}); err == nil {
		t.Error("a share of 0 is taken")
	}
}
