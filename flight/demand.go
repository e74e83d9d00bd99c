package flight

import (
	"slices"
	"sort"
	"time"

	"weft/serve"
)

// demand weighs what was to be done until a request's deadline against what the
// workers can do until then. Of each ratio it has the highest, over the times since
// which something waited.
type demand struct {
	workers int
	load    float64 // the least work of the requests that were due
	batches float64 // and the rest of the batches that ran before
	overrun float64 // and what batches took in excess of their profile
	excess  time.Duration
	// images is the mean size of the batches that ran while the request waited, of any model,
	// generous their profiled time over the least work of what was in them.
	images, generous float64
}

// demand computes that of a request.
func (m *Model) demand(r *serve.Record) demand {
	d := demand{workers: m.capable()}
	if d.workers == 0 {
		return d
	}
	work := time.Duration(0)
	s := m.shared
	first, end := s.stretch(r)
	for i := end - 1; i >= first; i-- {
		o := &s.arrivals[i]
		if o.Deadline <= r.Deadline {
			work += o.work
		}
		alike := i > first && s.arrivals[i-1].Arrival == o.Arrival
		if o.Arrival <= r.Arrival && !alike && sampled(end-1-i, i == first) {
			d.weigh(s, o.Arrival, r.Deadline, work)
		}
	}
	d.describe(m, r)
	return d
}

// sampled thins out the times at which a long stretch is looked at: every ratio
// holds, and so the highest of some does.
func sampled(back int, last bool) bool {
	const near, step = 256, 32
	return last || back < near || back%step == 0
}

// weigh takes the ratios for the time from q to the deadline into account.
func (d *demand) weigh(s *shared, q, deadline, work time.Duration) {
	capacity := float64(deadline-q) * float64(d.workers)
	rest, excess := s.occupied(q, deadline)
	d.load = max(d.load, float64(work)/capacity)
	d.batches = max(d.batches, float64(work+rest)/capacity)
	if ratio := float64(work+rest+excess) / capacity; ratio > d.overrun {
		d.overrun, d.excess = ratio, excess
	}
}

// capable returns the number of workers that were up or ran a batch.
func (m *Model) capable() int {
	seen := make(map[int]bool)
	for _, b := range m.shared.batches {
		seen[b.Worker] = true
	}
	return max(m.Workers, len(seen))
}

// stretch returns the indices of the requests that came during the stretch, up to
// the deadline of r, in which r waited and something waited all the time.
func (s *shared) stretch(r *serve.Record) (first, end int) {
	from := r.Arrival
	if i, found := slices.BinarySearchFunc(s.waits, r.Arrival, func(w span, at time.Duration) int {
		switch {
		case w.to < at:
			return -1
		case w.from > at:
			return 1
		}
		return 0
	}); found {
		from = s.waits[i].from
	}
	came := func(at time.Duration) int {
		return sort.Search(len(s.arrivals), func(i int) bool { return s.arrivals[i].Arrival >= at })
	}
	return came(from), came(r.Deadline)
}

// occupied returns the time that the batches which run at q have left until to,
// by their profile, and what batches take in excess of it from q to there.
func (s *shared) occupied(q, to time.Duration) (rest, excess time.Duration) {
	started := func(at time.Duration) int {
		return sort.Search(len(s.batches), func(i int) bool { return s.batches[i].Dispatched >= at })
	}
	at := started(q)
	for i := started(q - s.longest); i < at; i++ {
		b := &s.batches[i]
		due := b.Dispatched + b.Profiled
		rest += max(min(due, b.Done, to)-q, 0)
		excess += max(min(b.Done, to)-max(due, q), 0)
	}
	end := max(started(to), at)
	cut := min(max(started(to-s.longest), at), end) // the batches from there on may end after to
	excess += s.excess[cut] - s.excess[at]
	for i := cut; i < end; i++ {
		b := &s.batches[i]
		excess += max(min(b.Done, to)-(b.Dispatched+b.Profiled), 0)
	}
	return rest, excess
}

// describe looks at the batches that ran while the request waited.
func (d *demand) describe(m *Model, r *serve.Record) {
	batches := m.During(r.Arrival, m.left(r))
	if len(batches) == 0 {
		return
	}
	images, least, took := 0, time.Duration(0), time.Duration(0)
	for _, b := range batches {
		images += b.Images
		least += b.Model.Profile.Latency(0, b.Model.MaxBatch) * time.Duration(b.Images) / time.Duration(b.Model.MaxBatch)
		took += b.Profiled
	}
	d.images = float64(images) / float64(len(batches))
	d.generous = float64(took) / float64(max(least, 1))
}
