package optimum

import (
	"cmp"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"time"

	"weft/sched"
)

// MaxExact is the most requests that Exact takes.
const MaxExact = 64

// Exact returns an optimal schedule. It looks at no more than limit partial
// schedules (0: no limit); when they don't suffice, the schedule is the best one
// found, and its Bound is above its Value.
//
// It searches best first. A partial schedule is extended by the batch that
// starts next, on the worker that is free first. These need be looked at:
//
//   - Starts do not fall from batch to batch. Any schedule's batches can be put
//     in that order, and when the next one starts, at most the other workers are
//     busy with earlier ones, so that the one free first is free.
//   - A batch starts when its worker is free or, if that is later, when the last
//     of its requests arrives. Otherwise it could start sooner: move it there, and
//     put the batches in order again.
//   - Of requests alike (in size and in the subnets that they accept) that have
//     arrived and have the batch's latency left, the batch holds those of the
//     earliest deadlines. Let it hold j and not i, although i is due first. If i
//     is never served, serve it instead of j. If i is served by a later batch,
//     exchange the two: that batch starts no earlier, so j has arrived, and i's
//     deadline, which it meets, is the earlier one. (Without "have the latency
//     left" this fails: a short batch on one worker may meet a deadline that a
//     long one, started before it on another, doesn't.)
//   - Not a subnet if another is as accurate, as fast at the batch's size, and
//     accepted by all of it.
//
// No step lowers the value. The first two make the starts, in order,
// lexicographically smaller; the fourth keeps them and makes an end earlier; the
// third keeps starts and ends and makes a batch's deadlines smaller. So they come
// to an end together: some optimal schedule obeys all four.
//
// So a step has at most (arrivals to wait for + 1) · subnets · MaxBatch
// successors when all requests are alike, and time need not be cut into slots.
// Two partial schedules that leave the same requests are compared: one dominates
// if it is worth no less and no worker is free later. What is left is bounded by
// the relaxation of [Bound].
func Exact(in Instance, limit int) (Schedule, error) {
	if err := in.validate(); err != nil {
		return Schedule{}, err
	}
	if n := len(in.Requests); n > MaxExact {
		return Schedule{}, fmt.Errorf("the instance has %d requests: the exact search takes %d at most; use Bound", n, MaxExact)
	}
	if in.Workers == 0 || len(in.Requests) == 0 {
		return Schedule{}, nil
	}
	s := newSearch(&in)
	s.run(limit)
	return s.schedule(), nil
}

// search is an Exact under way. Requests are numbered by deadline, so that a set
// of them, as bits, lists the most urgent first.
type search struct {
	*Instance            // requests in order of deadline
	caller     *Instance // as it was given
	original   []int     // the requests' indices there
	alike      []kind    // of requests
	byArrival  []int
	open       queue
	seen       map[uint64][]*node // by what they leave: none dominates another
	best       *node
	bound      float64 // of what is left when the search is over
	relaxation relaxation
}

// kind is a set of requests alike.
type kind struct {
	size    int
	members uint64
}

func newSearch(in *Instance) *search {
	s := &search{caller: in, seen: map[uint64][]*node{}}
	for i := range in.Requests {
		s.original = append(s.original, i)
	}
	slices.SortStableFunc(s.original, func(a, b int) int {
		x, y := &in.Requests[a], &in.Requests[b]
		return cmp.Or(cmp.Compare(x.Deadline, y.Deadline), cmp.Compare(x.Arrival, y.Arrival))
	})
	s.Instance = &Instance{Profile: in.Profile, Workers: min(in.Workers, len(in.Requests))}
	for _, i := range s.original {
		s.Requests = append(s.Requests, in.Requests[i])
	}
	for i := range s.Requests {
		s.byArrival = append(s.byArrival, i)
		s.sort(i)
	}
	slices.SortStableFunc(s.byArrival, func(a, b int) int {
		return cmp.Compare(s.Requests[a].Arrival, s.Requests[b].Arrival)
	})
	s.relaxation = newRelaxation(s.Instance, s.byArrival)
	return s
}

// sort puts a request among those alike.
func (s *search) sort(i int) {
	r := &s.Requests[i]
	for k := range s.alike {
		o := &s.Requests[bits.TrailingZeros64(s.alike[k].members)]
		if o.Size == r.Size && o.Subnet == r.Subnet && o.MinAccuracy == r.MinAccuracy {
			s.alike[k].members |= 1 << i
			return
		}
	}
	s.alike = append(s.alike, kind{r.Size, 1 << i})
}

