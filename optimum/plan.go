package optimum

import (
	"cmp"
	"math"
	"slices"
	"time"

	"weft/sched"
)

// Plan returns a good schedule for a trace that is too long for [Exact], by a
// beam search of that width (8 is quick, 32 is a little better). The optimum is
// between its Value and its Bound, which is that of the function [Bound].
//
// Requests are taken in order of deadline. A step gives the next few of them to
// the worker that is free first, as one batch in some subnet, or drops the next
// one. Of the partial schedules that have dealt with the same requests, those
// are kept that come closest to the best trade between value and worker time
// used: which point of it is the right one, only the future can tell.
//
// Where some requests are in a hurry and others are not, batches of neighbours
// by deadline are not the best ones, and the gap is wider.
func Plan(in Instance, width int) (Schedule, error) {
	bound, err := Bound(in)
	if err != nil || in.Workers == 0 || len(in.Requests) == 0 {
		return Schedule{}, err
	}
	b := newBeam(&in, max(width, 2))
	for k := range in.Requests {
		b.keep(k)
		b.extend(k)
	}
	b.keep(len(in.Requests))
	s := b.schedule()
	s.Bound = max(bound, s.Value)
	return s, nil
}

// beam is a Plan under way. Place k holds the partial schedules that have dealt
// with the first k requests in order of deadline. As a batch leads MaxBatch
// places on at most, offers and states are kept in a ring.
type beam struct {
	*crowd
	width  int
	offers [][]offer // to place k, at k modulo MaxBatch+1
	states [][]state // of place k
	steps  [][]step  // of every place, to find the way back
	// A unit of time buys no more value than dear and no less than cheap, as far
	// as it buys any.
	dear, cheap float64
}

// step leads from a state of an earlier place to the next one's.
type step struct {
	from, state int32
	subnet      int32 // -1: the request is dropped
	start       time.Duration
}

// offer is a partial schedule whose place is not reached yet.
type offer struct {
	step
	end   time.Duration
	value float64
	used  time.Duration // sum of the times at which workers are free
}

type state struct {
	free  []time.Duration // sorted
	value float64
}

func newBeam(in *Instance, width int) *beam {
	ring := in.Profile.MaxBatch + 1
	b := &beam{
		crowd: newCrowd(in), width: width,
		offers: make([][]offer, ring), states: make([][]state, ring), steps: make([][]step, len(in.Requests)+1),
	}
	if _, slopes := b.gains(func(s *sched.Subnet) float64 { return s.Accuracy }); len(slopes) > 0 {
		b.dear, b.cheap = slopes[0], slopes[len(slopes)-1]
	}
	for i := range b.states {
		b.states[i] = make([]state, width)
		for k := range b.states[i] {
			b.states[i][k].free = make([]time.Duration, in.Workers)
		}
	}
	first := in.Requests[b.byArrival[0]].Arrival
	copy(b.states[0][0].free, in.free(first))
	slices.Sort(b.states[0][0].free)
	b.offers[0] = []offer{{step: step{subnet: -1}}} // of the place itself
	return b
}

// keep turns the best offers to place k into its states.
func (b *beam) keep(k int) {
	at := k % len(b.offers)
	chosen := b.choose(b.offers[at])
	b.steps[k] = make([]step, len(chosen))
	b.states[at] = b.states[at][:len(chosen)]
	for i, o := range chosen {
		s := &b.states[at][i]
		b.steps[k][i], s.value = o.step, o.value
		copy(s.free, b.states[int(o.from)%len(b.states)][o.state].free)
		if o.subnet >= 0 {
			s.free[0] = o.end
			slices.Sort(s.free)
		}
	}
	b.offers[at] = b.offers[at][:0]
}

// extend offers every way to go on from place k.
func (b *beam) extend(k int) {
	first := &b.Requests[b.byDeadline[k]]
	for i := range b.states[k%len(b.states)] {
		s := &b.states[k%len(b.states)][i]
		o := offer{step: step{from: int32(k), state: int32(i), subnet: -1}, value: s.value, used: b.used(s.free, k+1)}
		b.offer(k+1, o)
		images := 0
		o.start = s.free[0]
		for to := k + 1; to <= len(b.byDeadline); to++ {
			r := &b.Requests[b.byDeadline[to-1]]
			o.start, images = max(o.start, r.Arrival), images+r.Size
			if images > b.Profile.MaxBatch || r.Size < 1 || o.start > first.Deadline {
				break
			}
			others := b.used(s.free[1:], to)
			for subnet := range b.Profile.Subnets {
				o.end = o.start + b.Profile.Latency(subnet, images)
				if o.end > first.Deadline || !b.accepted(b.byDeadline[k:to], subnet) {
					continue
				}
				o.subnet, o.value = int32(subnet), s.value+float64(to-k)*b.Profile.Subnets[subnet].Accuracy
				o.used = others + max(o.end, b.now(to))
				b.offer(to, o)
			}
		}
	}
}

