package serve

import (
	"context"
	"errors"
	"fmt"
	"maps"
)

// ErrWorkerLost is what an Executor's error wraps when its worker is gone: the
// worker takes no more batches, and the requests of this one wait again, to be run
// by another worker as long as their deadlines and Sched.MaxAttempts allow.
var ErrWorkerLost = errors.New("the worker is lost")

// WorkerSpec describes a worker that joins a server.
type WorkerSpec struct {
	// Name is for people.
	Name string
	// Executors say which models the worker runs. It runs one batch at a time,
	// whichever model's it is. A router stands for one edition of a model: one that
	// replaces it is another, which needs an executor of its own (Attached.Offer).
	Executors map[*Router]Executor
	// Compute says that the executors compute in this process, for which the worker
	// has a thread of its own (see Options.Prepare). Otherwise they wait for others.
	Compute bool
}

// Attached is a worker that joined a running server. It is safe for concurrent use.
type Attached struct{ w *worker }

// Attach adds a worker. It runs batches from now on, until Leave or Lost is called,
// an executor reports ErrWorkerLost, or the server ends.
func (s *Server) Attach(spec WorkerSpec) (*Attached, error) {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ending {
		return nil, ErrDraining
	}
	for r := range spec.Executors {
		if r.pool != p {
			return nil, fmt.Errorf("worker %s runs model %s of another server: name a router of this one", spec.Name, r.model.Name)
		}
	}
	w := p.open(spec.Name, spec.Compute)
	for r, exec := range maps.All(spec.Executors) {
		w.offer(r, exec)
	}
	return &Attached{w}, nil
}

// Offer has the worker run one more model, or run it by another executor. It does
// nothing once the worker has left or the model was replaced or unloaded.
func (a *Attached) Offer(r *Router, exec Executor) {
	p := a.w.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.pool == p {
		a.w.offer(r, exec)
	}
}

// Leave takes the worker out. It gets no more batches, and Leave waits until the one
// that it runs is over, or ctx ends.
func (a *Attached) Leave(ctx context.Context) error {
	a.w.pool.mu.Lock()
	a.w.leave()
	a.w.pool.mu.Unlock()
	select {
	case <-a.w.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("worker %s leaves: its batch is not over: %w", a.w.name, ctx.Err())
	}
}

// Lost takes the worker out at once. The requests of its batch wait again, and what
// its executor still computes counts no more. An executor that knows of the loss
// itself returns ErrWorkerLost instead.
func (a *Attached) Lost() {
	a.w.pool.mu.Lock()
	defer a.w.pool.mu.Unlock()
	a.w.lose()
}

// Done is closed once the worker has left or was lost, and no executor of it runs.
func (a *Attached) Done() <-chan struct{} { return a.w.ended }

// Number returns the worker's number, as in Decision.Worker. A later worker may have
// it once this one is gone.
func (a *Attached) Number() int { return a.w.index }
