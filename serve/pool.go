package serve

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"weft/sched"
)

// pool is the workers of a server, which its models share. Whoever has news steps the
// scheduler of all models under its one lock.
type pool struct {
	epoch   time.Time
	prepare func() // Options.Prepare
	log     *slog.Logger

	mu       sync.Mutex // guards what follows, and of each router what it says
	group    *sched.Group
	timer    *time.Timer
	routers  []*Router // by number in the group; nil: none
	draining []*Router // those that refuse requests and have not ended
	workers  []*worker // by number in the group; nil: none
	local    []*worker // those that run Model.Executors, by their place in it
	ending   bool      // the workers end once the routers have
	alive    int       // workers that have not ended
	lost     uint64    // workers so far
	ended    chan struct{}
	changed  chan struct{} // closed when something changes; see Server.Changes
}

func newPool(opt *Options, epoch time.Time) *pool {
	p := &pool{
		epoch: epoch, prepare: opt.Prepare, log: opt.Log, group: sched.NewGroup(),
		ended: make(chan struct{}), changed: make(chan struct{}),
	}
	p.timer = time.AfterFunc(time.Hour, func() { p.step(sched.Event{Kind: sched.Tick}) })
	return p
}

// now is the time since the epoch. It rises with each call under mu.
func (p *pool) now() time.Duration { return time.Since(p.epoch) }

func (p *pool) step(ev sched.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stepLocked(0, ev)
}

// stepLocked steps the scheduler with an event of the model of that number, and does
// what it asks for.
func (p *pool) stepLocked(model int, ev sched.Event) {
	now := p.now()
	actions := p.group.Step(now, model, ev)
	for i := range actions {
		switch a := &actions[i]; a.Kind {
		case sched.Dispatch:
			p.routers[a.Model].dispatch(now, p.workers[a.Worker], a)
		case sched.Drop:
			p.routers[a.Model].drop(now, a.ID, a.Reason)
		case sched.Wait:
			p.timer.Reset(a.Until - now)
		}
	}
	p.endDrained()
}

// add makes the router one of the group's, to which no worker belongs as yet.
func (p *pool) add(r *Router) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending {
		return ErrDraining
	}
	s, err := p.group.Add(r.opt.Policy, r.model.Profile, r.opt.Sched)
	if err != nil {
		return err
	}
	if s.Loads() {
		p.group.Remove(s)
		return fmt.Errorf("policy %s is for simulations (weft bench --sim): the workers of this server share all weights and load nothing", r.opt.Policy)
	}
	r.sched = s
	for len(p.routers) <= s.Number() {
		p.routers = append(p.routers, nil)
	}
	p.routers[s.Number()] = r
	return nil
}

// remove takes a router out for which nothing waits or runs.
func (p *pool) remove(r *Router) {
	n := r.sched.Number()
	p.group.Remove(r.sched)
	p.routers[n] = nil
	for _, w := range p.workers {
		if w != nil && n < len(w.execs) {
			w.execs[n] = nil
		}
	}
	p.notify()
}

// start has each of the model's executors run on a worker of its own, which other
// models may run on too. Workers are made where there are not enough.
func (p *pool) start(r *Router) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, exec := range r.model.Executors {
		if i == len(p.local) {
			p.local = append(p.local, nil)
		}
		if p.local[i] == nil || p.local[i].gone {
			p.local[i] = p.open(fmt.Sprint("local ", i), true)
		}
		p.local[i].offer(r, exec)
	}
	r.begun()
}

// open starts a worker that runs no model as yet.
func (p *pool) open(name string, compute bool) *worker {
	i := slices.Index(p.workers, nil)
	if i < 0 {
		i = len(p.workers)
		p.workers = append(p.workers, nil)
	}
	w := newWorker(p, i, name, compute)
	p.workers[i] = w
	p.alive++
	w.start()
	return w
}

// endDrained ends the routers that are through, and at last the workers.
func (p *pool) endDrained() {
	if len(p.draining) > 0 {
		p.draining = slices.DeleteFunc(p.draining, (*Router).endIfDrained)
	}
	if !p.ending || slices.ContainsFunc(p.routers, func(r *Router) bool { return r != nil }) {
		return
	}
	p.timer.Stop()
	for _, w := range p.workers {
		if w != nil {
			w.leave()
		}
	}
}

// end ends the workers once the routers have ended.
func (p *pool) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ending = true
	p.notify()
	p.endDrained()
	if p.alive == 0 {
		p.lastEnded()
	}
}

// lastEnded is called whenever no worker is left.
func (p *pool) lastEnded() {
	select {
	case <-p.ended:
	default:
		if p.ending {
			close(p.ended)
		}
	}
}

// awaitEnd waits until the workers have ended.
func (p *pool) awaitEnd(ctx context.Context) error {
	select {
	case <-p.ended:
		return nil
	default:
	}
	select {
	case <-p.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("end the workers: %w", ctx.Err())
	}
}

// notify tells those who wait for a change. The caller holds mu.
func (p *pool) notify() {
	close(p.changed)
	p.changed = make(chan struct{})
}
