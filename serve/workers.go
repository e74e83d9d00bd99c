package serve

import "time"

// WorkerStatus is what a worker does at one moment.
type WorkerStatus struct {
	Index int // as in Record.Worker
	Name  string
	Up    bool // it takes batches
	// Of the batch that it runs; Model "" if it runs none.
	Model  string
	Subnet int           // index into Profile.Subnets
	Since  time.Duration // since the server's start: when the batch was dispatched
}

// Workers appends what each worker does, in the order of their indices. The
// index of a worker that left may be that of another one later.
func (s *Server) Workers(dst []WorkerStatus) []WorkerStatus {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.workers {
		if w == nil {
			continue
		}
		st := WorkerStatus{Index: w.index, Name: w.name, Up: w.up && !w.leaving}
		if w.phase.Load() != idle {
			st.Model, st.Subnet, st.Since = w.router.model.Name, w.subnet, w.dispatched
		}
		dst = append(dst, st)
	}
	return dst
}
