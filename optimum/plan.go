package optimum

import (
	"math/bits"
	"slices"
	"time"
)

// schedule returns the best that the search found: batches in order of start,
// each on the worker that is free first, as the search had it.
func (s *search) schedule() Schedule {
	out := Schedule{Value: s.best.value, Bound: s.bound}
	for n := s.best; n.from != nil; n = n.from {
		b := Batch{Subnet: n.subnet, Start: n.start}
		images := 0
		for rest := n.batch; rest != 0; rest &= rest - 1 {
			i := bits.TrailingZeros64(rest)
			b.Requests = append(b.Requests, s.original[i])
			images += s.Requests[i].Size
		}
		b.End = b.Start + s.Profile.Latency(b.Subnet, images)
		out.Batches = append(out.Batches, b)
	}
	slices.Reverse(out.Batches)
	free := make([]time.Duration, s.Workers)
	for w := range free {
		free[w] = s.Requests[s.byArrival[0]].Arrival
	}
	for i := range out.Batches {
		b := &out.Batches[i]
		for w, t := range free {
			if t < free[b.Worker] {
				b.Worker = w
			}
		}
		free[b.Worker] = b.End
	}
	return out
}
