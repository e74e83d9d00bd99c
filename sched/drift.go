package sched

import "time"

const (
	// driftWeight is the weight of the newest batch in the moving average.
	driftWeight = 1. / 16
	// maxDrift bounds what a single batch can say.
	maxDrift = 4
	// riskQuantile is the share of the batches that stay within Scheduler.Risk.
	riskQuantile = 0.99
	// riskStep is by how much a batch beyond it raises it, about.
	riskStep = 0.1
)

// learn follows how long batches take beside what the profile says: their mean,
// and a quantile by stochastic approximation (Robbins and Monro, 1951), which goes
// up by p and down by 1-p and so comes to rest where a share of p is below. Batches that
// are shorter than a full one of the smallest subnet count for less, as what a batch
// costs beside computing is much to them, and says little of those that count under load.
func (s *Scheduler) learn(now, took, takes time.Duration) {
	s.learned = now
	if s.opt.FixedProfile {
		return
	}
	ratio := min(max(float64(took)/float64(takes), 1./maxDrift), maxDrift)
	weight := min(float64(takes)/float64(s.profile.Latency(0, s.profile.MaxBatch)), 1)
	s.drift += weight * driftWeight * (ratio - s.drift)
	if ratio > s.risk {
		s.risk += weight * riskStep * riskQuantile
	} else {
		s.risk -= weight * riskStep * (1 - riskQuantile)
	}
}

// doubt moves the drift back towards 1 when a request is given up although no
// batch has run for long: else a spell of slow batches could make every request
// look hopeless, and nothing would ever run to show that the spell is over.
func (s *Scheduler) doubt(now time.Duration) {
	if s.running == 0 && now-s.learned > maxDrift*s.longest {
		s.drift += driftWeight * (1 - s.drift)
		s.risk += driftWeight * (1 - s.risk)
	}
}

// slack returns the time, on the profile's clock, that a request of that
// deadline can still spend on computing.
func (s *Scheduler) slack(deadline, now time.Duration) time.Duration {
	left := deadline - now - s.opt.Margin
	if s.drift == 1 {
		return left
	}
	return time.Duration(float64(left) / s.drift)
}

// doom returns the last moment at which a dispatch can still meet the request's
// deadline.
func (s *Scheduler) doom(e *entry) time.Duration {
	fastest := e.fastest
	if s.drift != 1 {
		fastest = time.Duration(float64(fastest) * s.drift)
	}
	return e.Deadline - s.opt.Margin - fastest
}
