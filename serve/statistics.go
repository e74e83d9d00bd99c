package serve

import (
	"slices"
	"sync"
	"time"
)

// Total is a number of events and the time that they took together.
type Total struct {
	Count uint64
	Time  time.Duration
}

func (t *Total) add(n int, each time.Duration) {
	t.Count += uint64(n)
	t.Time += time.Duration(n) * each
}

// Statistics are what a model did since it was loaded. A batch counts in
// Executions and Batches as soon as it is computed, so Inferences is always
// the sum of batch size times count over Batches.
type Statistics struct {
	LastInference time.Time // when the latest batch ended (zero: none)
	Inferences    uint64    // images, or other elements of a batch, that were computed
	Executions    uint64    // batches

	// Success and Fail count requests, from their start to their answer.
	// Cancelled counts those withdrawn, which are in neither.
	Success, Fail, Cancelled Total
	// Queue, Input, Infer and Output count the requests of computed batches: the
	// time until their batch began, and what it took to gather the batch, to
	// compute it and to hand it out. They add up to less than Success, which
	// also has the time until the caller runs again.
	Queue, Input, Infer, Output Total
	// Batches are the batches by their size, ascending.
	Batches []BatchStatistics
}

// BatchStatistics are those of the batches of one size.
type BatchStatistics struct {
	Size                 int
	Input, Infer, Output Total
}

// Recorder gathers Statistics. It is safe for concurrent use; its zero value is ready.
type Recorder struct {
	mu    sync.Mutex
	stats Statistics // but for Batches
	sizes []BatchStatistics
}

// Request counts a request that took so long and ended with err.
func (r *Recorder) Request(took time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch CodeOf(err) {
	case OK:
		r.stats.Success.add(1, took)
	case Cancelled:
		r.stats.Cancelled.add(1, took)
	default:
		r.stats.Fail.add(1, took)
	}
}

// Batch is one computed batch.
type Batch struct {
	End                         time.Time
	Requests                    int
	Size                        int           // elements
	Queue, Input, Infer, Output time.Duration // Queue is the sum over the requests
}

// Batch counts a computed batch.
func (r *Recorder) Batch(b Batch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.stats
	s.LastInference = b.End
	s.Inferences += uint64(b.Size)
	s.Executions++
	s.Queue.Count += uint64(b.Requests)
	s.Queue.Time += b.Queue
	s.Input.add(b.Requests, b.Input)
	s.Infer.add(b.Requests, b.Infer)
	s.Output.add(b.Requests, b.Output)
	for len(r.sizes) <= b.Size {
		r.sizes = append(r.sizes, BatchStatistics{Size: len(r.sizes)})
	}
	size := &r.sizes[b.Size]
	size.Input.add(1, b.Input)
	size.Infer.add(1, b.Infer)
	size.Output.add(1, b.Output)
}

// Statistics returns what has been counted so far.
func (r *Recorder) Statistics() Statistics {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Batches = slices.DeleteFunc(slices.Clone(r.sizes), func(b BatchStatistics) bool { return b.Infer.Count == 0 })
	return s
}

// Statistics returns what the model did since the router was made.
func (r *Router) Statistics() Statistics { return r.statistics.Statistics() }
