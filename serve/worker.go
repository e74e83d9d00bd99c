package serve

import (
	"errors"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"

	"weft/sched"
)

// shortWork bounds what a worker does on threads of the network. To wake a
// thread of the worker's own takes some 50 µs, and to go back to sleep on it as
// many. Work that is over within a millisecond of its worker's rest need not pay
// that; it runs on whichever thread is awake, and is too short to starve the
// network. Work that goes on for longer moves to the worker's own thread.
const shortWork = time.Millisecond

// worker runs batches of one model or more, one at a time. The batch fields belong to
// the pool while the worker is free and to the goroutine that runs the batch meanwhile.
type worker struct {
	pool  *pool
	index int
	name  string
	short chan struct{} // one value per batch that is short work, closed to end the worker
	long  chan struct{} // the same for the others; nil unless the worker computes
	ended chan struct{} // closed when its goroutines have ended

	// Guarded by pool.mu.
	execs     []Executor    // by number of the router; nil: it does not run that model
	alive     int           // goroutines
	up        bool          // it takes batches
	leaving   bool          // it takes no more
	gone      bool          // and has none: its number is free
	since     time.Duration // when the work began that goes on without a rest
	finishing bool          // it still runs, and looks for its next batch

	phase  atomic.Int32
	router *Router // of the batch, as below
	exec   Executor
	batch  uint64
	subnet int
	ids    []uint64
	calls  []*call

	dispatched, began, started, computed time.Duration // of the batch, as in Record

	images []float32 // [MaxBatch][H*W*C], the batch gathered
	logits []float32 // [MaxBatch][Classes]
}

// The phases of a batch. One that is lost while it is gathered or computed is no more
// the worker's, even if it goes on; one that is answered is not lost.
const (
	idle int32 = iota
	gathering
	computing
	answering
	lost
)

func newWorker(p *pool, index int, name string, compute bool) *worker {
	w := &worker{
		pool:  p,
		index: index,
		name:  name,
		alive: 1,
		short: make(chan struct{}, 1),
		ended: make(chan struct{}),
	}
	if compute {
		w.alive++
		w.long = make(chan struct{}, 1)
	}
	return w
}

// start starts the worker's goroutines.
func (w *worker) start() {
	go w.loop(w.short)
	if w.long != nil {
		go w.ownThread()
	} else {
		w.up = true
	}
}

// offer has the worker run the router's model by the executor.
func (w *worker) offer(r *Router, exec Executor) {
	n := r.sched.Number()
	if w.leaving || w.pool.routers[n] != r {
		return
	}
	for len(w.execs) <= n {
		w.execs = append(w.execs, nil)
	}
	known := w.execs[n] != nil
	w.execs[n] = exec
	switch {
	case known:
	case w.up:
		w.pool.stepLocked(n, sched.Event{Kind: sched.WorkerUp, Worker: w.index})
		w.pool.notify()
	default:
		r.starting++
	}
}

// take makes the router's batch the worker's.
func (w *worker) take(r *Router) {
	w.phase.Store(gathering)
	w.router, w.exec = r, w.execs[r.sched.Number()]
}

// wake lets the batch run, which is expected to take so long. It never blocks:
// the worker is free.
func (w *worker) wake(now, expected time.Duration) {
	if !w.finishing {
		w.since = now
	}
	if w.long == nil || now+expected-w.since < shortWork {
		w.short <- struct{}{}
	} else {
		w.long <- struct{}{}
	}
}

// leave takes the worker out once its batch is over.
func (w *worker) leave() {
	if w.leaving {
		return
	}
	w.leaving = true
	w.pool.stepLocked(0, sched.Event{Kind: sched.WorkerLeave, Worker: w.index})
	if w.phase.Load() == idle {
		w.release()
	}
}

// lose takes the worker out at once, and the batch from it unless that is computed.
func (w *worker) lose() {
	switch {
	case w.gone:
	case w.phase.CompareAndSwap(idle, lost), w.phase.CompareAndSwap(computing, lost):
		w.down()
	case w.phase.CompareAndSwap(gathering, lost): // run sees it when it no longer reads requests
	default:
		w.leave()
	}
}

// down gives the worker's batch back.
func (w *worker) down() {
	w.pool.lost++
	w.release()
	w.pool.stepLocked(0, sched.Event{Kind: sched.WorkerDown, Worker: w.index})
}

// release ends the goroutines, which have nothing more to do.
func (w *worker) release() {
	if w.gone {
		return
	}
	w.leaving, w.gone = true, true
	w.pool.workers[w.index] = nil
	close(w.short)
	if w.long != nil {
		close(w.long)
	}
	for n, exec := range w.execs {
		if exec != nil && !w.up {
			r := w.pool.routers[n]
			r.starting--
			r.begun()
		}
	}
	w.execs = nil
	w.pool.notify()
}

// ownThread runs long work. The thread stays locked, so that it ends
// with the goroutine and nothing else inherits its priority.
func (w *worker) ownThread() {
	runtime.LockOSThread()
	p := w.pool
	if p.prepare != nil {
		p.prepare()
	}
	p.mu.Lock()
	if !w.gone { // else the server drains already
		w.up = true
		for n, exec := range w.execs {
			if exec != nil {
				r := p.routers[n] // which may end in the step, with its last request
				r.starting--
				p.stepLocked(n, sched.Event{Kind: sched.WorkerUp, Worker: w.index})
				r.begun()
			}
		}
	}
	p.mu.Unlock()
	w.loop(w.long)
}

