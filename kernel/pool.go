package kernel

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Task is work cut into chunks that may run in any order and on any thread.
type Task interface {
	// Do runs chunk i. thread numbers the pool thread that runs it, for scratch memory.
	Do(i, thread int)
}

// Pool runs the chunks of one task at a time on a fixed number of threads.
//
// The caller of Run works too. Helpers, each on an OS thread of its own, look out for
// chunks for a while after a task and go to sleep when none comes. Each thread has a share
// of neighbouring chunks, the same one for the same number of chunks, so that what it wrote
// in one task is in its own cache in the next. Chunks are claimed one by one; who is
// through with its own takes those that others have not claimed, so that the caller never
// waits for a helper that is still waking up.
type Pool struct {
	threads  int
	helpers  []*helper
	ended    sync.WaitGroup
	closed   atomic.Bool
	busy     atomic.Bool
	panicked atomic.Pointer[any]

	// task is written while no chunks are left and read only by who has claimed one, which
	// keeps Run from returning.
	task   Task
	shares []span // by thread

	_     [64]byte
	done  atomic.Int64 // chunks that are finished
	total atomic.Int64 // chunks of the task
	rest  sleeper      // of the caller
	_     [56]byte
}

// span holds the chunks [from, to) that nobody has claimed yet, as from<<32 | to.
type span struct {
	chunks atomic.Uint64
	_      [56]byte
}

func (s *span) set(from, to int) { s.chunks.Store(uint64(from)<<32 | uint64(to)) }

// claim takes the first chunk, or the last one, of those that are left.
func (s *span) claim(last bool) (chunk int, ok bool) {
	for {
		v := s.chunks.Load()
		from, to := v>>32, v&math.MaxUint32
		if from == to {
			return 0, false
		}
		if last {
			if s.chunks.CompareAndSwap(v, v-1) {
				return int(to) - 1, true
			}
		} else if s.chunks.CompareAndSwap(v, v+1<<32) {
			return int(from), true
		}
	}
}

// helper is one thread of a pool besides the caller's.
type helper struct {
	sleeper
	thread int
}

// spinTime is how long a thread looks out for work before it sleeps: about as long as
// waking it takes. While chunks of a task still run, the next task is near and a thread
// looks out for up to workTime.
const (
	spinTime = 80 * time.Microsecond
	workTime = 2 * time.Millisecond
)

// PoolOption changes how NewPool makes a pool.
type PoolOption func(*poolOptions)

type poolOptions struct{ nice int }

// Nice lowers the priority of the helpers to the given nice value (0..19), where the
// system has one a thread; elsewhere it does nothing.
func Nice(n int) PoolOption { return func(o *poolOptions) { o.nice = n } }

// NewPool returns a pool of n compute threads, the caller of Run being one of them. Close
// ends it.
func NewPool(n int, options ...PoolOption) *Pool {
	var o poolOptions
	for _, set := range options {
		set(&o)
	}
	p := &Pool{threads: max(n, 1)}
	p.shares = make([]span, p.threads)
	p.rest.wake = make(chan struct{}, 1)
	for th := 1; th < p.threads; th++ {
		h := &helper{thread: th}
		h.wake = make(chan struct{}, 1)
		p.helpers = append(p.helpers, h)
		p.ended.Go(func() { p.help(h, o.nice) })
	}
	return p
}

// Threads returns the number of compute threads, the caller included.
func (p *Pool) Threads() int { return p.threads }

// Run runs chunks 0..n-1 of t and returns when all are done. A panic in a chunk is raised
// again here, after the other chunks. A task may not call Run, nor may two goroutines at
// a time.
func (p *Pool) Run(n int, t Task) {
	if n <= 0 {
		return
	}
	if !p.busy.CompareAndSwap(false, true) {
		panic("kernel: a pool runs one task at a time")
	}
	defer p.busy.Store(false)
	if n == 1 || p.threads == 1 {
		for i := range n {
			t.Do(i, 0)
		}
		return
	}
	p.task = t
	p.total.Store(int64(n))
	p.done.Store(0)
	threads := min(n, p.threads)
	for th := threads - 1; th >= 0; th-- {
		p.shares[th].set(th*n/threads, (th+1)*n/threads)
	}
	for _, h := range p.helpers[:threads-1] {
		h.rouse()
	}
	p.work(0)
	p.rest.await(func() bool { return p.done.Load() == int64(n) }, p.running)
	p.task = nil
	if v := p.panicked.Swap(nil); v != nil {
		panic(*v)
	}
}

// Close ends the threads of the pool.
func (p *Pool) Close() {
	p.closed.Store(true)
	for _, h := range p.helpers {
		h.rouse()
	}
	p.ended.Wait()
}

// help is the life of a helper. Its OS thread ends with it, which is why the priority
// need not be restored.
func (p *Pool) help(h *helper, nice int) {
	runtime.LockOSThread()
	if nice != 0 {
		_ = setNice(nice) // slower neighbours are no reason not to compute
	}
	for !p.closed.Load() {
		p.work(h.thread)
		h.await(func() bool { return p.waiting() || p.closed.Load() }, p.running)
	}
}

// running reports whether chunks of a task are not finished.
func (p *Pool) running() bool { return p.done.Load() < p.total.Load() }

// waiting reports whether chunks are left that nobody has claimed.
func (p *Pool) waiting() bool {
	for i := range p.shares {
		if v := p.shares[i].chunks.Load(); v>>32 != v&math.MaxUint32 {
			return true
		}
	}
	return false
}

// work runs chunks as long as there are any to claim: first those of the thread's own
// share, then the last ones of the others'.
func (p *Pool) work(thread int) {
	for i := range p.shares {
		s := &p.shares[(thread+i)%len(p.shares)]
		for {
			chunk, ok := s.claim(i > 0)
			if !ok {
				break
			}
			p.do(chunk, thread)
		}
	}
}

// do runs one claimed chunk and tells the caller when it was the last.
func (p *Pool) do(i, thread int) {
	n := p.total.Load()
	defer func() {
		if v := recover(); v != nil {
			p.fail(v)
		}
		if p.done.Add(1) == n && thread != 0 {
			p.rest.rouse()
		}
	}()
	p.task.Do(i, thread)
}

// fail keeps the first panic of a task.
func (p *Pool) fail(v any) { p.panicked.CompareAndSwap(nil, &v) }

// sleeper is where one thread waits.
type sleeper struct {
	asleep atomic.Bool
	wake   chan struct{}
}

// await returns when ready does true: it spins for a while, longer as long as running is
// true, and then sleeps until rouse.
func (s *sleeper) await(ready, running func() bool) {
	var start, idle time.Time // known after the first look at the clock
	for i := 1; ; i++ {
		if ready() {
			return
		}
		relax(1)
		if i%64 != 0 {
			continue
		}
		now := time.Now()
		if start.IsZero() {
			start, idle = now, now
		}
		if running() && now.Sub(start) < workTime {
			idle = now
		} else if now.Sub(idle) > spinTime {
			break
		}
	}
	for {
		s.asleep.Store(true)
		// Whoever makes ready true looks at asleep afterwards, so one of us sees the other.
		if ready() && s.asleep.CompareAndSwap(true, false) {
			return
		}
		<-s.wake
		if ready() {
			return
		}
	}
}

// rouse wakes the sleeper if it sleeps.
func (s *sleeper) rouse() {
	if s.asleep.Load() && s.asleep.CompareAndSwap(true, false) {
		s.wake <- struct{}{}
	}
}
