package serve

import "time"

// Decision is one batch that the scheduler started, and what it saw.
type Decision struct {
	At              time.Duration `json:"at_ns"`    // since the server's start
	Batch           uint64        `json:"batch"`    // the batch's number
	Slack           time.Duration `json:"slack_ns"` // until the deadline of its most urgent request
	Requests        int           `json:"requests"` // in the batch
	Images          int           `json:"images"`   // in the batch
	Subnet          int           `json:"subnet"`   // index into Profile.Subnets
	Worker          int           `json:"worker"`
	WaitingRequests int           `json:"waiting_requests"` // left in the queue
	WaitingImages   int           `json:"waiting_images"`   // left in the queue
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

// Now returns the time since the server's start, as in Decision.At.
func (s *Server) Now() time.Duration { return s.pool.now() }