func (b *beam) offer(k int, o offer) {
	at := k % len(b.offers)
	b.offers[at] = append(b.offers[at], o)
}

func (b *beam) accepted(batch []int32, subnet int) bool {
	for _, i := range batch {
		if !b.accepts(&b.Requests[i], subnet) {
			return false
		}
	}
	return true
}

// used sums up when workers are free as seen from place k: what was idle before is lost.
func (b *beam) used(free []time.Duration, k int) (sum time.Duration) {
	now := b.now(k)
	for _, t := range free {
		sum += max(t, now)
	}
	return sum
}

// now returns when the request at place k arrives; nothing before matters to it.
func (b *beam) now(k int) time.Duration {
	if k == len(b.byDeadline) {
		k--
	}
	return b.Requests[b.byDeadline[k]].Arrival
}

// choose returns the offers to keep, in order of time used and of value: of those
// that are best at some price of time, or between two such, the ones that fall
// least behind the concave hull. (Those of which another is worth as much and has
// used no more are left out.)
func (b *beam) choose(offers []offer) []offer {
	slices.SortFunc(offers, func(x, y offer) int {
		return cmp.Or(cmp.Compare(x.used, y.used), cmp.Compare(y.value, x.value))
	})
	best := offers[:0]
	for _, o := range offers {
		if len(best) == 0 || o.value > best[len(best)-1].value+tiny {
			best = append(best, o)
		}
	}
	if len(best) > b.width {
		best = best[top(best, b.dear) : top(best, b.cheap)+1]
	}
	if len(best) <= b.width {
		return best
	}
	behind := fallBehind(best, upperHull(best))
	order := slices.Clone(behind)
	slices.Sort(order)
	most := max(order[b.width-1], tiny)
	kept := best[:0]
	for i, o := range best {
		if behind[i] <= most {
			kept = append(kept, o)
		}
	}
	if n := len(kept); n > b.width { // all of them on the hull, as good as
		for i := range b.width {
			kept[i] = kept[i*(n-1)/(b.width-1)]
		}
		kept = kept[:b.width]
	}
	return kept
}

// top returns the place of the best offer when each unit of time has that price.
func top(offers []offer, price float64) int {
	best, most := 0, math.Inf(-1)
	for i, o := range offers {
		if v := o.value - price*float64(o.used); v > most {
			best, most = i, v
		}
	}
	return best
}

// rise returns the value that each further unit of time buys.
func rise(a, b offer) float64 { return (b.value - a.value) / float64(b.used-a.used) }

// upperHull returns the places of those on the concave hull.
func upperHull(offers []offer) []int {
	var hull []int
	for i, o := range offers {
		for n := len(hull); n > 1 && rise(offers[hull[n-2]], offers[hull[n-1]]) <= rise(offers[hull[n-1]], o); n-- {
			hull = hull[:n-1]
		}
		hull = append(hull, i)
	}
	return hull
}

// fallBehind returns by how much the value of each offer is below the hull.
func fallBehind(offers []offer, hull []int) []float64 {
	behind := make([]float64, len(offers))
	for h, from := range hull[:len(hull)-1] {
		a, to := offers[from], hull[h+1]
		slope := rise(a, offers[to])
		for i := from; i < to; i++ {
			behind[i] = a.value + slope*float64(offers[i].used-a.used) - offers[i].value
		}
	}
	return behind
}

// schedule returns the best schedule at the last place. Its states rise in value.
func (b *beam) schedule() Schedule {
	k := len(b.Requests)
	at := len(b.steps[k]) - 1
	out := Schedule{Value: b.states[k%len(b.states)][at].value}
	for k > 0 {
		s := b.steps[k][at]
		if s.subnet >= 0 {
			batch := Batch{Subnet: int(s.subnet), Start: s.start}
			for _, i := range b.byDeadline[s.from:k] {
				batch.Requests = append(batch.Requests, int(i))
			}
			out.Batches = append(out.Batches, batch)
		}
		k, at = int(s.from), int(s.state)
	}
	b.place(&out)
	return out
}
