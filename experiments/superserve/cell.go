package superserve

import (
	"fmt"
	"time"

	"weft/optimum"
	"weft/sched"
	"weft/workload"
)

// Case is a load on so many workers.
type Case struct {
	Label   string        `json:"label"`
	Trace   string        `json:"trace"` // see workload.Parse
	Seed    uint64        `json:"seed"`
	SLO     time.Duration `json:"slo_ns"`
	Workers int           `json:"workers"`
	Images  int           `json:"images"` // of a request
	Faults  []sched.Fault `json:"faults,omitempty"`
}

// Cell is a case under a policy.
type Cell struct {
	Case
	Policy string `json:"policy"`
}

// Bound is the policy of a cell that holds what no policy can exceed.
const Bound = "bound"

// Result is what a cell came to.
type Result struct {
	Requests int `json:"requests"`
	// Attainment is the part of the requests that were answered by their deadlines;
	// of Bound: that could have been.
	Attainment float64 `json:"attainment"`
	// Accuracy is the mean profiled accuracy of those; Effective is the same over all
	// requests, those not in time counting 0.
	Accuracy  float64 `json:"accuracy"`
	Effective float64 `json:"effective"`
	// Shares is the part of those in time that each subnet answered.
	Shares   []float64 `json:"shares,omitempty"`
	Timeline []Bin     `json:"timeline,omitempty"`
}

// Bin is what became of those that arrived within BinWidth.
type Bin struct {
	Arrivals int     `json:"n"`
	Met      int     `json:"met"`
	Accuracy float64 `json:"accuracy"` // mean over those in time
	Batch    float64 `json:"batch"`    // mean size of the batches that these were in
}

// BinWidth is that of timelines.
const BinWidth = 500 * time.Millisecond

// requests returns the load of the case.
func (c *Case) requests() ([]sched.Request, error) {
	trace, err := workload.Parse(c.Trace, c.Seed)
	if err != nil {
		return nil, err
	}
	requests := sched.OpenLoop(trace.Arrivals, c.SLO)
	for i := range requests {
		requests[i].Size = c.Images
	}
	return requests, nil
}

// simulate runs the cell in virtual time.
func (c *Cell) simulate(p *sched.Profile, requests []sched.Request) (Result, error) {
	if c.Policy == Bound {
		return bound(p, requests, c.Workers)
	}
	sim := sched.Sim{
		Profile: p, Policy: c.Policy, Workers: c.Workers, Requests: requests, Faults: c.Faults,
	}
	outcomes, err := sim.Run()
	if err != nil {
		return Result{}, err
	}
	return account(p, requests, outcomes), nil
}

func account(p *sched.Profile, requests []sched.Request, outcomes []sched.Outcome) Result {
	r := Result{Requests: len(requests), Shares: make([]float64, len(p.Subnets))}
	if len(requests) == 0 {
		return r
	}
	r.Timeline = make([]Bin, requests[len(requests)-1].Arrival/BinWidth+1)
	met, sum := 0, 0.0
	for i, o := range outcomes {
		b := &r.Timeline[requests[i].Arrival/BinWidth]
		b.Arrivals++
		if !o.Met(requests[i]) {
			continue
		}
		accuracy := p.Subnets[o.Subnet].Accuracy
		met++
		sum += accuracy
		r.Shares[o.Subnet]++
		b.Met++
		b.Accuracy += accuracy
		b.Batch += float64(o.Images)
	}
	for i := range r.Timeline {
		b := &r.Timeline[i]
		b.Accuracy, b.Batch = ratio(b.Accuracy, float64(b.Met)), ratio(b.Batch, float64(b.Met))
	}
	for i := range r.Shares {
		r.Shares[i] = ratio(r.Shares[i], float64(met))
	}
	r.Attainment = float64(met) / float64(len(requests))
	r.Accuracy, r.Effective = ratio(sum, float64(met)), sum/float64(len(requests))
	return r
}

// bound returns the most that any schedule could have reached, of either figure alone.
func bound(p *sched.Profile, requests []sched.Request, workers int) (Result, error) {
	n := float64(len(requests))
	in := optimum.Instance{Profile: p, Workers: workers, Requests: requests}
	accuracy, err := optimum.Bound(in)
	if err != nil {
		return Result{}, fmt.Errorf("upper bound: %w", err)
	}
	r := Result{Requests: len(requests), Attainment: 1, Effective: accuracy / n}
	outcomes, err := sched.Sim{Profile: p, Policy: smallest, Workers: workers, Requests: requests}.Run()
	if err != nil {
		return Result{}, err
	}
	// Where the smallest subnet attains nearly all, 1 is bound enough, and quicker.
	if account(p, requests, outcomes).Attainment < nearlyAll {
		met, err := optimum.BoundMet(in)
		if err != nil {
			return Result{}, fmt.Errorf("upper bound: %w", err)
		}
		r.Attainment = min(met/n, 1)
	}
	r.Accuracy = ratio(r.Effective, r.Attainment)
	return r, nil
}

// nearlyAll is the attainment above which the bound's is taken as 1.
const nearlyAll = 0.9999

// ratio is a/b, or 0 where there is nothing to divide by.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
