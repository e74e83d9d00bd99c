// Package workload makes load: it generates and reads arrival traces, sends
// requests at their times without waiting for answers (open loop), and accounts
// for what became of each, whether a server or a simulation answered.
package workload

import "time"

// Trace is a sequence of arrivals.
type Trace struct {
	Spec     string          // what it was made from
	Arrivals []time.Duration // since the start, in order
}

// Duration returns the time of the last arrival.
func (t *Trace) Duration() time.Duration {
	if len(t.Arrivals) == 0 {
		return 0
	}
	return t.Arrivals[len(t.Arrivals)-1]
}

// Rate returns the mean number of arrivals a second.
func (t *Trace) Rate() float64 {
	if d := t.Duration(); d > 0 {
		return float64(len(t.Arrivals)) / d.Seconds()
	}
	return 0
}

// CV2 returns the squared coefficient of variation of the gaps between arrivals.
func (t *Trace) CV2() float64 {
	n := float64(len(t.Arrivals) - 1)
	if n < 1 {
		return 0
	}
	mean := (t.Duration() - t.Arrivals[0]).Seconds() / n
	variance := 0.0
	for i := 1; i < len(t.Arrivals); i++ {
		d := (t.Arrivals[i] - t.Arrivals[i-1]).Seconds() - mean
		variance += d * d / n
	}
	if mean == 0 {
		return 0
	}
	return variance / (mean * mean)
}