func (s *search) run(limit int) {
	start := s.caller.free(s.Requests[s.byArrival[0]].Arrival)
	slices.Sort(start)
	start = start[:s.Workers] // the others are not needed
	root := &node{left: math.MaxUint64 >> (64 - len(s.Requests)), free: start}
	s.best = root
	s.add(root)
	for looked := 0; len(s.open) > 0; looked++ {
		n := s.open.pop()
		if n.bound <= s.best.value+tiny {
			break
		}
		if limit > 0 && looked >= limit {
			s.bound = n.bound
			return
		}
		if !n.stale {
			s.expand(n)
		}
	}
	s.bound = s.best.value
}

// expand adds the successors of n.
func (s *search) expand(n *node) {
	var arrived, fresh uint64
	for k, i := range s.byArrival {
		if n.left>>i&1 == 0 {
			continue
		}
		at := s.Requests[i].Arrival
		arrived, fresh = arrived|1<<i, fresh|1<<i
		if next := s.nextArrival(n.left, k); next > n.free[0] && next > at {
			s.startAt(n, max(at, n.free[0]), arrived, fresh)
			fresh = 0
		}
	}
}

// nextArrival returns the arrival of the first request left after the k-th.
func (s *search) nextArrival(left uint64, k int) time.Duration {
	for _, i := range s.byArrival[k+1:] {
		if left>>i&1 == 1 {
			return s.Requests[i].Arrival
		}
	}
	return math.MaxInt64
}

// startAt adds the successors of n by a batch that starts at that time, with one
// of the fresh among those that have arrived.
func (s *search) startAt(n *node, start time.Duration, arrived, fresh uint64) {
	for images := 1; images <= s.Profile.MaxBatch; images++ {
		for subnet := range s.Profile.Subnets {
			end := start + s.Profile.Latency(subnet, images)
			first, _ := slices.BinarySearchFunc(s.Requests, end, func(r sched.Request, t time.Duration) int {
				return cmp.Compare(r.Deadline, t)
			})
			if eligible := arrived >> first << first; eligible != 0 {
				s.choose(images, subnet, eligible, 0, s.alike, func(batch uint64) {
					if batch&fresh != 0 && !s.pointless(subnet, images, batch) {
						s.add(s.extend(n, start, end, subnet, batch))
					}
				})
			}
		}
	}
}

// choose calls f for each batch of exactly that many images that takes the first
// of each kind.
func (s *search) choose(images, subnet int, eligible, batch uint64, kinds []kind, f func(uint64)) {
	if images == 0 {
		f(batch)
		return
	}
	if len(kinds) == 0 {
		return
	}
	k := kinds[0]
	s.choose(images, subnet, eligible, batch, kinds[1:], f)
	members := eligible & k.members
	if members == 0 || !s.accepts(&s.Requests[bits.TrailingZeros64(members)], subnet) {
		return
	}
	for ; members != 0 && images >= k.size; members &= members - 1 {
		batch |= members & -members
		images -= k.size
		s.choose(images, subnet, eligible, batch, kinds[1:], f)
	}
}

// pointless reports whether another subnet serves the batch as well or better.
func (s *search) pointless(subnet, images int, batch uint64) bool {
	own := &s.Profile.Subnets[subnet]
	for o := range s.Profile.Subnets {
		other := &s.Profile.Subnets[o]
		if o == subnet || other.Accuracy < own.Accuracy || other.Latency[images-1] > own.Latency[images-1] {
			continue
		}
		if other.Accuracy == own.Accuracy && other.Latency[images-1] == own.Latency[images-1] && o > subnet {
			continue // of equals the first stays
		}
		if s.all(batch, func(r *sched.Request) bool { return s.accepts(r, o) }) {
			return true
		}
	}
	return false
}

// extend returns n with one more batch.
func (s *search) extend(n *node, start, end time.Duration, subnet int, batch uint64) *node {
	free := slices.Clone(n.free)
	free[0] = end
	for i := range free {
		free[i] = max(free[i], start) // the next batch starts no earlier
	}
	slices.Sort(free)
	return &node{
		left: n.left &^ batch, free: free, from: n, subnet: subnet, start: start, batch: batch,
		value: n.value + float64(bits.OnesCount64(batch))*s.Profile.Subnets[subnet].Accuracy,
	}
}

// add queues a node unless nothing better can come of it.
func (s *search) add(n *node) {
	rest := 0.0
	rest, n.left = s.relaxation.bound(n.left, n.free, s.best.value+tiny-n.value)
	n.bound = n.value + rest
	if n.from != nil {
		n.bound = min(n.bound, n.from.bound)
	}
	if n.value > s.best.value {
		s.best = n
	}
	if n.bound <= s.best.value+tiny {
		return
	}
	others := s.seen[n.left]
	for _, o := range others {
		if o.dominates(n) {
			return
		}
	}
	kept := others[:0]
	for _, o := range others {
		if o.stale = n.dominates(o); !o.stale {
			kept = append(kept, o)
		}
	}
	s.seen[n.left] = append(kept, n)
	s.open.push(n)
}
