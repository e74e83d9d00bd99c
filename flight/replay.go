package flight

import (
	"fmt"
	"slices"
	"time"

	"weft/sched"
	"weft/serve"
)

// Replay is what became of a flight's requests, as recorded or in a simulation.
type Replay struct {
	Policy   string
	Requests int     // that were to be served and have ended
	Met      int     // of these
	Accuracy float64 // mean of those that were met, 0..1
	// Subnets counts the images of answered requests by subnet.
	Subnets []int

	outcomes map[uint64]sched.Outcome
	deadline map[uint64]time.Duration
}

// MetRequest reports whether the request of that ID met its deadline.
func (p *Replay) MetRequest(id uint64) bool {
	o, ok := p.outcomes[id]
	return ok && o.Dropped == 0 && o.Finished <= p.deadline[id]
}

// Recorded returns what became of the requests in truth.
func (m *Model) Recorded() *Replay {
	p := m.newReplay(m.Policy)
	for _, r := range m.arrivals {
		o := sched.Outcome{Dropped: sched.Lost}
		if r.Code == serve.OK && !r.Waits() {
			o = sched.Outcome{Finished: r.Computed, Subnet: r.Subnet}
		}
		p.add(m, r, o)
	}
	return p
}

// Replay simulates the policy on the requests of the flight: they come when they
// came, and a batch takes as long as batches of its subnet did, by the
// median of the multiples of their profile. What the workers did before the flight, and their coming and
// going, is not part of it.
func (m *Model) Replay(policy string) (*Replay, error) {
	requests := make([]sched.Request, len(m.arrivals))
	for i, r := range m.arrivals {
		requests[i] = sched.Request{
			Arrival: r.Arrival, Deadline: r.Deadline, Size: r.Images, MinAccuracy: r.MinAccuracy,
			Subnet: r.Pin, Priority: r.Priority, Tenant: r.Tenant, Late: r.Late,
		}
	}
	pace := m.paces()
	sim := sched.Sim{
		Profile: m.Profile, Policy: policy, Options: m.Options(), Workers: max(m.capable(), 1), Requests: requests,
		Latency: func(_, subnet, images int) time.Duration {
			return time.Duration(float64(m.Profile.Latency(subnet, images)) * pace[subnet])
		},
	}
	outcomes, err := sim.Run()
	if err != nil {
		return nil, fmt.Errorf("replay the flight: %w", err)
	}
	p := m.newReplay(policy)
	for i, r := range m.arrivals {
		p.add(m, r, outcomes[i])
	}
	return p, nil
}

func (m *Model) newReplay(policy string) *Replay {
	return &Replay{
		Policy: policy, Subnets: make([]int, len(m.Subnets)),
		outcomes: make(map[uint64]sched.Outcome), deadline: make(map[uint64]time.Duration),
	}
}

// add counts a request, unless it had not ended when the flight was written.
func (p *Replay) add(m *Model, r *serve.Record, o sched.Outcome) {
	if r.Waits() {
		return
	}
	p.outcomes[r.ID], p.deadline[r.ID] = o, r.Deadline
	p.Requests++
	if o.Dropped == 0 {
		p.Subnets[o.Subnet] += r.Images
	}
	if p.MetRequest(r.ID) {
		p.Accuracy += (m.Subnets[o.Subnet].Accuracy - p.Accuracy) / float64(p.Met+1)
		p.Met++
	}
}

// paces returns, by subnet, how long batches took from dispatch to their end, as
// a multiple of the profile: the median of its batches, of all where it had none.
func (m *Model) paces() []float64 {
	by := make([][]float64, len(m.Subnets)+1)
	all := len(m.Subnets)
	for i := range m.Batches {
		b := &m.Batches[i]
		ratio := float64(b.Computed-b.Dispatched) / float64(b.Profiled)
		by[b.Subnet] = append(by[b.Subnet], ratio)
		by[all] = append(by[all], ratio)
	}
	paces := make([]float64, all)
	for i := range paces {
		switch {
		case len(by[i]) > 0:
			paces[i] = median(by[i])
		case len(by[all]) > 0:
			paces[i] = median(by[all])
		default:
			paces[i] = 1
		}
	}
	return paces
}

// median sorts the values, of which there are some.
func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
