package sched_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weft/sched"
)

// TestIdleServesTheBest: whoever asks alone gets the most accurate subnet that is in time,
// however much a fixed overhead makes a lone image cost beside one of a full batch.
func TestIdleServesTheBest(t *testing.T) {
	const maxBatch, gap = 16, 10 * time.Second
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var subnets []sched.Subnet
		overhead, each := time.Duration(0), time.Duration(0)
		for i := range 2 + rng.IntN(5) {
			overhead += time.Duration(rng.Int64N(int64(5 * time.Millisecond)))
			each += time.Duration(1 + rng.Int64N(int64(time.Millisecond)))
			subnets = append(subnets, linear(fmt.Sprint("s", i), 0.7+0.03*float64(i)+0.02*rng.Float64(), overhead, each, maxBatch))
		}
		p, err := sched.NewProfile(subnets, maxBatch)
		if err != nil {
			t.Fatal(err)
		}
		requests := make([]sched.Request, 20)
		for i := range requests {
			at := time.Duration(i) * gap
			slack := p.Latency(0, 1) + time.Duration(rng.Int64N(int64(2*p.Latency(len(p.Subnets)-1, 1))))
			requests[i] = sched.Request{Arrival: at, Deadline: at + slack, Size: 1, Subnet: sched.AnySubnet}
		}
		sim := sched.Sim{Profile: p, Policy: "weft", Workers: 1 + rng.IntN(2), Requests: requests, Options: sched.Options{FixedProfile: true}}
		outcomes, err := sim.Run()
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range outcomes {
			want, slack := 0, requests[i].Deadline-requests[i].Arrival
			for j := range p.Subnets {
				if p.Latency(j, 1) <= slack {
					want = j
				}
			}
			if o.Dropped != 0 || o.Subnet != want {
				t.Fatalf("request %d has %v and an idle server: subnet %d (dropped: %d), want %d; %d subnets, alone %v", i, slack, o.Subnet, o.Dropped, want, len(p.Subnets), p.Latency(want, 1))
			}
		}
	}
}
