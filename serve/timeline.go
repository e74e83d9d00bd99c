package serve

import "time"

// Decision is one batch that the scheduler started, and what it saw.
type Decision struct {
	At              time.Duration // since the server's start
	Batch           uint64        // the batch's number
	Slack           time.Duration // until the deadline of its most urgent request
	Requests        int           // in the batch
	Images          int           // in the batch
	Subnet          int           // index into Profile.Subnets
	Worker          int
	WaitingRequests int // left in the queue
	WaitingImages   int // left in the queue
}

// timeline is a ring of the latest decisions.
type timeline struct {
	ring  []Decision
	total int // decisions so far
}

func (t *timeline) add(d Decision) {
	t.ring[t.total%len(t.ring)] = d
	t.total++
}

// Timeline appends the latest decisions, oldest first, and returns the number
// of decisions since the start.
func (r *Router) Timeline(dst []Decision) (decisions []Decision, total int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &r.timeline
	for i := max(t.total-len(t.ring), 0); i < t.total; i++ {
		dst = append(dst, t.ring[i%len(t.ring)])
	}
	return dst, t.total
}

// Now returns the time since the server's start, as in Decision.At.
func (r *Router) Now() time.Duration { return r.now() }
