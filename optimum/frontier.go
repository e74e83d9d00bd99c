package optimum

import (
	"cmp"
	"slices"
)

// point is one way to serve a request: what it costs, in worker time, and what
// it is worth.
type point struct{ cost, value float64 }

// segment is a piece of a concave function of the cost: up to a cost of upto the
// value rises by slope for each unit.
type segment struct{ slope, upto float64 }

// frontier is the least concave function through (0, 0) that no point exceeds,
// as segments of falling slope.
type frontier []segment

// newFrontier sorts the points and may change them.
func newFrontier(points []point) frontier {
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.cost, b.cost), cmp.Compare(b.value, a.value))
	})
	hull := make([]point, 1, len(points)+1) // (0, 0)
	for _, p := range points {
		if p.value <= hull[len(hull)-1].value {
			continue
		}
		for len(hull) > 1 && slope(hull[len(hull)-2], hull[len(hull)-1]) <= slope(hull[len(hull)-1], p) {
			hull = hull[:len(hull)-1]
		}
		hull = append(hull, p)
	}
	f := make(frontier, len(hull)-1)
	for i := range f {
		f[i] = segment{slope(hull[i], hull[i+1]), hull[i+1].cost}
	}
	return f
}

func slope(a, b point) float64 { return (b.value - a.value) / (b.cost - a.cost) }

// demand returns the cost up to which the frontier rises by lambda or more.
func (f frontier) demand(lambda float64) float64 {
	cost := 0.0
	for _, s := range f {
		if s.slope < lambda {
			break
		}
		cost = s.upto
	}
	return cost
}

// top returns the greatest value.
func (f frontier) top() float64 {
	value, from := 0.0, 0.0
	for _, s := range f {
		value += s.slope * (s.upto - from)
		from = s.upto
	}
	return value
}

// falling sorts slopes and leaves out repetitions.
func falling(slopes []float64) []float64 {
	slices.Sort(slopes)
	slopes = slices.Compact(slopes)
	slices.Reverse(slopes)
	return slopes
}
