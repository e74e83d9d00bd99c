package workload

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Poisson returns arrivals of that mean rate (1/s) with exponential gaps.
func Poisson(rate float64, length time.Duration, seed uint64) []time.Duration {
	return Gamma(rate, 1, length, seed)
}

// Gamma returns arrivals of that mean rate (1/s) whose gaps are gamma
// distributed with squared coefficient of variation cv2 (0: constant gaps).
func Gamma(rate, cv2 float64, length time.Duration, seed uint64) []time.Duration {
	return renewal(func(float64) float64 { return rate }, cv2, length, seed)
}

// Bursty returns SuperServe's bursty trace: a base stream of constant gaps
// merged with a stream of gamma gaps. Rates are in 1/s.
func Bursty(base, variant, cv2 float64, length time.Duration, seed uint64) []time.Duration {
	arrivals := slices.Concat(Gamma(base, 0, length, seed), Gamma(variant, cv2, length, seed))
	slices.Sort(arrivals)
	return arrivals
}

// Ramp returns SuperServe's time-varying trace: the rate stays at one value (1/s) for
// after, then goes to the other by accel (1/s²), the next gap being gamma distributed
// with the mean that the rate of the moment gives.
func Ramp(from, to, accel, cv2 float64, after, length time.Duration, seed uint64) []time.Duration {
	rate := func(t float64) float64 {
		t = max(t-after.Seconds(), 0)
		if to < from {
			return max(from-accel*t, to)
		}
		return min(from+accel*t, to)
	}
	return renewal(rate, cv2, length, seed)
}

// maxCV2 keeps gaps apart from 0: beyond it nearly all of them underflow.
const maxCV2 = 100

// renewal draws gaps of mean 1/rate(t) one after the other.
func renewal(rate func(t float64) float64, cv2 float64, length time.Duration, seed uint64) []time.Duration {
	if rate(0) <= 0 {
		return nil
	}
	unit := unitGaps(cv2, rand.NewPCG(seed, 0))
	var arrivals []time.Duration
	t := 0.0
	for {
		t += unit() / rate(t)
		if t >= length.Seconds() {
			return arrivals
		}
		arrivals = append(arrivals, fromSeconds(t))
	}
}
