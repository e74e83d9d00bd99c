package sched

import (
	"fmt"
	"slices"
	"time"
)

// worker is what the scheduler knows about one executor.
type worker struct {
	up    bool
	holds int           // the subnet in its memory, -1: none yet
	batch uint64        // that it runs; 0: idle
	since time.Duration // when the batch was dispatched
	takes time.Duration // according to the profile; 0: it only loads
	load  time.Duration // before that
	run   []*entry      // the batch's requests
	ids   []uint64      // the same, for the caller
}

func (s *Scheduler) arrive(now time.Duration, r *Request) {
	if s.byID[r.ID] != nil {
		panic(fmt.Sprintf("sched: request %d arrives while it waits or runs: number requests uniquely", r.ID))
	}
	choice := s.profile.Floor(r.MinAccuracy)
	if r.Subnet >= 0 && r.Subnet >= choice {
		choice = r.Subnet
	} else if r.Subnet >= 0 {
		choice = len(s.profile.Subnets) // the pin is below the floor
	}
	if choice >= len(s.profile.Subnets) || r.Size < 1 || r.Size > s.profile.MaxBatch {
		s.drop(r.ID, Invalid)
		return
	}
	e := s.alloc()
	*e = entry{Request: *r, choice: choice}
	e.fastest = s.profile.Latency(choice, r.Size)
	e.work = e.fastest
	s.arrived += int64(r.Size)
	if r.Subnet < 0 {
		e.work = s.profile.Latency(choice, s.profile.MaxBatch) * time.Duration(r.Size) / time.Duration(s.profile.MaxBatch)
		for i := choice + 1; i < len(s.profile.Subnets); i++ {
			e.fastest = min(e.fastest, s.profile.Latency(i, r.Size))
		}
	}
	s.byID[r.ID] = e
	s.ready.push(e)
	s.admit(now, e)
}

// admit makes room where e, which has just arrived, is one too many. Under
// overload it is e that goes, the last to come: were it the tenant's most urgent,
// those left would all be younger than the other tenants' and be served after them.
func (s *Scheduler) admit(now time.Duration, e *entry) {
	full := s.ready.len()+s.late.len() > s.opt.MaxQueue
	if !full && (len(s.ready.lanes) < 2 || !s.overloaded(now)) {
		return
	}
	if l := s.ready.longest(s.opt.Shares); l != e.lane && full {
		e = l.heap[0]
	} else if l != e.lane {
		return
	}
	s.ready.remove(e)
	s.end(e, Full)
}

// overloaded reports whether not all that waits can be in time, if deadlines are
// spread evenly: all workers together, in full batches of the smallest subnets
// that are accepted, have not enough until the last deadline, with a quarter to spare, so
// that room is made before requests become hopeless, whoever's they are.
func (s *Scheduler) overloaded(now time.Duration) bool {
	q := &s.ready
	head := s.slack(q.head().Deadline, now)
	last := 2*s.slack(q.meanDue(), now) - head
	needs := 5*q.work/time.Duration(4*max(s.up, 1)) + s.profile.Latency(0, s.profile.MaxBatch)
	return needs > max(last, head)
}

func (s *Scheduler) cancel(id uint64) {
	e := s.byID[id]
	switch {
	case e == nil:
	case e.state == running:
		e.cancelled = true // the batch goes on, but is not retried for it
	default:
		s.queueOf(e).remove(e)
		s.end(e, Cancelled)
	}
}

func (s *Scheduler) workerUp(i int) {
	for len(s.workers) <= i {
		s.workers = append(s.workers, worker{
			run: make([]*entry, 0, s.profile.MaxBatch),
			ids: make([]uint64, 0, s.profile.MaxBatch),
		})
	}
	s.workers[i].up, s.workers[i].holds = true, -1
	s.up++
	s.freed(i)
}

