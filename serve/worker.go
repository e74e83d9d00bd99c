package serve

import (
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"weft/sched"
)

// shortWork bounds what a worker does on threads of the network. To wake a
// thread of the worker's own takes some 50 µs, and to go back to sleep on it as
// many. Work that is over within a millisecond of its worker's rest need not pay
// that; it runs on whichever thread is awake, and is too short to starve the
// network. Work that goes on for longer moves to the worker's own thread.
const shortWork = time.Millisecond

// worker runs one executor. The batch fields belong to the router while the
// worker is free and to the goroutine that runs the batch meanwhile.
type worker struct {
	router *Router
	index  int
	exec   Executor
	short  chan struct{} // one value per batch that is short work, closed to end the worker
	long   chan struct{} // the same for the others

	since     time.Duration // when the work began that goes on without a rest
	finishing bool          // it still runs, and looks for its next batch

	batch  uint64
	subnet int
	ids    []uint64
	calls  []*call

	dispatched, began, started, computed time.Duration // of the batch, as in Record

	images []float32 // [MaxBatch][H*W*C], the batch gathered
	logits []float32 // [MaxBatch][Classes]
}

func newWorker(r *Router, index int, exec Executor) *worker {
	limit := r.model.Profile.MaxBatch
	return &worker{
		router: r,
		index:  index,
		exec:   exec,
		short:  make(chan struct{}, 1),
		long:   make(chan struct{}, 1),
		ids:    make([]uint64, 0, limit),
		calls:  make([]*call, 0, limit),
		images: make([]float32, limit*r.model.ImageSize()),
		logits: make([]float32, limit*r.model.Classes),
	}
}

// start starts the worker's goroutines.
func (w *worker) start() {
	go w.ownThread()
	go w.loop(w.short)
}

// wake lets the batch run, which is expected to take so long. It never blocks:
// the worker is free.
func (w *worker) wake(now, expected time.Duration) {
	if !w.finishing {
		w.since = now
	}
	if now+expected-w.since < shortWork {
		w.short <- struct{}{}
	} else {
		w.long <- struct{}{}
	}
}

// end ends the goroutines.
func (w *worker) end() {
	close(w.short)
	close(w.long)
}

// ownThread runs long work. The thread stays locked, so that it ends
// with the goroutine and nothing else inherits its priority.
func (w *worker) ownThread() {
	runtime.LockOSThread()
	r := w.router
	if r.opt.Prepare != nil {
		r.opt.Prepare()
	}
	r.mu.Lock()
	if r.workers != nil { // else the server drains already
		if r.up++; r.up == len(r.workers) {
			close(r.started)
		}
	}
	r.stepLocked(sched.Event{Kind: sched.WorkerUp, Worker: w.index})
	r.mu.Unlock()
	w.loop(w.long)
}

// loop runs batches until their channel is closed. The goroutine of the router
// that ends last releases the model.
func (w *worker) loop(batches <-chan struct{}) {
	for range batches {
		w.run()
	}
	r := w.router
	r.mu.Lock()
	r.alive--
	last := r.alive == 0
	r.mu.Unlock()
	if !last {
		return
	}
	if r.model.Close != nil {
		r.model.Close()
	}
	close(r.stopped)
}

// run takes one batch through the executor and answers its calls.
func (w *worker) run() {
	r := w.router
	began := r.now()
	images := w.gather()
	start := r.now()
	err := w.infer(images)
	end := r.now()
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
		End: r.epoch.Add(done), Requests: len(w.calls), Size: images,
		Queue: queue, Input: start - began, Infer: end - start, Output: done - end,
	})
}

// gather copies the images of the batch into one slice and returns their number.
func (w *worker) gather() (images int) {
	size := w.router.model.ImageSize()
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
	w.finishing = true
	r.stepLocked(sched.Event{Kind: sched.Done, Worker: w.index, Batch: w.batch})
	w.finishing = false
}
