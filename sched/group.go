package sched

import (
	"errors"
	"math"
	"slices"
	"time"
)

// Group is a set of workers and of models that share them. Each model has a
// [Scheduler]: a queue, a profile and a policy of its own. A free worker goes to
// the model, of those that it runs, whose most urgent request must start first to
// be in time (least slack first). Models and workers come and go at any time.
//
// [New] returns a scheduler whose group has no other model. A Group is not safe for
// concurrent use, and neither are its schedulers at the same time.
type Group struct {
	models  []*Scheduler  // by number; nil where one was removed
	workers []worker      // by number
	free    []int         // idle workers; the last one freed is the first one used
	batch   uint64        // number of the latest batch
	wake    time.Duration // when the latest Wait ends
	actions []Action
}

// NewGroup returns a group without models or workers.
func NewGroup() *Group { return &Group{wake: math.MinInt64} }

// Add returns a scheduler for one more model of the group, which no worker runs as
// yet. Its policy has the given name (see [ParsePolicy]; "" means DefaultPolicy).
func (g *Group) Add(policy string, p *Profile, opt Options) (*Scheduler, error) {
	s, err := newScheduler(policy, p, opt)
	if err != nil {
		return nil, err
	}
	if loads := func(o *Scheduler) bool { return o != nil && (o.Loads() || s.Loads()) }; slices.ContainsFunc(g.models, loads) {
		return nil, errors.New("models that share workers are switched in place: give no load times, and no policy switch")
	}
	s.group, s.number = g, slices.Index(g.models, nil)
	if s.number < 0 {
		s.number = len(g.models)
		g.models = append(g.models, nil)
	}
	g.models[s.number] = s
	return s, nil
}

// Remove takes a model out whose requests have all ended. Its number may be that of
// another one later.
func (g *Group) Remove(s *Scheduler) {
	if len(s.byID) > 0 {
		panic("sched: a model is removed while requests wait or run: let them end first")
	}
	for i := range g.workers {
		g.forget(i, s)
	}
	g.models[s.number] = nil
}

// Step takes an event of the model of that number, as Scheduler.Step does. Which
// model it is makes no difference to Tick, WorkerDown, WorkerLeave and Done.
func (g *Group) Step(now time.Duration, model int, ev Event) []Action {
	g.actions = g.actions[:0]
	switch ev.Kind {
	case Arrive:
		g.models[model].arrive(now, &ev.Request)
	case Cancel:
		g.models[model].cancel(ev.ID)
	case WorkerUp:
		g.workerUp(ev.Worker, g.models[model])
	case WorkerDown:
		g.workerDown(ev.Worker)
	case WorkerLeave:
		g.workerLeave(ev.Worker)
	case Done:
		g.done(now, ev.Worker, ev.Batch)
	}
	for _, s := range g.models {
		if s != nil {
			s.expire(now)
		}
	}
	for s := g.next(); s != nil; s = g.next() {
		s.dispatch(now)
	}
	g.wait(now)
	return g.actions
}

// next returns the model to which the next free worker goes, or nil: the one whose
// most urgent request must start first. Those that are late in any case come last,
// by their deadlines.
func (g *Group) next() (best *Scheduler) {
	if len(g.free) == 0 {
		return nil
	}
	ready, first := false, time.Duration(0)
	for _, s := range g.models {
		if s == nil || s.idle == 0 {
			continue
		}
		switch {
		case s.ready.len() > 0:
			if at := s.doom(s.ready.head()); !ready || at < first {
				best, ready, first = s, true, at
			}
		case s.late.len() > 0 && !ready:
			if at := s.late.head().Deadline; best == nil || at < first {
				best, first = s, at
			}
		}
	}
	return best
}

// wait asks for a Tick when the head of a queue becomes hopeless. A Wait that ends
// before that stays as it is.
func (g *Group) wait(now time.Duration) {
	until := never
	for _, s := range g.models {
		if s == nil || s.ready.len() == 0 {
			continue
		}
		if at := s.doom(s.ready.head()) + 1; at > now {
			until = min(until, at)
		}
	}
	if until == never || now < g.wake && g.wake <= until {
		return
	}
	g.wake = until
	g.actions = append(g.actions, Action{Kind: Wait, Until: until})
}
