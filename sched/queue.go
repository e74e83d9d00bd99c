package sched

import (
	"cmp"
	"time"
)

// entry is a request inside the scheduler. Entries are recycled.
type entry struct {
	Request
	// choice is the subnet that the scheduler falls back on when the policy's
	// choice is not acceptable: the pin, or the least accurate subnet above the floor.
	choice int
	// fastest is the least time in which the request alone can be computed.
	fastest time.Duration
	// work is the least worker time that it needs as one of a full batch or, if it is
	// pinned and may find no company, alone.
	work      time.Duration
	lane      *lane // in its queue
	pos       int   // in its lane
	attempts  int   // dispatches so far
	state     state
	late      bool // it belongs to the queue of late ones
	cancelled bool // while it ran
}

type state uint8

const (
	waiting state = iota
	running
)

// accepts reports whether the request may be answered by the subnet.
func (e *entry) accepts(subnet int) bool {
	if e.Subnet >= 0 {
		return e.Subnet == subnet
	}
	return subnet >= e.choice
}

// before is the queue's order: deadline, then priority, then arrival.
func (e *entry) before(o *entry) bool {
	if e.Deadline != o.Deadline {
		return e.Deadline < o.Deadline
	}
	if c := cmp.Compare(o.Priority, e.Priority); c != 0 {
		return c < 0
	}
	return e.ID < o.ID
}

func (e *entry) place() *int { return &e.pos }

// queue holds what waits, earliest first: a heap of lanes, one a tenant, each a
// heap of its entries, so that both the most urgent of all and the most urgent of
// a tenant are at hand.
type queue struct {
	lanes  heap[*lane] // none is empty
	byName map[string]*lane
	spare  []*lane // recycled
	n      int
	images int           // sum of the sizes
	due    time.Duration // sum of the deadlines, by image; may wrap around, see meanDue
	work   time.Duration // sum of the entries' work
}

// lane holds what a tenant has waiting.
type lane struct {
	tenant string
	heap   heap[*entry]
	work   time.Duration // sum of the entries' work
	pos    int           // in queue.lanes
}

func (l *lane) before(o *lane) bool { return l.heap[0].before(o.heap[0]) }

func (l *lane) place() *int { return &l.pos }

func newQueue() queue { return queue{byName: map[string]*lane{}} }

func (q *queue) len() int { return q.n }

func (q *queue) head() *entry { return q.lanes[0].heap[0] }

func (q *queue) push(e *entry) {
	l := q.byName[e.Tenant]
	if l == nil {
		l = q.open(e.Tenant)
	}
	e.lane = l
	l.heap.push(e)
	if len(l.heap) == 1 {
		q.lanes.push(l)
	} else if e.pos == 0 {
		q.lanes.fix(l.pos)
	}
	q.count(e, 1)
}

func (q *queue) pop() *entry {
	e := q.head()
	q.remove(e)
	return e
}

func (q *queue) remove(e *entry) {
	l := e.lane
	q.count(e, -1)
	if len(l.heap) == 1 {
		q.lanes.remove(l)
		l.heap.remove(e)
		delete(q.byName, l.tenant)
		q.spare = append(q.spare, l)
		return
	}
	first := e.pos == 0
	l.heap.remove(e)
	if first {
		q.lanes.fix(l.pos)
	}
}

func (q *queue) open(tenant string) *lane {
	var l *lane
	if n := len(q.spare); n > 0 {
		l, q.spare = q.spare[n-1], q.spare[:n-1]
	} else {
		l = new(lane)
	}
	l.tenant = tenant
	q.byName[tenant] = l
	return l
}

func (q *queue) count(e *entry, sign int) {
	d := time.Duration(sign)
	q.n += sign
	q.images += sign * e.Size
	q.due += d * e.Deadline * time.Duration(e.Size)
	q.work += d * e.work
	e.lane.work += d * e.work
}

// meanDue returns the mean deadline, by image, of a queue that is not empty. Deadlines count
// from an epoch long ago, so that their sum wraps around after days; the sum of what they
// are after the earliest is small, and comes out right for all that.
func (q *queue) meanDue() time.Duration {
	head, n := q.head().Deadline, time.Duration(q.images)
	return head + (q.due-head*n)/n
}

// longest returns the lane with the most work waiting for its tenant's share. Of
// equals it is the one whose tenant comes first in the alphabet.
func (q *queue) longest(shares map[string]float64) *lane {
	best, most := q.lanes[0], -1.
	for _, l := range q.lanes {
		share, ok := shares[l.tenant]
		if !ok {
			share = 1
		}
		if w := float64(l.work) / share; w > most || w == most && l.tenant < best.tenant {
			best, most = l, w
		}
	}
	return best
}
