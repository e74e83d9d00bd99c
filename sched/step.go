package sched

import (
	"fmt"
	"time"
)

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
	if r.Subnet < 0 {
		e.work = s.profile.Latency(choice, s.profile.MaxBatch) * time.Duration(r.Size) / time.Duration(s.profile.MaxBatch)
		for i := choice + 1; i < len(s.profile.Subnets); i++ {
			e.fastest = min(e.fastest, s.profile.Latency(i, r.Size))
		}
	}
	s.load.add(now, e)
	if len(s.group.models) > 1 {
		s.demand.add(now, e.work)
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
// spread evenly: the workers together, in full batches of the smallest subnets
// that are accepted, have not enough until the last deadline, with a quarter to spare, so
// that room is made before requests become hopeless, whoever's they are.
func (s *Scheduler) overloaded(now time.Duration) bool {
	q := &s.ready
	head := s.slack(q.head().Deadline, now)
	last := 2*s.slack(q.meanDue(), now) - head
	needs := time.Duration(float64(5*q.work)/(4*s.capacity(now))) + s.profile.Latency(0, s.profile.MaxBatch)
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

// dispatch asks the policy once and does as it says. Some free worker runs the
// model, for which something waits.
func (s *Scheduler) dispatch(now time.Duration) {
	if s.ready.len() == 0 {
		s.start(now, &s.late, Decision{Subnet: s.late.head().choice, Batch: s.profile.MaxBatch}, AnySubnet)
		return
	}
	d, not := s.decide(now, s.idle)
	switch {
	case d.Late:
		s.giveUp(now, s.ready.pop())
	case d.Load:
		s.run(now, s.group.choose(s, d.Subnet, false), d.Subnet, 0)
	default:
		s.start(now, &s.ready, d, not)
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
		Workers: s.share(now),
		Up:      s.up,
		Others:  s.others(now),
		Arrived: s.load.Images,
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
	at := s.group.choose(s, d.Subnet, true)
	images := s.fill(&s.group.workers[s.group.free[at]], q, d, not)
	s.run(now, at, d.Subnet, images)
}

// run sends the free worker at that place off with the images that it was given,
// or, if there are none, to load the subnet.
func (s *Scheduler) run(now time.Duration, at, subnet, images int) {
	g := s.group
	i := g.takeFree(at)
	w := &g.workers[i]
	g.batch++
	s.running++
	w.batch, w.model, w.since, w.takes, w.load = g.batch, s, now, 0, 0
	if images > 0 {
		w.takes = s.profile.Latency(subnet, images)
	} else {
		w.ids = w.ids[:0]
	}
	if s.loaded != nil && w.holds != subnet {
		w.load = s.opt.Load[subnet]
	}
	w.holds = subnet
	g.actions = append(g.actions, Action{
		Kind: Dispatch, Model: s.number, Worker: i, Batch: w.batch, Subnet: subnet, IDs: w.ids, Images: images, Load: w.load,
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

// again puts a request back whose worker was lost.
func (s *Scheduler) again(e *entry) {
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
	s.group.actions = append(s.group.actions, Action{Kind: Drop, Model: s.number, ID: id, Reason: why})
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
