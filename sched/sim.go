package sched

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Sim runs a scheduler in virtual time: requests arrive when they say, a batch
// takes as long as Latency says, a load as long as Options.Load, and nothing else
// takes time. The same Sim always gives the same outcomes.
type Sim struct {
	Profile *Profile
	Policy  string
	Options Options
	Workers int
	// Requests in order of arrival. IDs are assigned by Run: their indices.
	Requests []Request
	// Latency of the given batch on the given worker; nil: the profile's.
	Latency func(worker, subnet, images int) time.Duration
	// Faults in order of time: workers that go down and come up.
	Faults []Fault
}

// Fault is a change of a worker's state.
type Fault struct {
	At     time.Duration
	Worker int
	Up     bool
}

// Outcome is what became of a request.
type Outcome struct {
	// Dropped is 0 if the request was answered. If it was not, the fields below
	// Finished are 0.
	Dropped  Reason
	Finished time.Duration // answered or dropped
	Started  time.Duration // its last dispatch
	Subnet   int
	Images   int // of the whole batch
	Worker   int
}

// Met reports whether the request was answered by its deadline.
func (o Outcome) Met(r Request) bool { return o.Dropped == 0 && o.Finished <= r.Deadline }

// OpenLoop returns a request of one image for each arrival, with the same
// service-level objective: deadline = arrival + slo.
func OpenLoop(arrivals []time.Duration, slo time.Duration) []Request {
	rs := make([]Request, len(arrivals))
	for i, at := range arrivals {
		rs[i] = Request{ID: uint64(i), Arrival: at, Deadline: at + slo, Size: 1, Subnet: AnySubnet}
	}
	return rs
}

// Run returns the outcome of each request.
func (c Sim) Run() ([]Outcome, error) {
	s, err := New(c.Policy, c.Profile, c.Options)
	if err != nil {
		return nil, err
	}
	if !slices.IsSortedFunc(c.Requests, func(a, b Request) int { return cmp.Compare(a.Arrival, b.Arrival) }) {
		return nil, fmt.Errorf("simulate %s: requests are not in order of arrival: sort them", c.Policy)
	}
	m := &machine{Sim: c, s: s, tick: never, out: make([]Outcome, len(c.Requests))}
	for i := range m.out {
		m.out[i].Dropped = Lost // unless it comes to another end
	}
	for w := range c.Workers {
		m.apply(0, s.Step(0, Event{Kind: WorkerUp, Worker: w}))
	}
	for m.step() {
	}
	return m.out, nil
}

const never = time.Duration(1<<63 - 1)

// machine is a Sim under way.
type machine struct {
	Sim
	s       *Scheduler
	out     []Outcome
	arrived int        // requests
	faulted int        // faults
	running finish     // batches, soonest end first
	batches [][]uint64 // the requests that each worker runs
	tick    time.Duration
}

// step handles the next event, if there is one. At equal times batches end
// first, then workers change, then requests arrive, then the timer rings.
func (m *machine) step() bool {
	end, fault, arrival := never, never, never
	if len(m.running) > 0 {
		end = m.running[0].at
	}
	if m.faulted < len(m.Faults) {
		fault = m.Faults[m.faulted].At
	}
	if m.arrived < len(m.Requests) {
		arrival = m.Requests[m.arrived].Arrival
	}
	now := min(end, fault, arrival, m.tick)
	ev := Event{Kind: Tick}
	switch now {
	case never:
		return false
	case end:
		r := m.running.pop()
		for _, id := range m.batches[r.worker] {
			m.out[id] = Outcome{Finished: now, Started: r.from, Subnet: r.subnet, Images: r.images, Worker: r.worker}
		}
		ev = Event{Kind: Done, Worker: r.worker, Batch: r.batch}
	case fault:
		f := m.Faults[m.faulted]
		m.faulted++
		ev = Event{Kind: WorkerDown, Worker: f.Worker}
		if f.Up {
			ev.Kind = WorkerUp
		}
		m.running = slices.DeleteFunc(m.running, func(r run) bool { return r.worker == f.Worker })
	case arrival:
		ev = Event{Kind: Arrive, Request: m.Requests[m.arrived]}
		ev.Request.ID = uint64(m.arrived)
		m.arrived++
	default:
		m.tick = never
	}
	m.apply(now, m.s.Step(now, ev))
	return true
}

func (m *machine) apply(now time.Duration, actions []Action) {
	for _, a := range actions {
		switch a.Kind {
		case Wait:
			m.tick = a.Until
		case Drop:
			m.out[a.ID] = Outcome{Dropped: a.Reason, Finished: now}
		case Dispatch:
			m.running.push(run{now + m.takes(&a), now, a.Worker, a.Batch, a.Subnet, a.Images})
			for len(m.batches) <= a.Worker {
				m.batches = append(m.batches, nil)
			}
			m.batches[a.Worker] = append(m.batches[a.Worker][:0], a.IDs...)
		}
	}
}

// takes returns how long the worker is busy with a Dispatch.
func (m *machine) takes(a *Action) time.Duration {
	switch {
	case a.Images == 0:
		return a.Load
	case m.Latency != nil:
		return a.Load + m.Latency(a.Worker, a.Subnet, a.Images)
	}
	return a.Load + m.Profile.Latency(a.Subnet, a.Images)
}

// run is a batch on a worker.
type run struct {
	at, from       time.Duration // end and start
	worker         int
	batch          uint64
	subnet, images int
}

// finish holds the running batches in order of their ends; there is at most one
// a worker, so insertion is cheap.
type finish []run

func (f *finish) push(r run) {
	i, _ := slices.BinarySearchFunc(*f, r, func(a, b run) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.batch, b.batch))
	})
	*f = slices.Insert(*f, i, r)
}

func (f *finish) pop() run {
	r := (*f)[0]
	*f = slices.Delete(*f, 0, 1)
	return r
}