// workerDown takes the worker out and its batch back.
func (s *Scheduler) workerDown(i int) {
	if i >= len(s.workers) || !s.workers[i].up {
		return
	}
	w := &s.workers[i]
	w.up = false
	s.up--
	if w.batch == 0 {
		s.takeFree(slices.Index(s.free, i))
		return
	}
	w.batch = 0
	for _, e := range w.run {
		switch {
		case e.cancelled:
			s.end(e, Cancelled)
		case e.attempts >= s.opt.MaxAttempts:
			s.end(e, Lost)
		default:
			e.state, e.late = waiting, false
			s.ready.push(e)
		}
	}
	w.run = w.run[:0]
}

func (s *Scheduler) done(now time.Duration, i int, batch uint64) {
	if i >= len(s.workers) || s.workers[i].batch != batch || batch == 0 {
		return
	}
	w := &s.workers[i]
	w.batch = 0
	if w.takes > 0 {
		s.learn(now, now-w.since-w.load, w.takes)
	}
	for _, e := range w.run {
		s.release(e)
	}
	w.run = w.run[:0]
	s.freed(i)
}

// freed adds the worker to the free ones.
func (s *Scheduler) freed(i int) {
	s.free = append(s.free, i)
	if h := s.workers[i].holds; s.loaded != nil && h >= 0 {
		s.loaded[h]++
	}
}

// takeFree removes the free worker at that place among the free ones, and returns it.
func (s *Scheduler) takeFree(at int) int {
	i := s.free[at]
	s.free = slices.Delete(s.free, at, at+1)
	if h := s.workers[i].holds; s.loaded != nil && h >= 0 {
		s.loaded[h]--
	}
	return i
}

// choose returns the place, among the free workers, of the one to run the subnet,
// or to load it: the last freed that holds it, or that does not.
func (s *Scheduler) choose(subnet int, holds bool) int {
	if s.loaded != nil {
		for at := range slices.Backward(s.free) {
			if (s.workers[s.free[at]].holds == subnet) == holds {
				return at
			}
		}
	}
	return len(s.free) - 1
}

// expire gives up on requests that no dispatch can save any more, so that they
// are told at once even while every worker is busy.
func (s *Scheduler) expire(now time.Duration) {
	for s.ready.len() > 0 && s.doom(s.ready.head()) < now {
		if d, _ := s.decide(now, 0); !d.Late {
			return
		}
		s.giveUp(now, s.ready.pop())
	}
}

// dispatch gives work to the free workers.
func (s *Scheduler) dispatch(now time.Duration) {
	for len(s.free) > 0 && s.ready.len() > 0 {
		d, not := s.decide(now, len(s.free))
		switch {
		case d.Late:
			s.giveUp(now, s.ready.pop())
		case d.Load:
			s.run(now, s.choose(d.Subnet, false), d.Subnet, 0)
		default:
			s.start(now, &s.ready, d, not)
		}
	}
	for len(s.free) > 0 && s.late.len() > 0 {
		s.start(now, &s.late, Decision{Subnet: s.late.head().choice, Batch: s.profile.MaxBatch}, AnySubnet)
	}
}

// decide asks the policy about the head of the queue. If the head does not
// accept the policy's subnet, it gets the least one that it accepts and that is
// in time, at the largest batch that is. In that batch, those that would accept
// the policy's subnet, not, have no place: they don't pay for others' wishes.
func (s *Scheduler) decide(now time.Duration, free int) (d Decision, not int) {
	head := s.ready.head()
	slack := s.slack(head.Deadline, now)
	d = s.policy.Decide(View{
		Now:     now,
		Slack:   slack,
		Images:  s.ready.images,
		Head:    head.Size,
		Free:    free,
		Mean:    s.slack(s.ready.meanDue(), now),
		Work:    s.ready.work,
		Drift:   s.drift,
		Risk:    s.Risk() / s.drift,
		Workers: s.up,
		Arrived: s.arrived,
		Loaded:  s.loaded,
		Profile: s.profile,
	})
	if d.Late || d.Load || head.accepts(d.Subnet) {
		return d, AnySubnet
	}
	for subnet := head.choice; subnet < len(s.profile.Subnets) && head.accepts(subnet); subnet++ {
		if b := s.profile.largestBatch(subnet, slack); b >= head.Size {
			return Decision{Subnet: subnet, Batch: b}, d.Subnet
		}
	}
	return Decision{Late: true}, AnySubnet
}

