package optimum

import (
	"math"
	"math/bits"
	"time"

	"weft/sched"
)

// BruteForce returns the optimum by trying every way to form batches and share
// them out. Time and memory grow by a factor of three and two a request: it is
// there to check [Exact], on up to ten requests.
//
// Workers are alike, so one worker's best value of each subset of the requests
// is found first, and the subsets are then shared out among the workers.
func BruteForce(in Instance) float64 {
	full := 1<<len(in.Requests) - 1
	best := make([]float64, full+1)
	for _, free := range in.free(math.MinInt64) {
		one := in.bestAlone(free)
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

// plan is the end and the value of one worker's schedule.
type plan struct {
	end   time.Duration
	value float64
}

// bestAlone returns, for each subset, one worker's best value when it serves all
// of it, being free from then on (0 if it can't). Of a subset it needs to know the plans of which no
// other is both over earlier and worth more: what follows only depends on the end.
func (in *Instance) bestAlone(free time.Duration) []float64 {
	full := 1<<len(in.Requests) - 1
	plans := make([][]plan, full+1)
	plans[0] = []plan{{end: free}}
	value := make([]float64, full+1)
	for served := range plans {
		rest := full &^ served
		for _, pl := range plans[served] {
			value[served] = max(value[served], pl.value)
			for batch := rest; batch > 0; batch = (batch - 1) & rest {
				in.tryBatch(pl, batch, func(next plan) {
					plans[served|batch] = addPlan(plans[served|batch], next)
				})
			}
		}
	}
	return value
}

// tryBatch calls f with the plan extended by the batch in each subnet that can serve it.
func (in *Instance) tryBatch(pl plan, batch int, f func(plan)) {
	arrival, deadline, images := in.span(batch)
	if images < 1 || images > in.Profile.MaxBatch {
		return
	}
	for i, s := range in.Profile.Subnets {
		end := max(pl.end, arrival) + s.Latency[images-1]
		if end <= deadline && in.all(uint64(batch), func(r *sched.Request) bool { return in.accepts(r, i) }) {
			f(plan{end, pl.value + float64(bits.OnesCount(uint(batch)))*s.Accuracy})
		}
	}
}

// span returns the latest arrival, the first deadline and the images of a batch.
func (in *Instance) span(batch int) (arrival, deadline time.Duration, images int) {
	arrival, deadline = math.MinInt64, math.MaxInt64
	in.all(uint64(batch), func(r *sched.Request) bool {
		arrival, deadline, images = max(arrival, r.Arrival), min(deadline, r.Deadline), images+r.Size
		return true
	})
	return arrival, deadline, images
}

// all reports whether f holds for each request of the batch.
func (in *Instance) all(batch uint64, f func(*sched.Request) bool) bool {
	for rest := batch; rest != 0; rest &= rest - 1 {
		if !f(&in.Requests[bits.TrailingZeros64(rest)]) {
			return false
		}
	}
	return true
}

func addPlan(plans []plan, n plan) []plan {
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
