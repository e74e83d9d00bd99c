// Package compare times two engines side by side and keeps what came out.
package compare

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// Side is an engine with its work loaded and run at least once.
type Side interface {
	// Run does so many timed runs, after an untimed one if warm is set, and returns the
	// time of one.
	Run(runs int, warm bool) (time.Duration, error)
	// Settle waits until the threads of the engine are asleep.
	Settle() error
}

// Effort says how long a comparison may take.
type Effort struct {
	Slice    time.Duration // of one side's turn, at least
	Budget   time.Duration // of all turns, about
	Min, Max int           // rounds
}

// Timing is the outcome of a Duel.
type Timing struct {
	Peer, Weft time.Duration // of one run, medians over rounds
	Rounds     int
	Spread     float64 // of the rounds' ratios: their interquartile range over their median
}

// Ratio is how many times as long the peer takes.
func (t Timing) Ratio() float64 { return float64(t.Peer) / float64(t.Weft) }

// warmBelow is the length of a run from which on it needs no untimed one before it: what
// the other side left in the caches is then no longer felt.
const warmBelow = 60 * time.Millisecond

// Duel lets two sides take turns, each round in the other order, and returns the medians.
func Duel(peer, weft Side, e Effort) (Timing, error) {
	sides := [2]Side{peer, weft}
	var runs [2]int
	var one [2]time.Duration
	var turn time.Duration
	for i, s := range sides {
		t, err := s.Run(1, true)
		if err := errors.Join(err, s.Settle()); err != nil {
			return Timing{}, err
		}
		one[i] = t
		runs[i] = int(min(max((e.Slice+t-1)/t, 1), 100_000))
		turn += t * time.Duration(runs[i])
		if t < warmBelow {
			turn += t
		}
	}
	n := rounds(e, turn)
	var times [2][]float64
	var ratios []float64
	for r := range n {
		for k := range sides {
			i := (k + r) % 2
			t, err := sides[i].Run(runs[i], one[i] < warmBelow)
			if err := errors.Join(err, sides[i].Settle()); err != nil {
				return Timing{}, err
			}
			times[i] = append(times[i], float64(t))
		}
		ratios = append(ratios, times[0][r]/times[1][r])
	}
	return Timing{
		Peer: time.Duration(Median(times[0])), Weft: time.Duration(Median(times[1])),
		Rounds: n, Spread: Spread(ratios),
	}, nil
}

// rounds returns how many rounds of a length fit the budget.
func rounds(e Effort, round time.Duration) int {
	return min(max(int(e.Budget/max(round, 1)), e.Min), e.Max)
}

// Median returns the middle of the values, or the mean of the middle two. It panics when
// there are none.
func Median(v []float64) float64 { return quantile(v, 0.5) }

// Spread returns the interquartile range over the median.
func Spread(v []float64) float64 { return (quantile(v, 0.75) - quantile(v, 0.25)) / Median(v) }

// quantile interpolates between order statistics (Hyndman and Fan 1996, type 7).
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		panic("compare: no values")
	}
	s := slices.Sorted(slices.Values(v))
	h := q * float64(len(s)-1)
	lo := int(h)
	hi := min(lo+1, len(s)-1)
	return s[lo] + (h-float64(lo))*(s[hi]-s[lo])
}

// GeoMean returns the geometric mean, 0 of nothing.
func GeoMean(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	sum := 0.0
	for _, x := range v {
		sum += math.Log(x)
	}
	return math.Exp(sum / float64(len(v)))
}

// Agree returns an error unless the values of both sides are equal within a share of the
// largest one.
func Agree(peer, weft []float32, within float64) error {
	if len(peer) != len(weft) || len(peer) == 0 {
		return fmt.Errorf("%d and %d values cannot be compared", len(peer), len(weft))
	}
	largest, diff, at := 0.0, 0.0, 0
	for i := range peer {
		p, w := float64(peer[i]), float64(weft[i])
		if d := math.Abs(p - w); d > diff || math.IsNaN(d) {
			diff, at = d, i
		}
		largest = max(largest, math.Abs(p))
	}
	if !(diff <= within*largest) { // NaN fails too
		return fmt.Errorf("value %d is %v for the peer and %v for weft, %.2g of the largest apart: at most %.2g may be",
			at, peer[at], weft[at], diff/largest, within)
	}
	return nil
}