// start dispatches the head of q, with others from q, on a free worker. They
// are taken in the queue's order as far as they accept the subnet and their
// images fit. Those that accept the subnet not (if it is one) stay out.
func (s *Scheduler) start(now time.Duration, q *queue, d Decision, not int) {
	at := s.choose(d.Subnet, true)
	images := s.fill(&s.workers[s.free[at]], q, d, not)
	s.run(now, at, d.Subnet, images)
}

// run sends the free worker at that place off with the images that it was given,
// or, if there are none, to load the subnet.
func (s *Scheduler) run(now time.Duration, at, subnet, images int) {
	i := s.takeFree(at)
	w := &s.workers[i]
	s.batch++
	w.batch, w.since, w.takes, w.load = s.batch, now, 0, 0
	if images > 0 {
		w.takes = s.profile.Latency(subnet, images)
	} else {
		w.ids = w.ids[:0]
	}
	if s.loaded != nil && w.holds != subnet {
		w.load = s.opt.Load[subnet]
	}
	w.holds = subnet
	s.actions = append(s.actions, Action{
		Kind: Dispatch, Worker: i, Batch: w.batch, Subnet: subnet, IDs: w.ids, Images: images, Load: w.load,
	})
}

// lookahead bounds the requests that fill looks at, in units of MaxBatch.
const lookahead = 4

func (s *Scheduler) fill(w *worker, q *queue, d Decision, not int) (images int) {
	w.ids = w.ids[:0]
	room := min(max(d.Batch, q.head().Size), s.profile.MaxBatch)
	for looked := 0; q.len() > 0 && images < room && looked < lookahead*s.profile.MaxBatch; looked++ {
		e := q.pop()
		if images+e.Size > room || !e.accepts(d.Subnet) || not >= 0 && e.accepts(not) {
			s.skipped = append(s.skipped, e)
			continue
		}
		e.state = running
		e.attempts++
		images += e.Size
		w.run = append(w.run, e)
		w.ids = append(w.ids, e.ID)
	}
	for _, e := range s.skipped {
		q.push(e)
	}
	s.skipped = s.skipped[:0]
	return images
}

// wait asks for a Tick when the head of the queue becomes hopeless. A Wait that
// ends before that stays as it is.
func (s *Scheduler) wait(now time.Duration) {
	if s.ready.len() == 0 {
		return
	}
	until := s.doom(s.ready.head()) + 1
	if until <= now || now < s.wake && s.wake <= until {
		return
	}
	s.wake = until
	s.actions = append(s.actions, Action{Kind: Wait, Until: until})
}

// giveUp ends a request that can't meet its deadline, or demotes it.
func (s *Scheduler) giveUp(now time.Duration, e *entry) {
	s.doubt(now)
	if e.Late == Serve {
		e.late = true
		s.late.push(e)
		return
	}
	s.end(e, Late)
}

func (s *Scheduler) queueOf(e *entry) *queue {
	if e.late {
		return &s.late
	}
	return &s.ready
}

func (s *Scheduler) end(e *entry, why Reason) {
	s.drop(e.ID, why)
	s.release(e)
}

func (s *Scheduler) drop(id uint64, why Reason) {
	s.actions = append(s.actions, Action{Kind: Drop, ID: id, Reason: why})
}

func (s *Scheduler) alloc() *entry {
	if n := len(s.spare); n > 0 {
		e := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return e
	}
	return new(entry)
}

func (s *Scheduler) release(e *entry) {
	delete(s.byID, e.ID)
	s.spare = append(s.spare, e)
}
