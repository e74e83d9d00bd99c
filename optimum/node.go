package optimum

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
	"time"
)

// node is a partial schedule.
type node struct {
	left   uint64          // requests that may still be served
	free   []time.Duration // when workers are, sorted
	value  float64
	bound  float64 // of all that it can become
	from   *node
	subnet int // of its last batch, and so on
	start  time.Duration
	batch  uint64
	stale  bool // dominated since it was queued
}

// dominates compares nodes that leave the same requests.
func (n *node) dominates(o *node) bool {
	if n.value < o.value {
		return false
	}
	for i, t := range n.free {
		if t > o.free[i] {
			return false
		}
	}
	return true
}

// queue is a binary heap of nodes: greatest bound first, then greatest value.
type queue []*node

func (n *node) before(o *node) bool {
	if n.bound != o.bound {
		return n.bound > o.bound
	}
	return n.value > o.value
}

func (q *queue) push(n *node) {
	h := append(*q, n)
	*q = h
	for i := len(h) - 1; i > 0 && h[i].before(h[(i-1)/2]); i = (i - 1) / 2 {
		h[i], h[(i-1)/2] = h[(i-1)/2], h[i]
	}
}

func (q *queue) pop() *node {
	h := *q
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], nil
	h = h[:last]
	*q = h
	for i := 0; ; {
		best := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if h[child].before(h[best]) {
				best = child
			}
		}
		if best == i {
			return first
		}
		h[i], h[best] = h[best], h[i]
		i = best
	}
}

// schedule returns the best that the search found.
func (s *search) schedule() Schedule {
	out := Schedule{Value: s.best.value, Bound: s.bound}
	for n := s.best; n.from != nil; n = n.from {
		b := Batch{Subnet: n.subnet, Start: n.start}
		for rest := n.batch; rest != 0; rest &= rest - 1 {
			b.Requests = append(b.Requests, s.original[bits.TrailingZeros64(rest)])
		}
		out.Batches = append(out.Batches, b)
	}
	s.caller.place(&out)
	return out
}

// place completes a schedule whose batches stand in reverse order, with their
// ends and workers: each has the one that is free first.
func (in *Instance) place(s *Schedule) {
	slices.Reverse(s.Batches)
	free := in.free(math.MinInt64)
	for i := range s.Batches {
		b := &s.Batches[i]
		images := 0
		for _, r := range b.Requests {
			images += in.Requests[r].Size
		}
		b.End = b.Start + in.Profile.Latency(b.Subnet, images)
		for w, t := range free {
			if t < free[b.Worker] {
				b.Worker = w
			}
		}
		free[b.Worker] = b.End
	}
	slices.SortStableFunc(s.Batches, func(a, b Batch) int { return cmp.Compare(a.Start, b.Start) })
}
