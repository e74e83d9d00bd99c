package optimum

import (
	"math"
	"slices"
)

// job is a request as the fluid relaxation sees it: work that may be done in any
// pieces within a window, by a machine that does one unit of it a unit of time.
type job struct {
	release, due float64
	gain         frontier // of the work done
}

// fluid evaluates the relaxation. Its jobs are in order of release.
type fluid struct {
	jobs  []job
	ready []pending // waiting, earliest due first, from head on
	head  int
}

type pending struct{ due, left float64 }

// value returns the largest sum of gains, or up to slack more. The slopes are
// those of all gains, falling.
//
// With w_i the work done for job i, a gain is the integral of min(w_i, C_i(λ))
// over λ from 0 up, where C_i(λ) is the cost up to which it rises by λ or more.
// Whatever the machine does, the sum over i of min(w_i, C_i(λ)) is at most F(λ),
// the most work that it can do when each job demands C_i(λ). So the integral of
// F is an upper bound (and it is reached: the sets of work that can be done are
// a polymatroid, on which the greedy algorithm is optimal for every λ at once).
//
// F falls with λ in steps, at the slopes. Between two steps at which it is known
// the greater value bounds it, which is good enough where the two are close.
func (f *fluid) value(slopes []float64, slack float64) float64 {
	if len(slopes) == 0 {
		return 0
	}
	last := len(slopes) - 1
	first, whole := f.work(slopes[0]), f.work(slopes[last])
	sum := whole * slopes[last]
	if last > 0 {
		sum += f.between(slopes, first, whole, slack/slopes[0])
	}
	return sum
}

// between returns the integral of F from the least to the greatest slope, given
// its values there. It is too large by rate at most for a unit of slope.
func (f *fluid) between(slopes []float64, first, last, rate float64) float64 {
	n := len(slopes) - 1
	sum := (slopes[0] - slopes[1]) * first
	if n == 1 {
		return sum
	}
	if last-first <= rate {
		return sum + (slopes[1]-slopes[n])*last
	}
	mid := n / 2
	at := f.work(slopes[mid])
	return f.between(slopes[:mid+1], first, at, rate) + f.between(slopes[mid:], at, last, rate)
}

// work returns F(lambda): the most work that can be done when each job demands
// what it gains at least lambda from. Always to work for the ready job that is
// due first does the most: take a schedule that does the most and follows this
// rule as long as possible. Where it first departs from it, the rule works for
// job i. If the schedule idles, or never comes back to i, let it work for i
// instead, which loses nothing. If it does j there and i later, exchange the
// two: j is released, and due no earlier than i. Either way it follows the rule longer.
func (f *fluid) work(lambda float64) float64 {
	f.ready, f.head = f.ready[:0], 0
	now, done := 0.0, 0.0
	for i := range f.jobs {
		j := &f.jobs[i]
		done += f.until(&now, j.release)
		f.push(pending{j.due, j.gain.demand(lambda)})
	}
	return done + f.until(&now, math.Inf(1))
}

// until works from now to the given time and returns how much was done.
func (f *fluid) until(now *float64, end float64) (done float64) {
	for f.head < len(f.ready) && *now < end {
		p := &f.ready[f.head]
		stop := min(*now+p.left, p.due, end)
		if stop > *now {
			done += stop - *now
			p.left -= stop - *now
			*now = stop
		}
		if stop < end || p.left <= 0 {
			f.head++ // finished, or due
		}
	}
	*now = max(*now, end)
	return done
}

// push inserts by due. With equal windows that is at the end.
func (f *fluid) push(p pending) {
	if f.head == len(f.ready) {
		f.ready, f.head = f.ready[:0], 0
	}
	if p.left <= 0 {
		return
	}
	i := len(f.ready)
	for i > f.head && f.ready[i-1].due > p.due {
		i--
	}
	f.ready = slices.Insert(f.ready, i, p)
}
