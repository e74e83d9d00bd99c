package serve

import (
	"slices"
	"time"

	"weft/sched"
)

// Status is what a Router knows about itself at one moment.
type Status struct {
	Ready           bool
	Workers, Free   int // that run the model: up; up and idle
	WaitingRequests int
	WaitingImages   int
	InFlight        int // requests that wait or run
	// Attainment is the share of the last Accounted (up to 1024) requests that
	// met their deadline. Dropped and refused ones count, withdrawn ones don't.
	Attainment float64
	Accounted  int
	// Pace is how long batches take of late as a multiple of the profile, as the
	// scheduler sees it and allows for.
	Pace float64
	// Drift is, by subnet, the moving average of measured over profiled time
	// (0: not run yet).
	Drift []float64
	// Load is what the model is asked for.
	Load sched.Load
}

// Status returns the present state.
func (r *Router) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	st := Status{
		Ready:     r.unready() == "",
		Workers:   r.sched.Up(),
		Free:      r.sched.Free(),
		Pace:      r.sched.Drift(),
		Drift:     slices.Clone(r.drift),
		Load:      r.sched.Load(),
		InFlight:  r.slots.used,
		Accounted: min(r.recent.total, len(r.recent.met)),
	}
	st.WaitingRequests, st.WaitingImages = r.sched.Waiting()
	st.Attainment = float64(r.recent.sum) / float64(max(st.Accounted, 1))
	return st
}

// Backlog returns how long the workers need at least for what waits.
func (r *Router) Backlog() time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sched.Backlog(r.now())
}

// driftWeight is the weight of the newest batch in the moving average.
const driftWeight = 1. / 32

// observe compares the time of a batch with its profile.
func (r *Router) observe(subnet, images int, took time.Duration) {
	ratio := float64(took) / float64(r.model.Profile.Latency(subnet, images))
	if r.drift[subnet] == 0 {
		r.drift[subnet] = ratio
	}
	r.drift[subnet] += driftWeight * (ratio - r.drift[subnet])
}

// window remembers whether the latest requests met their deadline.
type window struct {
	met   [1024]bool
	total int // requests so far
	sum   int // of met
}

func (w *window) add(met bool) {
	slot := &w.met[w.total%len(w.met)]
	if *slot {
		w.sum--
	}
	if met {
		w.sum++
	}
	*slot = met
	w.total++
}
