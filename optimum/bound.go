package optimum

import (
	"cmp"
	"slices"

	"weft/sched"
)

// slack is how much Bound may exceed the relaxation's optimum, as a share of a
// request's worth for each request.
const slack = 1e-6

// Bound returns a value that no schedule exceeds, in a few passes over the
// requests (a second or so for a million). It is the optimum of a relaxation:
//
//   - A request in a batch of b images that takes l has a share of size·l/b of
//     its worker's time, all of it between its arrival and its deadline, as the
//     batch runs between the last arrival and the first deadline of its members.
//     A subnet's cost to a request is its least share, over the batch sizes that
//     the request could be part of: at some moment, that many images are there
//     which all have the batch's latency left (crowd).
//   - A request may run in a mix of subnets, in pieces, on several workers at a
//     time: its gain is the least concave function of the time it gets that is
//     above (0, 0) and every (cost, accuracy), the frontier.
//
// A schedule gives each request some time within its window, at no more than
// Workers in all at any moment, and no request is worth more than its gain of
// it. So the optimum is at most the greatest sum of gains over all ways to give
// time, which fluid.value finds.
func Bound(in Instance) (float64, error) {
	return in.bound(func(s *sched.Subnet) float64 { return s.Accuracy })
}

// BoundMet returns a number of requests that no schedule exceeds in answering in
// time: Bound for accuracies of 1.
func BoundMet(in Instance) (float64, error) {
	return in.bound(func(*sched.Subnet) float64 { return 1 })
}

func (in *Instance) bound(worth func(*sched.Subnet) float64) (float64, error) {
	if err := in.validate(); err != nil {
		return 0, err
	}
	if in.Workers == 0 {
		return 0, nil
	}
	c := newCrowd(in)
	gains, slopes := c.gains(worth)
	f := fluid{jobs: make([]job, 0, len(in.Requests))}
	for _, i := range c.byArrival {
		r := &in.Requests[i]
		if g := gains[i]; len(g) > 0 {
			w := float64(in.Workers)
			f.jobs = append(f.jobs, job{w * float64(r.Arrival), w * float64(r.Deadline), g})
		}
	}
	return f.value(slopes, slack*float64(len(f.jobs))), nil
}

// gains returns the frontier of each request, and the slopes of all. Requests
// that could be part of the same batches share a frontier: there are few kinds.
func (c *crowd) gains(worth func(*sched.Subnet) float64) (gains []frontier, slopes []float64) {
	type step struct {
		before int32 // kind so far
		cost   float64
	}
	kinds := make([]int32, len(c.Requests))
	points := [][]point{nil} // of each kind
	cost := make([]float64, len(c.Requests))
	for subnet, s := range c.Profile.Subnets {
		clear(cost)
		left := len(cost)
		for _, images := range c.cheapestFirst(subnet) {
			if left == 0 {
				break
			}
			share := float64(s.Latency[images-1]) / float64(images)
			c.each(subnet, images, func(i int32) {
				if cost[i] == 0 {
					cost[i] = share * float64(c.Requests[i].Size)
					left--
				}
			})
		}
		next := map[step]int32{}
		for i, k := range kinds {
			if cost[i] == 0 {
				continue
			}
			to, ok := next[step{k, cost[i]}]
			if !ok {
				to = int32(len(points))
				points = append(points, append(slices.Clone(points[k]), point{cost[i], worth(&s)}))
				next[step{k, cost[i]}] = to
			}
			kinds[i] = to
		}
	}
	frontiers := make([]frontier, len(points))
	for k, p := range points {
		frontiers[k] = newFrontier(p)
		for _, s := range frontiers[k] {
			slopes = append(slopes, s.slope)
		}
	}
	gains = make([]frontier, len(kinds))
	for i, k := range kinds {
		gains[i] = frontiers[k]
	}
	return gains, falling(slopes)
}

// cheapestFirst returns the batch sizes, those with the least time an image first.
func (c *crowd) cheapestFirst(subnet int) []int {
	sizes := make([]int, c.Profile.MaxBatch)
	for i := range sizes {
		sizes[i] = i + 1
	}
	share := func(images int) float64 { return float64(c.Profile.Latency(subnet, images)) / float64(images) }
	slices.SortStableFunc(sizes, func(a, b int) int { return cmp.Compare(share(a), share(b)) })
	return sizes
}
