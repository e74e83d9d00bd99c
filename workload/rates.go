package workload

import (
	"math"
	"math/rand/v2"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// Rates are the mean arrivals a second in consecutive bins of one length.
type Rates struct {
	Bin       time.Duration
	PerSecond []float64
}

// Arrivals draws arrivals at the rates: a renewal process of gamma gaps with squared
// coefficient of variation cv2 (1: Poisson; 0: evenly spaced) on a clock that runs as
// fast as the rate of the moment.
func (r *Rates) Arrivals(cv2 float64, seed uint64) []time.Duration {
	gap := unitGaps(cv2, rand.NewPCG(seed, 0))
	bin := r.Bin.Seconds()
	arrivals := make([]time.Duration, 0, int(1.01*r.total())+100)
	next := gap() // the integral of the rate from the start of the bin to the next arrival
	for i, rate := range r.PerSecond {
		whole := rate * bin
		for ; next < whole; next += gap() {
			arrivals = append(arrivals, fromSeconds((float64(i)+next/whole)*bin))
		}
		next -= whole
	}
	return arrivals
}

// unitGaps returns a source of gamma gaps of mean 1.
func unitGaps(cv2 float64, src rand.Source) func() float64 {
	if cv2 == 0 {
		return func() float64 { return 1 }
	}
	return distuv.Gamma{Alpha: 1 / cv2, Beta: 1 / cv2, Src: src}.Rand
}

// total returns the expected number of arrivals.
func (r *Rates) total() float64 {
	total := 0.0
	for _, rate := range r.PerSecond {
		total += rate * r.Bin.Seconds()
	}
	return total
}

// squeeze returns the same arrivals within another length of time.
func (r *Rates) squeeze(length time.Duration) Rates {
	s := Rates{Bin: max(length/time.Duration(len(r.PerSecond)), 1)}
	for _, rate := range r.PerSecond {
		s.PerSecond = append(s.PerSecond, rate*float64(r.Bin)/float64(s.Bin))
	}
	return s
}

// scale gives the rates another mean. Where nothing arrives nothing will.
func (r *Rates) scale(mean float64) {
	total := r.total()
	if total == 0 {
		return
	}
	factor := mean * r.Bin.Seconds() * float64(len(r.PerSecond)) / total
	for i := range r.PerSecond {
		r.PerSecond[i] *= factor
	}
}

// The shape that MAF gives to a day, in parts of the mean rate.
const (
	mafMinutes = 24 * 60
	mafTide    = 0.15 // amplitude of the day's tide
	mafNoise   = 0.02 // standard deviation of what each minute adds to a drift ...
	mafMemory  = 0.9  // ... of which this part is left a minute later
)

// mafTimers are the spikes of a minute that functions started by timers make: every so
// many minutes, of at most that height.
var mafTimers = []struct {
	every  int
	height float64
}{{5, 0.06}, {15, 0.12}, {60, 0.25}}

// MAF returns rates in the likeness of a day of the Azure Functions trace, squeezed into
// length: a tide over the day, drift from minute to minute, and spikes of single minutes
// where timers go off together. It is synthesised, with mean and peak as given (1/s), for
// where the trace itself is not at hand; SuperServe has a mean of 6400, a peak of 8750
// and 120 s.
func MAF(mean, peak float64, length time.Duration, seed uint64) Rates {
	rng := rand.New(rand.NewPCG(seed, 1))
	r := Rates{Bin: length / mafMinutes, PerSecond: make([]float64, mafMinutes)}
	drift, sum, top := 0.0, 0.0, math.Inf(-1)
	for i := range r.PerSecond {
		drift = mafMemory*drift + mafNoise*rng.NormFloat64()
		v := drift - mafTide*math.Cos(2*math.Pi*float64(i)/mafMinutes)
		for _, t := range mafTimers {
			if i%t.every == 0 {
				v += t.height * rng.Float64()
			}
		}
		r.PerSecond[i] = v
		sum += v
		top = max(top, v)
	}
	average := sum / mafMinutes
	for i, v := range r.PerSecond {
		r.PerSecond[i] = max(mean+(v-average)*(peak-mean)/(top-average), 0)
	}
	return r
}
