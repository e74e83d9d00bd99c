package search

import (
	"cmp"
	"math"
	"slices"
)

// Front returns, by rising cost, the results that no other beats: none has at least the
// accuracy at less cost, or more accuracy at the same.
func Front(results []Result, cost func(*Result) float64) []Result {
	sorted := slices.Clone(results)
	slices.SortStableFunc(sorted, func(a, b Result) int {
		return cmp.Or(cmp.Compare(cost(&a), cost(&b)), cmp.Compare(b.Accuracy, a.Accuracy))
	})
	var front []Result
	for _, r := range sorted {
		if len(front) == 0 || r.Accuracy > front[len(front)-1].Accuracy {
			front = append(front, r)
		}
	}
	return front
}

// Costs are what accuracy may be weighed against, by name.
var Costs = map[string]func(*Result) float64{
	"macs":    ByMACs,
	"params":  func(r *Result) float64 { return float64(r.Params) },
	"memory":  func(r *Result) float64 { return float64(r.Memory) },
	"latency": func(r *Result) float64 { return r.Latency.Seconds() },
}

// ByMACs is the cost in multiply-accumulates of one image.
func ByMACs(r *Result) float64 { return float64(r.MACs) }

// Hypervolume returns the area that results dominate below a cost and above an accuracy: the
// measure by which fronts are compared (Zitzler and Thiele, 1999).
func Hypervolume(results []Result, cost func(*Result) float64, worst, least float64) float64 {
	area, best := 0.0, least
	for _, r := range Front(results, cost) {
		if c := cost(&r); c < worst && r.Accuracy > best {
			area += (worst - c) * (r.Accuracy - best)
			best = r.Accuracy
		}
	}
	return area
}

// KendallTau returns Kendall's rank correlation τ-b of two series: 1 where they rank alike,
// −1 where they rank in reverse. Ties are corrected for; 0 where a series is all ties, which
// rank nothing. It takes n·log n steps (Knight, 1966).
func KendallTau(x, y []float64) float64 {
	n := len(x)
	at := make([]int, n)
	for i := range at {
		at[i] = i
	}
	slices.SortFunc(at, func(i, j int) int { return cmp.Or(cmp.Compare(x[i], x[j]), cmp.Compare(y[i], y[j])) })
	pairs := func(same func(i, j int) bool) float64 {
		sum, run := 0, 1
		for k := 1; k <= n; k++ {
			if k < n && same(at[k-1], at[k]) {
				run++
				continue
			}
			sum += run * (run - 1) / 2
			run = 1
		}
		return float64(sum)
	}
	tiedX := pairs(func(i, j int) bool { return x[i] == x[j] })
	tiedBoth := pairs(func(i, j int) bool { return x[i] == x[j] && y[i] == y[j] })
	swaps := inversions(at, make([]int, n), func(i, j int) bool { return y[j] < y[i] })
	tiedY := pairs(func(i, j int) bool { return y[i] == y[j] }) // by now at is sorted by y
	all := float64(n) * float64(n-1) / 2
	if all == tiedX || all == tiedY {
		return 0
	}
	concordant := all - tiedX - tiedY + tiedBoth - 2*float64(swaps)
	return concordant / math.Sqrt((all-tiedX)*(all-tiedY))
}

// inversions sorts at by merging, and counts the pairs that stood in the wrong order.
func inversions(at, scratch []int, less func(j, i int) bool) int {
	n := len(at)
	if n < 2 {
		return 0
	}
	left, right := at[:n/2], at[n/2:]
	count := inversions(left, scratch[:n/2], less) + inversions(right, scratch[n/2:], less)
	merged := scratch[:0]
	i, j := 0, 0
	for i < len(left) || j < len(right) {
		if j == len(right) || i < len(left) && !less(left[i], right[j]) {
			merged = append(merged, left[i])
			i++
			continue
		}
		merged = append(merged, right[j])
		count += len(left) - i
		j++
	}
	copy(at, merged)
	return count
}
