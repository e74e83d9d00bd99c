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
	pos       int // in its queue
	attempts  int // dispatches so far
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

// queue is a binary heap of entries that know their position, so that one can
// be removed from the middle.
type queue struct {
	heap   []*entry
	images int           // sum of the sizes
	due    time.Duration // sum of the deadlines, by image
	work   time.Duration // sum of the entries' work
}

func (q *queue) len() int { return len(q.heap) }

func (q *queue) head() *entry { return q.heap[0] }

func (q *queue) push(e *entry) {
	e.pos = len(q.heap)
	q.heap = append(q.heap, e)
	q.images += e.Size
	q.due += e.Deadline * time.Duration(e.Size)
	q.work += e.work
	q.up(e.pos)
}

func (q *queue) pop() *entry {
	e := q.heap[0]
	q.remove(e)
	return e
}

func (q *queue) remove(e *entry) {
	i, last := e.pos, len(q.heap)-1
	q.swap(i, last)
	q.heap[last] = nil
	q.heap = q.heap[:last]
	q.images -= e.Size
	q.due -= e.Deadline * time.Duration(e.Size)
	q.work -= e.work
	if i < last {
		q.down(i)
		q.up(i)
	}
}

func (q *queue) swap(i, j int) {
	q.heap[i], q.heap[j] = q.heap[j], q.heap[i]
	q.heap[i].pos, q.heap[j].pos = i, j
}

func (q *queue) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !q.heap[i].before(q.heap[parent]) {
			return
		}
		q.swap(i, parent)
		i = parent
	}
}

func (q *queue) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(q.heap); child++ {
			if q.heap[child].before(q.heap[least]) {
				least = child
			}
		}
		if least == i {
			return
		}
		q.swap(i, least)
		i = least
	}
}
