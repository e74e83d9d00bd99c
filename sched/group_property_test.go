package sched_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"weft/sched"
)

// TestGroupProperties drives groups with random events, and checks every action against
// a model of them that knows only who waits, which worker runs what, and for how long
// the head of a queue can wait.
func TestGroupProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &crowd{T: t, g: sched.NewGroup(), models: map[int]*member{}, workers: map[int]*hand{}}
		for range rapid.IntRange(1, 3).Draw(t, "models") {
			c.add()
		}
		for range rapid.IntRange(1, 150).Draw(t, "events") {
			c.now += time.Duration(rapid.IntRange(0, 4).Draw(t, "gap")) * 500 * time.Microsecond
			c.random()
		}
		c.drain()
	})
}

// crowd is what there should be.
type crowd struct {
	*rapid.T
	g       *sched.Group
	now     time.Duration
	next    uint64 // request
	arrived int
	ended   int
	models  map[int]*member // by number
	workers map[int]*hand   // that are up or run something
	batch   uint64
}

type member struct {
	s        *sched.Scheduler
	p        *sched.Profile
	waiting  map[uint64]*tracked
	attempts int // MaxAttempts
}

type hand struct {
	runs  map[int]bool // models; empty once it leaves
	batch uint64       // 0: idle
	model int          // of it
	run   []*tracked
}

func (c *crowd) add() {
	p := drawProfile(c.T)
	names := []string{"weft", "slackfit", "slackfit-literal", "maxacc", "maxbatch", "fixed:" + p.Subnets[0].Name, "infaas:0.7", "proteus:2ms"}
	m := &member{p: p, waiting: map[uint64]*tracked{}, attempts: 2}
	var err error
	if m.s, err = c.g.Add(rapid.SampledFrom(names).Draw(c.T, "policy"), p, sched.Options{FixedProfile: true, MaxAttempts: 2}); err != nil {
		c.Fatal(err)
	}
	if c.models[m.s.Number()] != nil {
		c.Fatalf("two models have number %d", m.s.Number())
	}
	c.models[m.s.Number()] = m
}

func (c *crowd) random() {
	w := rapid.IntRange(0, 3).Draw(c.T, "worker")
	number := rapid.SampledFrom(slices.Sorted(maps.Keys(c.models))).Draw(c.T, "model")
	switch rapid.SampledFrom([]string{
		"arrive", "arrive", "arrive", "arrive", "arrive", "done", "done", "done", "up", "up", "up", "down", "leave", "cancel", "tick", "add", "remove",
	}).Draw(c.T, "event") {
	case "arrive":
		c.arrive(number)
	case "done":
		c.done(w)
	case "up":
		c.up(w, number)
	case "down":
		c.down(w)
	case "leave":
		c.leave(w)
	case "cancel":
		c.cancel(number, rapid.Uint64Range(1, c.next+1).Draw(c.T, "id"))
	case "add":
		if len(c.models) < 4 {
			c.add()
		}
	case "remove":
		c.remove(number)
	default:
		c.step(number, sched.Event{Kind: sched.Tick})
	}
}

func (c *crowd) arrive(number int) {
	m := c.models[number]
	c.next++
	c.arrived++
	r := sched.Request{
		ID: c.next, Arrival: c.now,
		Deadline: c.now + time.Duration(rapid.IntRange(1, 60).Draw(c.T, "slo"))*500*time.Microsecond,
		Size:     rapid.IntRange(1, m.p.MaxBatch).Draw(c.T, "size"),
		Subnet:   sched.AnySubnet,
		Late:     rapid.SampledFrom([]sched.LatePolicy{sched.Reject, sched.Reject, sched.Serve}).Draw(c.T, "late"),
	}
	m.waiting[r.ID] = &tracked{Request: r}
	c.step(number, sched.Event{Kind: sched.Arrive, Request: r})
}

func (c *crowd) done(w int) {
	h := c.workers[w]
	if h == nil || h.batch == 0 {
		return
	}
	batch := h.batch
	c.ended += len(h.run)
	h.batch, h.run = 0, nil
	if len(h.runs) == 0 {
		delete(c.workers, w)
	}
	c.step(0, sched.Event{Kind: sched.Done, Worker: w, Batch: batch})
}

// up starts a worker, restarts it, or has it run one more model.
func (c *crowd) up(w, number int) {
	h := c.workers[w]
	if h == nil || h.runs[number] || len(h.runs) == 0 {
		c.requeue(w)
		h = &hand{runs: map[int]bool{}}
		c.workers[w] = h
	}
	h.runs[number] = true
	c.step(number, sched.Event{Kind: sched.WorkerUp, Worker: w})
}

func (c *crowd) down(w int) {
	c.requeue(w)
	delete(c.workers, w)
	c.step(0, sched.Event{Kind: sched.WorkerDown, Worker: w})
}

func (c *crowd) leave(w int) {
	if h := c.workers[w]; h != nil && h.batch == 0 {
		delete(c.workers, w)
	} else if h != nil {
		h.runs = nil
	}
	c.step(0, sched.Event{Kind: sched.WorkerLeave, Worker: w})
}

func (c *crowd) requeue(w int) {
	if h := c.workers[w]; h != nil && h.batch != 0 {
		for _, r := range h.run {
			c.models[h.model].waiting[r.ID] = r
		}
		h.batch, h.run = 0, nil
	}
}

func (c *crowd) cancel(number int, id uint64) {
	if r := c.models[number].waiting[id]; r != nil {
		r.cancelled = true
	}
	for _, h := range c.workers {
		for _, r := range h.run {
			r.cancelled = r.cancelled || r.ID == id && h.model == number
		}
	}
	c.step(number, sched.Event{Kind: sched.Cancel, ID: id})
}

