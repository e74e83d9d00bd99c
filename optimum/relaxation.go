package optimum

import (
	"cmp"
	"math/bits"
	"slices"
	"time"
)

// relaxation bounds what is left in an exact search by the fluid relaxation that
// Bound describes, for workers that are free from given times on.
type relaxation struct {
	in        *Instance
	byArrival []int
	options   [][]option // of each request, fastest batch first
	gains     map[gainKey]gain
	fluid     fluid
	slopes    []float64
}

// option is a kind of batch that a request may be part of.
type option struct {
	latency time.Duration
	images  int
	point
}

type gainKey struct{ request, options, images int }

type gain struct {
	frontier
	most float64
}

func newRelaxation(in *Instance, byArrival []int) relaxation {
	r := relaxation{in: in, byArrival: byArrival, options: make([][]option, len(in.Requests)), gains: map[gainKey]gain{}}
	c := newCrowd(in)
	for subnet, s := range in.Profile.Subnets {
		for images := 1; images <= in.Profile.MaxBatch; images++ {
			c.each(subnet, images, func(i int32) {
				l := s.Latency[images-1]
				cost := float64(in.Requests[i].Size) * float64(l) / float64(images)
				r.options[i] = append(r.options[i], option{l, images, point{cost, s.Accuracy}})
			})
		}
	}
	for _, o := range r.options {
		slices.SortStableFunc(o, func(a, b option) int { return cmp.Compare(a.latency, b.latency) })
	}
	return r
}

// bound returns an upper bound of what the requests left can add when workers
// are free from the given times on, and those of them that can add something. It
// need not be exact where it is no more than enough.
func (r *relaxation) bound(left uint64, free []time.Duration, enough float64) (float64, uint64) {
	images := 0
	for rest := left; rest != 0; rest &= rest - 1 {
		images += r.in.Requests[bits.TrailingZeros64(rest)].Size
	}
	images = min(images, r.in.Profile.MaxBatch)
	r.fluid.jobs, r.slopes = r.fluid.jobs[:0], r.slopes[:0]
	sum := 0.0
	for _, i := range r.byArrival {
		if left>>i&1 == 0 {
			continue
		}
		q := &r.in.Requests[i]
		release := max(q.Arrival, free[0])
		g := r.gain(i, q.Deadline-release, images)
		if g.most == 0 {
			left &^= 1 << i
			continue
		}
		sum += g.most
		for _, s := range g.frontier {
			r.slopes = append(r.slopes, s.slope)
		}
		r.fluid.jobs = append(r.fluid.jobs, job{work(free, release), work(free, q.Deadline), g.frontier})
	}
	if sum <= enough {
		return sum, left
	}
	return min(sum, r.fluid.value(falling(r.slopes), 0)), left
}

// gain returns what a request can be worth that has so much time left, in
// batches of no more images than that.
func (r *relaxation) gain(i int, left time.Duration, images int) gain {
	n, _ := slices.BinarySearchFunc(r.options[i], left+1, func(o option, t time.Duration) int { return cmp.Compare(o.latency, t) })
	key := gainKey{i, n, images}
	g, ok := r.gains[key]
	if !ok {
		var points []point
		for _, o := range r.options[i][:n] {
			if o.images <= images {
				points = append(points, o.point)
			}
		}
		g.frontier = newFrontier(points)
		g.most = g.top()
		r.gains[key] = g
	}
	return g
}

// work returns how much the workers can do up to t, in worker time.
func work(free []time.Duration, t time.Duration) float64 {
	sum := 0.0
	for _, f := range free {
		sum += float64(max(t-f, 0))
	}
	return sum
}
