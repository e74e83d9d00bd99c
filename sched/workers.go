package sched

import (
	"math"
	"slices"
	"time"
)

// worker is what a group knows about one executor.
type worker struct {
	up    bool          // it takes batches
	runs  []*Scheduler  // the models that it runs
	holds int           // the subnet in its memory, -1: none yet; see Options.Load
	batch uint64        // that it runs; 0: idle
	model *Scheduler    // of the batch
	since time.Duration // when the batch was dispatched
	takes time.Duration // according to the profile; 0: it only loads
	load  time.Duration // before that
	run   []*entry      // the batch's requests
	ids   []uint64      // the same, for the caller
}

// workerUp starts the worker, or has one that is up run one more model.
func (g *Group) workerUp(i int, s *Scheduler) {
	for len(g.workers) <= i {
		g.workers = append(g.workers, worker{})
	}
	w := &g.workers[i]
	if !w.up || slices.Contains(w.runs, s) {
		g.workerDown(i)
		w.up, w.holds = true, -1
		g.free = append(g.free, i)
	}
	w.run = slices.Grow(w.run, max(s.profile.MaxBatch-len(w.run), 0))
	w.ids = slices.Grow(w.ids, max(s.profile.MaxBatch-len(w.ids), 0))
	w.runs = append(w.runs, s)
	s.up++
	if w.batch == 0 {
		s.idle++
	}
}

// workerDown takes the worker out and its batch back.
func (g *Group) workerDown(i int) {
	if i >= len(g.workers) {
		return
	}
	g.workerLeave(i)
	w := &g.workers[i]
	if w.batch == 0 {
		return
	}
	s := w.model
	w.batch = 0
	s.running--
	for _, e := range w.run {
		s.again(e)
	}
	w.run = w.run[:0]
}

// workerLeave takes the worker out once it has nothing to do.
func (g *Group) workerLeave(i int) {
	if i >= len(g.workers) || !g.workers[i].up {
		return
	}
	w := &g.workers[i]
	if w.batch == 0 {
		g.takeFree(slices.Index(g.free, i))
	}
	for _, s := range w.runs {
		s.up--
	}
	w.up, w.runs = false, w.runs[:0]
}

// forget has the worker no longer run the model.
func (g *Group) forget(i int, s *Scheduler) {
	w := &g.workers[i]
	at := slices.Index(w.runs, s)
	if at < 0 {
		return
	}
	w.runs = slices.Delete(w.runs, at, at+1)
	s.up--
	if w.batch == 0 {
		s.idle--
	}
}

func (g *Group) done(now time.Duration, i int, batch uint64) {
	if i >= len(g.workers) || g.workers[i].batch != batch || batch == 0 {
		return
	}
	w := &g.workers[i]
	s := w.model
	w.batch = 0
	s.running--
	if w.takes > 0 {
		s.learn(now, now-w.since-w.load, w.takes)
	}
	for _, e := range w.run {
		s.release(e)
	}
	w.run = w.run[:0]
	if w.up {
		g.freed(i)
	}
}

// freed adds the worker to the free ones.
func (g *Group) freed(i int) {
	g.free = append(g.free, i)
	w := &g.workers[i]
	for _, s := range w.runs {
		s.idle++
		if s.loaded != nil && w.holds >= 0 {
			s.loaded[w.holds]++
		}
	}
}

// takeFree removes the free worker at that place among the free ones, and returns it.
func (g *Group) takeFree(at int) int {
	i := g.free[at]
	g.free = slices.Delete(g.free, at, at+1)
	w := &g.workers[i]
	for _, s := range w.runs {
		s.idle--
		if s.loaded != nil && w.holds >= 0 {
			s.loaded[w.holds]--
		}
	}
	return i
}

// choose returns the place, among the free workers, of the one to run the model's
// subnet, or to load it: the last freed that holds it, or that does not, where
// workers hold subnets; else of those that run the fewest other models, for which the
// rest may be needed. There is one that runs the model.
func (g *Group) choose(s *Scheduler, subnet int, holds bool) int {
	best, least := -1, math.MaxInt
	for at := range slices.Backward(g.free) {
		w := &g.workers[g.free[at]]
		if !slices.Contains(w.runs, s) {
			continue
		}
		n := len(w.runs)
		if s.loaded != nil && (w.holds == subnet) != holds {
			n++
		}
		if n < least {
			best, least = at, n
		}
		if n == 1 {
			break
		}
	}
	return best
}