// remove takes a model out for which nothing waits or runs.
func (c *crowd) remove(number int) {
	m := c.models[number]
	busy := len(m.waiting) > 0 || len(c.models) == 1
	for _, h := range c.workers {
		busy = busy || h.batch != 0 && h.model == number
	}
	if busy {
		return
	}
	c.g.Remove(m.s)
	delete(c.models, number)
	for _, w := range slices.Sorted(maps.Keys(c.workers)) {
		h := c.workers[w]
		leaving := len(h.runs) == 0
		delete(h.runs, number)
		if !leaving && len(h.runs) == 0 && h.batch == 0 {
			// It is up, and runs nothing: as good as down to all that can be seen.
			c.down(w)
		}
	}
}

// drain lets everything come to its end and checks that nothing is left over.
func (c *crowd) drain() {
	c.now += time.Second
	for _, number := range slices.Sorted(maps.Keys(c.models)) {
		c.up(9, number)
	}
	for range c.next + 5 {
		for w := range 10 {
			c.done(w)
		}
	}
	left := 0
	for _, m := range c.models {
		left += len(m.waiting)
	}
	if left > 0 || c.ended != c.arrived {
		c.Fatalf("of %d requests %d ended, %d wait", c.arrived, c.ended, left)
	}
}

func (c *crowd) step(number int, ev sched.Event) {
	for _, a := range c.g.Step(c.now, number, ev) {
		switch a.Kind {
		case sched.Dispatch:
			c.dispatched(a)
		case sched.Drop:
			c.dropped(a)
		}
	}
	for n, m := range c.models {
		up, free := 0, 0
		for _, h := range c.workers {
			if h.runs[n] {
				up++
				if h.batch == 0 {
					free++
				}
			}
		}
		if m.s.Up() != up || m.s.Free() != free {
			c.Fatalf("model %d has %d of %d workers free, the scheduler says %d of %d", n, free, up, m.s.Free(), m.s.Up())
		}
		if waiting, _ := m.s.Waiting(); waiting != len(m.waiting) {
			c.Fatalf("model %d: %d requests wait, the scheduler says %d", n, len(m.waiting), waiting)
		}
		if free > 0 && len(m.waiting) > 0 {
			c.Fatalf("model %d: %d requests wait beside %d idle workers", n, len(m.waiting), free)
		}
	}
}

func (c *crowd) dispatched(a sched.Action) {
	h, m := c.workers[a.Worker], c.models[a.Model]
	if h == nil || h.batch != 0 || !h.runs[a.Model] {
		c.Fatalf("%v of model %d: the worker is busy or does not run it: %+v", a, a.Model, h)
	}
	if a.Batch <= c.batch {
		c.Fatalf("%v: the batch number is not new", a)
	}
	c.batch = a.Batch
	c.leastSlack(a)
	images := 0
	for _, id := range a.IDs {
		r := m.waiting[id]
		if r == nil {
			c.Fatalf("%v: request %d does not wait for model %d", a, id, a.Model)
		}
		delete(m.waiting, id)
		r.attempts++
		images += r.Size
		h.run = append(h.run, r)
	}
	if images != a.Images || images == 0 || images > m.p.MaxBatch {
		c.Fatalf("%v: the requests have %d images", a, images)
	}
	h.batch, h.model = a.Batch, a.Model
}

// leastSlack checks that no other model's request, to which the worker could have gone,
// had to start before the batch's first.
func (c *crowd) leastSlack(a sched.Action) {
	doom := func(m *member, r *tracked) time.Duration {
		fastest := time.Hour
		for i := range m.p.Subnets {
			fastest = min(fastest, m.p.Latency(i, r.Size))
		}
		return r.Deadline - fastest
	}
	first := c.models[a.Model].waiting[a.IDs[0]]
	if first == nil || first.Late == sched.Serve {
		return // it may be late already, and have let others go first
	}
	for n, m := range c.models {
		for _, r := range m.waiting {
			if n != a.Model && c.workers[a.Worker].runs[n] && r.Late == sched.Reject && doom(m, r) < doom(c.models[a.Model], first) && c.head(m) == r {
				c.Fatalf("at %v %v: request %d of model %d had to start before", c.now, a, r.ID, n)
			}
		}
	}
}

// head returns the most urgent request, or nil if it could be late already.
func (c *crowd) head(m *member) (head *tracked) {
	for _, r := range m.waiting {
		if head == nil || r.Deadline < head.Deadline || r.Deadline == head.Deadline && r.ID < head.ID {
			head = r
		}
	}
	return head
}

func (c *crowd) dropped(a sched.Action) {
	m := c.models[a.Model]
	r := m.waiting[a.ID]
	if r == nil {
		c.Fatalf("%v of model %d: it does not wait", a, a.Model)
	}
	delete(m.waiting, a.ID)
	c.ended++
	longest := time.Duration(0)
	for _, s := range m.p.Subnets {
		longest = max(longest, slices.Max(s.Latency))
	}
	allowed := map[sched.Reason]bool{
		sched.Cancelled: r.cancelled,
		sched.Lost:      r.attempts >= m.attempts,
		sched.Late:      r.Late == sched.Reject && r.Deadline-c.now < longest,
	}
	if !allowed[a.Reason] {
		c.Fatalf("at %v %v of model %d: not allowed for %+v", c.now, a, a.Model, fmt.Sprint(*r))
	}
}
