package optimum

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// randomFluid returns a relaxation of up to eight jobs, and its slopes.
func randomFluid(r *rand.Rand) (f fluid, slopes []float64) {
	for range 1 + r.IntN(8) {
		release := float64(r.IntN(12))
		j := job{release: release, due: release + float64(1+r.IntN(10))}
		var points []point
		for range 1 + r.IntN(3) {
			points = append(points, point{float64(1 + r.IntN(6)), r.Float64()})
		}
		j.gain = newFrontier(points)
		for _, s := range j.gain {
			slopes = append(slopes, s.slope)
		}
		f.jobs = append(f.jobs, j)
	}
	slices.SortFunc(f.jobs, func(a, b job) int { return cmp.Compare(a.release, b.release) })
	return f, falling(slopes)
}

// cut returns the most work that can be done, by the theorem of the minimal cut:
// the least, over all sets of jobs, of the time that the windows of the set cover
// plus what the others demand.
func cut(jobs []job, lambda float64) float64 {
	least := math.Inf(1)
	for set := range 1 << len(jobs) {
		sum, covered := 0.0, math.Inf(-1)
		for i, j := range jobs { // by release
			if set>>i&1 == 0 {
				sum += j.gain.demand(lambda)
			} else if j.due > covered {
				sum += j.due - max(j.release, covered)
				covered = j.due
			}
		}
		least = min(least, sum)
	}
	return least
}

func TestWorkIsTheMostPossible(t *testing.T) {
	for seed := range uint64(500) {
		f, slopes := randomFluid(rand.New(rand.NewPCG(seed, 0)))
		for _, lambda := range slopes {
			if got, want := f.work(lambda), cut(f.jobs, lambda); math.Abs(got-want) > 1e-9 {
				t.Fatalf("seed %d: %v done of %+v at %v, possible is %v", seed, got, f.jobs, lambda, want)
			}
		}
	}
}

// TestValue has the integral computed exactly, and within the slack.
func TestValue(t *testing.T) {
	for seed := range uint64(500) {
		f, slopes := randomFluid(rand.New(rand.NewPCG(seed, 1)))
		want := 0.0
		for i, lambda := range slopes {
			below := 0.0
			if i+1 < len(slopes) {
				below = slopes[i+1]
			}
			want += (lambda - below) * cut(f.jobs, lambda)
		}
		for _, slack := range []float64{0, 0.01, 0.3} {
			if got := f.value(slopes, slack); got < want-1e-9 || got > want+slack+1e-9 {
				t.Fatalf("seed %d: %v with slack %v, want %v", seed, got, slack, want)
			}
		}
	}
}

func TestFrontier(t *testing.T) {
	points := []point{{2, 0.7}, {4, 0.8}, {3, 0.6}, {3, 0.71}, {8, 0.9}, {9, 0.9}}
	f := newFrontier(slices.Clone(points))
	// (3, 0.71) is under the line from (2, 0.7) to (4, 0.8).
	want := frontier{{0.35, 2}, {0.05, 4}, {0.025, 8}}
	if !slices.EqualFunc(f, want, func(a, b segment) bool { return math.Abs(a.slope-b.slope) < 1e-12 && a.upto == b.upto }) {
		t.Errorf("%v, want %v", f, want)
	}
	if math.Abs(f.top()-0.9) > 1e-12 {
		t.Errorf("top %v", f.top())
	}
	for lambda, cost := range map[float64]float64{1: 0, 0.3: 2, 0.04: 4, 0.01: 8} {
		if got := f.demand(lambda); got != cost {
			t.Errorf("demand at %v is %v, want %v", lambda, got, cost)
		}
	}
}
