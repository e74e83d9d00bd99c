package sched_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"weft/sched"
)

func TestKnownPolicy(t *testing.T) {
	for name, want := range map[string]bool{
		"weft": true, "slackfit": true, "fixed:s0": true, "fixed": false, "fixed:": true, "fixed-literal:s0": true, "infaas": true, "infaas:0.75": true,
		"proteus": true, "proteus:5s": true, "switch:1s": true, "weft:1": false, "best": false, "": false,
	} {
		if got := sched.KnownPolicy(name); got != want {
			t.Errorf("%q: known %v, want %v", name, got, want)
		}
	}
	for _, form := range sched.Policies() {
		name, _, _ := strings.Cut(form, "[")
		if !sched.KnownPolicy(name) {
			t.Errorf("%q is not known", name)
		}
		if _, err := sched.ParsePolicy(strings.Replace(name, "SUBNET", "s0", 1), sixSubnets(t), sched.Options{}); err != nil {
			t.Error(err)
		}
	}
}

func TestLoadTimesForEachSubnet(t *testing.T) {
	if _, err := sched.New("weft", sixSubnets(t), sched.Options{Load: make([]time.Duration, 5)}); err == nil {
		t.Error("5 load times for 6 subnets are taken")
	}
}

// TestPlannersSettle: at a steady load below the capacity of a subnet, both
// planners come to serve it, or better, without losing requests.
func TestPlannersSettle(t *testing.T) {
	p := sixSubnets(t)
	sim := sched.Sim{
		Profile: p, Workers: 4,
		Requests: sched.OpenLoop(gammaArrivals(4*0.9*capacity(p, 3), 0.1, 80000, 1), slo),
	}
	settled := len(sim.Requests) * 2 / 3 // after the first plan, and its loads
	for _, policy := range []string{"proteus:500ms", "switch:500ms"} {
		sim.Policy = policy
		outcomes, err := sim.Run()
		if err != nil {
			t.Fatal(err)
		}
		lost, sum := 0, 0.
		for i, o := range outcomes[settled:] {
			if !o.Met(sim.Requests[settled+i]) {
				lost++
			}
			sum += p.Subnets[o.Subnet].Accuracy
		}
		if mean := sum / float64(len(outcomes)-settled); lost > 0 || mean < p.Subnets[3].Accuracy-1e-9 {
			t.Errorf("%s: %d are lost, the mean accuracy is %v", policy, lost, mean)
		}
	}
}

// TestLoadingCosts is Fig 1b in shape: the longer a change of subnet takes, the
// more requests a policy loses that changes for every batch.
func TestLoadingCosts(t *testing.T) {
	p := sixSubnets(t)
	sim := sched.Sim{
		Profile: p, Policy: "slackfit", Workers: 4,
		Requests: sched.OpenLoop(gammaArrivals(4*0.5*capacity(p, 0), 4, 20000, 1), slo),
	}
	last := 1.1
	for _, load := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond} {
		sim.Options.Load = slices.Repeat([]time.Duration{load}, len(p.Subnets))
		got := simulate(t, sim)
		t.Logf("load %v: %v", load, got)
		if got.attainment >= last {
			t.Errorf("a load of %v leaves %v, after %v", load, got.attainment, last)
		}
		last = got.attainment
	}
}