// loop runs batches until their channel is closed.
func (w *worker) loop(batches <-chan struct{}) {
	for range batches {
		w.run()
	}
	p := w.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.alive--; w.alive > 0 {
		return
	}
	close(w.ended)
	if p.alive--; p.alive == 0 {
		p.lastEnded()
	}
}

// run takes one batch through the executor and answers its calls.
func (w *worker) run() {
	r := w.router
	began := r.now()
	images := w.gather()
	if !w.phase.CompareAndSwap(gathering, computing) {
		w.giveBack(nil)
		return
	}
	start := r.now()
	err := w.infer(images)
	end := r.now()
	if errors.Is(err, ErrWorkerLost) || !w.phase.CompareAndSwap(computing, answering) {
		w.giveBack(err)
		return
	}
	if err != nil {
		r.log.Error("batch failed", slog.Int("worker", w.index), slog.String("subnet", w.subnetName()),
			slog.Int("images", images), slog.Any("error", err))
	}
	met := w.scatter(images, start, end, err)
	r.metrics.batch(w.subnet, images, end-start)
	if err == nil {
		w.record(images, began, start, end)
	}
	w.began, w.started, w.computed = began, start, end
	w.finish(images, met, err == nil)
}

// giveBack ends the batch of a worker that is lost, and the worker.
func (w *worker) giveBack(err error) {
	p := w.pool
	p.log.Warn("worker lost", slog.Int("worker", w.index), slog.String("name", w.name), slog.Any("error", err))
	p.mu.Lock()
	defer p.mu.Unlock()
	w.phase.Store(lost)
	if !w.gone {
		w.down()
	}
	w.router.busy--
	p.endDrained()
}

func (w *worker) subnetName() string { return w.router.model.Profile.Subnets[w.subnet].Name }

// record counts the batch, before its requests are answered.
func (w *worker) record(images int, began, start, end time.Duration) {
	queue := time.Duration(0)
	for _, c := range w.calls {
		queue += began - c.arrival
	}
	r := w.router
	done := r.now()
	r.statistics.Batch(Batch{
		End: r.pool.epoch.Add(done), Requests: len(w.calls), Size: images,
		Queue: queue, Input: start - began, Infer: end - start, Output: done - end,
	})
}

// gather copies the images of the batch into one slice and returns their number.
func (w *worker) gather() (images int) {
	m := &w.router.model
	size := m.ImageSize()
	w.images = grow(w.images, m.Profile.MaxBatch*size)
	w.logits = grow(w.logits, m.Profile.MaxBatch*m.Classes)
	for _, c := range w.calls {
		dst := w.images[images*size:][:c.req.N*size]
		if c.req.Pixels == nil {
			copy(dst, c.req.Images)
		}
		for i, b := range c.req.Pixels {
			dst[i] = pixelValue[b]
		}
		images += c.req.N
	}
	return images
}

// infer runs the executor and turns a panic of it into an error.
func (w *worker) infer(images int) (err error) {
	m := &w.router.model
	defer func() {
		if p := recover(); p != nil {
			w.router.log.Error("executor panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			err = Errorf(Failed, "the model panicked: %v", p)
		}
	}()
	err = w.exec.Run(w.subnet, w.images[:images*m.ImageSize()], images, w.logits[:images*m.Classes])
	if err != nil {
		err = Errorf(Failed, "the model failed: %w", err)
	}
	return err
}

// scatter fills in the responses, counts those that are in time, and marks the
// calls that failed.
func (w *worker) scatter(images int, start, end time.Duration, err error) (met int) {
	classes := w.router.model.Classes
	sub := &w.router.model.Profile.Subnets[w.subnet]
	logits := w.logits
	for _, c := range w.calls {
		n := copy(c.resp.Logits, logits[:c.req.N*classes])
		logits = logits[n:]
		c.resp.Subnet, c.resp.Accuracy, c.resp.Batch = sub.Name, sub.Accuracy, images
		c.resp.Queue, c.resp.Compute = start-c.arrival, end-start
		c.resp.DeadlineMet = end <= c.deadline
		c.err = err
		if err == nil && c.resp.DeadlineMet {
			met++
		}
	}
	return met
}

// finish answers the calls and reports the worker free. Slots are given back
// before the scheduler looks for more work, answers go out before the next
// batch is picked up.
func (w *worker) finish(images, met int, ok bool) {
	r := w.router
	r.mu.Lock()
	defer r.mu.Unlock()
	r.recordBatch(w, images)
	for i, c := range w.calls {
		r.slots.take(w.ids[i])
		r.recent.add(i < met)
		c.done <- struct{}{} // never blocks: it has room for one
	}
	if ok {
		r.observe(w.subnet, images, w.computed-w.started)
	}
	r.busy--
	w.router, w.exec = nil, nil // an edition of a model that was replaced is not kept
	w.phase.Store(idle)
	w.finishing = true
	r.stepLocked(sched.Event{Kind: sched.Done, Worker: w.index, Batch: w.batch})
	w.finishing = false
	if w.leaving {
		w.release()
	}
}
