package sched_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"weft/optimum"
	"weft/sched"
)

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

// TestNoPolicyBeatsTheOptimum also holds weft to a share of it, so that neither
// bound is idle.
func TestNoPolicyBeatsTheOptimum(t *testing.T) {
	const ms = time.Millisecond
	p := oracleProfile(t)
	r := rand.New(rand.NewPCG(1, 2))
	policies := []string{"weft", "slackfit", "slackfit-literal", "maxacc", "maxbatch", "fixed:small", "fixed:mid", "fixed:large", "infaas", "proteus:5ms"}
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
		exact, err := optimum.Exact(optimum.Instance{Profile: p, Workers: workers, Requests: requests}, 0)
		if err != nil {
			t.Fatal(err)
		}
		bound := exact.Value
		best += bound
		for _, policy := range policies {
			outcomes, err := sched.Sim{Profile: p, Policy: policy, Workers: workers, Requests: requests}.Run()
			if err != nil {
				t.Fatal(err)
			}
			value := optimum.Value(p, requests, outcomes)
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
