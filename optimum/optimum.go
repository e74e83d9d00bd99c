// Package optimum says how well requests could have been served by a scheduler
// that knows the future: the largest sum of accuracies over the requests that
// are answered in time (the objective of SuperServe's ZILP, section 4.1).
//
//   - [Exact] finds it, with a schedule that reaches it, for a dozen requests or two.
//   - [Rolling] is what one reaches that knows no more than a policy does.
//   - [Bound] limits it from above for traces of any length.
//   - [WriteLP] hands small instances to an integer programming solver, as an
//     independent judge.
//
// A schedule runs batches on alike workers. A batch holds requests of at most
// Profile.MaxBatch images together, runs in one subnet that all of them accept,
// starts when the last of them has arrived at the earliest, takes what the
// profile says, and is over by the first of their deadlines. (The paper's
// constraint (1c) names the batch's earliest arrival, which would let a batch
// start before all of it is there.) Loading a subnet takes no time, so what is
// found also limits schedulers for which it does.
//
// docs/adr/0003-optimum.md has the reasoning and the figures.
package optimum

import (
	"fmt"
	"math"
	"time"

	"weft/sched"
)

// Instance is a problem: requests, known in advance, and what can serve them.
// A request's ID, Priority and Late policy don't matter.
type Instance struct {
	Profile  *sched.Profile
	Workers  int
	Requests []sched.Request // in any order
	// Free is when each worker is free first; nil: always. [Bound] and [WriteLP] don't look
	// at it: workers that are always free can only do more.
	Free []time.Duration
}

// Batch is a part of a schedule.
type Batch struct {
	Worker, Subnet int
	Start, End     time.Duration
	Requests       []int // indices into Instance.Requests
}

// Schedule is a plan in order of start, and what it is worth.
type Schedule struct {
	// Value is the sum of the accuracies over the requests that the batches serve.
	Value float64
	// Bound is what no schedule exceeds. It is Value if the schedule is optimal.
	Bound   float64
	Batches []Batch
}

// Value returns what the outcomes of a simulation are worth: the sum of the
// accuracies over the requests that were answered in time.
func Value(p *sched.Profile, requests []sched.Request, outcomes []sched.Outcome) float64 {
	sum := 0.0
	for i, o := range outcomes {
		if o.Met(requests[i]) {
			sum += p.Subnets[o.Subnet].Accuracy
		}
	}
	return sum
}

// Fraction returns how much of what choosing subnets can gain a policy gains:
//
//	(ours - smallest) / (optimum - smallest)
//
// where smallest is the value of always running the smallest subnet. It is 1
// where there is nothing to gain and nothing lost, and negative for a policy
// that does worse than the smallest subnet. For several instances, add their
// values up first: a mean of fractions would be ruled by those with little to gain.
func Fraction(ours, smallest, optimum float64) float64 {
	if gain := optimum - smallest; gain > tiny {
		return (ours - smallest) / gain
	}
	if ours >= smallest-tiny {
		return 1
	}
	return math.Inf(-1)
}

// tiny separates values that differ from those that were rounded differently.
const tiny = 1e-9

// validate returns an error for an instance that has no meaning.
func (in *Instance) validate() error {
	if in.Profile == nil || len(in.Profile.Subnets) == 0 {
		return fmt.Errorf("the instance has no profile: build one with sched.NewProfile")
	}
	if in.Workers < 0 {
		return fmt.Errorf("the instance has %d workers: give 0 or more", in.Workers)
	}
	if in.Free != nil && len(in.Free) != in.Workers {
		return fmt.Errorf("the instance says of %d workers when they are free: give the times of all %d", len(in.Free), in.Workers)
	}
	return nil
}

// free returns when each worker is free first, but not before the given time.
func (in *Instance) free(from time.Duration) []time.Duration {
	free := make([]time.Duration, in.Workers)
	for w := range free {
		free[w] = from
		if in.Free != nil {
			free[w] = max(from, in.Free[w])
		}
	}
	return free
}

// accepts reports whether a request may be answered by the subnet. One of which
// the profile can never serve the images accepts none.
func (in *Instance) accepts(r *sched.Request, subnet int) bool {
	if r.Size < 1 || r.Size > in.Profile.MaxBatch {
		return false
	}
	return (r.Subnet < 0 || r.Subnet == subnet) && in.Profile.Subnets[subnet].Accuracy >= r.MinAccuracy
}
