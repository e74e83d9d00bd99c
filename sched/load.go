package sched

import "time"

// Load is what a scheduler knows of the work that its model is asked for. The sums grow
// from the start on and may wrap around; take differences.
type Load struct {
	Images int64 // that arrived
	// Work is the least worker time that they need on the profile's clock: in full
	// batches of the smallest subnets that their requests accept.
	Work    time.Duration
	Allowed time.Duration // sum of the images' times from arrival to deadline
	Waiting time.Duration // as Work, of what waits now
	Drift   float64       // see Drift
}

// add counts a request that arrives.
func (l *Load) add(now time.Duration, e *entry) {
	l.Images += int64(e.Size)
	l.Work += e.work
	l.Allowed += time.Duration(e.Size) * max(e.Deadline-now, 0)
}

// Load returns the load so far.
func (s *Scheduler) Load() Load {
	l := s.load
	l.Waiting, l.Drift = s.ready.work+s.late.work, s.drift
	return l
}
