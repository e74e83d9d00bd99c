package kernel

import (
	"sync"
	"sync/atomic"
)

// Task is work cut into chunks that may run in any order and on any thread.
type Task interface {
	// Do runs chunk i. thread numbers the pool thread that runs it, for scratch memory.
	Do(i, thread int)
}

// Pool runs the chunks of one task at a time on a fixed number of threads.
type Pool struct {
	threads int
}

// NewPool returns a pool of n compute threads, the caller of Run being one of them.
func NewPool(n int) *Pool { return &Pool{threads: max(n, 1)} }

// Threads returns the number of compute threads, the caller included.
func (p *Pool) Threads() int { return p.threads }

// Run runs chunks 0..n-1 of t and returns when all are done.
func (p *Pool) Run(n int, t Task) {
	var next atomic.Int64
	var wg sync.WaitGroup
	work := func(th int) {
		for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
			t.Do(i, th)
		}
	}
	for th := 1; th < min(p.threads, n); th++ {
		wg.Go(func() { work(th) })
	}
	work(0)
	wg.Wait()
}

// Close ends the threads of the pool.
func (p *Pool) Close() {}
