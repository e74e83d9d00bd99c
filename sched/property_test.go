package sched_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/sched"
)

// TestProperties drives schedulers with random events and checks every action
// against a model that knows only what waits, runs and is free.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProfile(t)
		names := []string{"weft", "slackfit", "slackfit-literal", "maxacc", "maxbatch", "fixed:" + p.Subnets[0].Name, "infaas:0.7", "proteus:2ms", "switch:2ms"}
		m := &model{T: t, p: p, waiting: map[uint64]*tracked{}, running: map[int][]*tracked{}, batch: map[int]uint64{}, free: map[int]bool{}}
		m.opt = sched.Options{Margin: time.Duration(rapid.IntRange(0, 2).Draw(t, "margin")) * time.Millisecond, MaxQueue: 12, MaxAttempts: 2}
		var err error
		if m.s, err = sched.New(rapid.SampledFrom(names).Draw(t, "policy"), p, m.opt); err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(1, 120).Draw(t, "events") {
			m.now += time.Duration(rapid.IntRange(0, 4).Draw(t, "gap")) * 500 * time.Microsecond
			m.random()
		}
		m.drain()
	})
}

func drawProfile(t *rapid.T) *sched.Profile {
	maxBatch := rapid.IntRange(1, 5).Draw(t, "max batch")
	var subnets []sched.Subnet
	for i := range rapid.IntRange(1, 4).Draw(t, "subnets") {
		overhead := time.Duration(rapid.IntRange(1, 8).Draw(t, "overhead")) * 250 * time.Microsecond
		each := time.Duration(i+1) * 400 * time.Microsecond
		subnets = append(subnets, linear(fmt.Sprint("s", i), 0.7+float64(i)/20, overhead, each, maxBatch))
	}
	p, err := sched.NewProfile(subnets, maxBatch)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

type tracked struct {
	sched.Request
	attempts  int
	cancelled bool
}

type model struct {
	*rapid.T
	p       *sched.Profile
	s       *sched.Scheduler
	opt     sched.Options
	now     time.Duration
	next    uint64
	waiting map[uint64]*tracked
	running map[int][]*tracked
	batch   map[int]uint64
	free    map[int]bool
	ended   int
	seen    uint64
	drift   float64 // before the step
}

func (m *model) random() {
	w := rapid.IntRange(0, 2).Draw(m.T, "worker")
	switch rapid.SampledFrom([]string{"arrive", "arrive", "arrive", "arrive", "done", "done", "done", "up", "up", "down", "cancel", "tick"}).Draw(m.T, "event") {
	case "arrive":
		m.arrive()
	case "done":
		m.done(w)
	case "up":
		m.up(w)
	case "down":
		m.down(w)
	case "cancel":
		m.cancel(rapid.Uint64Range(1, m.next+1).Draw(m.T, "id"))
	default:
		m.step(sched.Event{Kind: sched.Tick})
	}
}

func (m *model) arrive() {
	m.next++
	r := sched.Request{
		ID: m.next, Arrival: m.now,
		Deadline:    m.now + time.Duration(rapid.IntRange(1, 40).Draw(m.T, "slo"))*500*time.Microsecond,
		Size:        rapid.IntRange(1, m.p.MaxBatch).Draw(m.T, "size"),
		Subnet:      sched.AnySubnet,
		MinAccuracy: rapid.SampledFrom([]float64{0, 0, 0, 0.72, 0.99}).Draw(m.T, "floor"),
		Priority:    rapid.IntRange(0, 1).Draw(m.T, "priority"),
		Tenant:      rapid.SampledFrom([]string{"", "", "", "a", "b"}).Draw(m.T, "tenant"),
		Late:        rapid.SampledFrom([]sched.LatePolicy{sched.Reject, sched.Serve}).Draw(m.T, "late"),
	}
	if rapid.IntRange(0, 5).Draw(m.T, "pinned") == 0 {
		r.Subnet = rapid.IntRange(0, len(m.p.Subnets)).Draw(m.T, "pin")
	}
	m.waiting[r.ID] = &tracked{Request: r}
	m.step(sched.Event{Kind: sched.Arrive, Request: r})
}

func (m *model) done(w int) {
	if rs := m.running[w]; rs != nil {
		m.ended += len(rs)
		delete(m.running, w)
		m.free[w] = true
		m.step(sched.Event{Kind: sched.Done, Worker: w, Batch: m.batch[w]})
	}
}

func (m *model) down(w int) {
	m.requeue(w)
	delete(m.free, w)
	m.step(sched.Event{Kind: sched.WorkerDown, Worker: w})
}

// up starts a worker, or restarts it.
func (m *model) up(w int) {
	m.requeue(w)
	m.free[w] = true
	m.step(sched.Event{Kind: sched.WorkerUp, Worker: w})
}

func (m *model) requeue(w int) {
	for _, r := range m.running[w] {
		m.waiting[r.ID] = r
	}
	delete(m.running, w)
}

func (m *model) cancel(id uint64) {
	if r := m.waiting[id]; r != nil {
		r.cancelled = true
	}
	for _, rs := range m.running {
		for _, r := range rs {
			r.cancelled = r.cancelled || r.ID == id
		}
	}
	m.step(sched.Event{Kind: sched.Cancel, ID: id})
}

// drain lets everything come to its end and checks that nothing is left over.
func (m *model) drain() {
	m.now += time.Second
	m.up(0)
	for range m.next + 4 {
		for w := range 3 {
			m.done(w)
		}
	}
	if len(m.waiting) > 0 || len(m.running) > 0 || m.ended != int(m.next) {
		m.Fatalf("%d requests: %d ended, %d wait, %d run", m.next, m.ended, len(m.waiting), len(m.running))
	}
}

func (m *model) step(ev sched.Event) {
	m.drift = m.s.Drift()
	for _, a := range m.s.Step(m.now, ev) {
		switch a.Kind {
		case sched.Dispatch:
			m.dispatched(a)
		case sched.Drop:
			m.dropped(a)
		case sched.Wait:
			if a.Until <= m.now {
				m.Fatalf("at %v: %v", m.now, a)
			}
		}
	}
	if n, _ := m.s.Waiting(); n != len(m.waiting) {
		m.Fatalf("%d requests wait, the scheduler says %d", len(m.waiting), n)
	}
	for _, r := range m.waiting {
		if r.Late == sched.Reject && r.Deadline-m.opt.Margin < m.now {
			m.Fatalf("at %v %+v still waits", m.now, r)
		}
	}
	if len(m.waiting) > 0 && m.s.Free() > 0 {
		m.Fatalf("%d requests wait beside %d idle workers", len(m.waiting), m.s.Free())
	}
}

func (m *model) dispatched(a sched.Action) {
	if !m.free[a.Worker] {
		m.Fatalf("%v: the worker is not free", a)
	}
	if a.Batch <= m.seen {
		m.Fatalf("%v: the batch number is not new", a)
	}
	m.seen = a.Batch
	rs := []*tracked{}
	images := 0
	for _, id := range a.IDs {
		r := m.waiting[id]
		if r == nil {
			m.Fatalf("%v: request %d does not wait", a, id)
		}
		if r.Subnet >= 0 && r.Subnet != a.Subnet || m.p.Subnets[a.Subnet].Accuracy < r.MinAccuracy {
			m.Fatalf("%v does not suit %+v", a, r.Request)
		}
		delete(m.waiting, id)
		r.attempts++
		rs = append(rs, r)
		images += r.Size
	}
	if loads := a.Load > 0 && len(a.IDs) == 0; images != a.Images || images > m.p.MaxBatch || images == 0 && !loads {
		m.Fatalf("%v: the requests have %d images of at most %d", a, images, m.p.MaxBatch)
	}
	m.overtaken(a, rs)
	delete(m.free, a.Worker)
	m.running[a.Worker], m.batch[a.Worker] = rs, a.Batch
}

// overtaken checks that nobody like a member, but more urgent, stayed behind.
func (m *model) overtaken(a sched.Action, rs []*tracked) {
	for _, r := range rs {
		for _, o := range m.waiting {
			like := o.Size == r.Size && o.MinAccuracy == r.MinAccuracy && o.Subnet == r.Subnet
			if like && o.Late == sched.Reject && r.Late == sched.Reject && o.Deadline < r.Deadline {
				m.Fatalf("%v: request %d overtakes %d", a, r.ID, o.ID)
			}
		}
	}
}

func (m *model) dropped(a sched.Action) {
	r := m.waiting[a.ID]
	if r == nil {
		m.Fatalf("%v: it does not wait", a)
	}
	delete(m.waiting, a.ID)
	m.ended++
	if !m.mayDrop(r, a.Reason) {
		m.Fatalf("at %v %v: not allowed for %+v", m.now, a, r)
	}
}

func (m *model) mayDrop(r *tracked, why sched.Reason) bool {
	switch why {
	case sched.Cancelled:
		return r.cancelled
	case sched.Full:
		return m.mayMakeRoom(r)
	case sched.Lost:
		return r.attempts >= m.opt.MaxAttempts
	case sched.Invalid:
		choice := m.p.Floor(r.MinAccuracy)
		return choice == len(m.p.Subnets) || r.Subnet == len(m.p.Subnets) || r.Subnet >= 0 && r.Subnet < choice
	}
	// Late: some subnet's full batch, or the request's own, would not be in time.
	longest := time.Duration(0)
	for _, s := range m.p.Subnets {
		longest = max(longest, slices.Max(s.Latency))
	}
	slack := float64(r.Deadline-m.now-m.opt.Margin) / max(m.drift, m.s.Drift())
	return r.Late == sched.Reject && slack < float64(longest)
}

// mayMakeRoom reports whether r, which is taken out already, may go for others:
// the queue was full, or there is another tenant.
func (m *model) mayMakeRoom(r *tracked) bool {
	for _, o := range m.waiting {
		if o.Tenant != r.Tenant {
			return true
		}
	}
	return len(m.waiting) >= m.opt.MaxQueue
}
