package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"weft/sched"
)

// Router takes the requests for one model, in the edition that it was opened in, to
// the workers. It is safe for concurrent use.
type Router struct {
	pool    *pool
	model   Model
	subnets map[string]int // index by name
	opt     *Options
	metrics routerMetrics
	log     *slog.Logger
	calls   sync.Pool // of *call

	statistics Recorder

	mu       *sync.Mutex // the pool's; guards what follows, and the calls that workers don't run
	sched    *sched.Scheduler
	slots    slots
	timeline timeline
	flight   flight
	recent   window
	drift    []float64 // by subnet, see metrics
	starting int       // workers that are to run the model and are not up yet
	busy     int       // workers that run a batch of it
	draining bool
	aborted  bool          // draining took too long: who waits is refused
	started  chan struct{} // closed when all workers were up for the first time
	stopped  chan struct{} // closed when nothing waits or runs any more, and none will
}

// call is a request on its way.
type call struct {
	req  *Request
	resp *Response
	done chan struct{} // gets one value when the router is through with the call

	pin               int // as in sched.Request.Subnet
	arrival, deadline time.Duration
	attempts          int // batches that it was in
	err               error
}

func newRouter(m Model, opt *Options, metrics *metrics, p *pool, missed chan<- Miss) (*Router, error) {
	r := &Router{
		pool:     p,
		mu:       &p.mu,
		model:    m,
		subnets:  make(map[string]int, len(m.Profile.Subnets)),
		opt:      opt,
		metrics:  metrics.router(&m),
		log:      opt.Log.With("model", m.Name),
		timeline: timeline{ring: make([]Decision, opt.Timeline)},
		flight:   flight{missed: missed, model: m.Name, ring: make([]Record, opt.Flight)},
		drift:    make([]float64, len(m.Profile.Subnets)),
		started:  make(chan struct{}),
		stopped:  make(chan struct{}),
	}
	r.calls.New = func() any { return &call{done: make(chan struct{}, 1)} }
	for i, sub := range m.Profile.Subnets {
		r.subnets[sub.Name] = i
	}
	return r, p.add(r)
}

// begun notes that the workers are up, if they are.
func (r *Router) begun() {
	if r.starting > 0 {
		return
	}
	select {
	case <-r.started:
	default:
		close(r.started)
	}
	r.pool.notify()
}

// Model returns the model. The caller must not change what it points to.
func (r *Router) Model() *Model { return &r.model }

// Policy returns the name of the scheduling policy.
func (r *Router) Policy() string { return r.sched.Policy().Name() }

// Ready reports whether requests are taken and some worker is there to run them.
func (r *Router) Ready() bool { return r.Unready() == "" }

// Unready says why the model is not ready, or "" when it is.
func (r *Router) Unready() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unready()
}

func (r *Router) unready() string {
	if r.draining {
		return "it ends"
	}
	select {
	case <-r.started:
	default:
		return "its workers start"
	}
	if r.sched.Up() == 0 {
		return "no worker runs it: wait for one to join"
	}
	return ""
}

// Infer answers the request. See InferInto.
func (r *Router) Infer(ctx context.Context, req *Request) (*Response, error) {
	resp := new(Response)
	if err := r.InferInto(ctx, req, resp); err != nil {
		return nil, err
	}
	return resp, nil
}

// InferInto answers the request into resp, whose slices it reuses. It keeps
// neither when it returns. When ctx ends, a request that waits is withdrawn at
// once, while one that runs is waited for. The error has a Code.
func (r *Router) InferInto(ctx context.Context, req *Request, resp *Response) error {
	start := req.Start
	if start.IsZero() {
		start = time.Now()
	}
	r.metrics.received.Inc()
	err := r.infer(ctx, req, resp)
	r.metrics.request(req, resp, err)
	r.statistics.Request(time.Since(start), err)
	return err
}

func (r *Router) infer(ctx context.Context, req *Request, resp *Response) error {
	subnet, err := r.check(req)
	if err != nil {
		return err
	}
	resp.Logits = grow(resp.Logits, req.N*r.model.Classes)
	c := r.calls.Get().(*call)
	c.req, c.resp, c.err = req, resp, nil
	id, err := r.submit(c, subnet)
	if err == nil {
		select {
		case <-c.done:
		case <-ctx.Done():
			r.cancel(id)
			<-c.done
		}
		err = c.err
		if errors.Is(err, errWithdrawn) {
			err = ctx.Err()
		}
	}
	c.req, c.resp, c.err = nil, nil, nil
	r.calls.Put(c)
	if err != nil {
		return err
	}
	return resp.label(req.N, r.model.Classes)
}

// errWithdrawn stands for the error of the context that ended.
var errWithdrawn = &Error{Code: Cancelled, text: "the request was withdrawn"}

// submit hands the call to the scheduler.
func (r *Router) submit(c *call, subnet int) (id uint64, err error) {
	req := c.req
	timeout := req.Timeout
	if timeout == 0 {
		timeout = r.opt.SLO
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return 0, ErrDraining
	}
	c.arrival = r.now()
	if !req.Start.IsZero() {
		c.arrival = min(c.arrival, req.Start.Sub(r.pool.epoch))
	}
	c.deadline = c.arrival + timeout
	c.pin, c.attempts = subnet, 0
	id = r.slots.put(c)
	r.stepLocked(sched.Event{Kind: sched.Arrive, Request: sched.Request{
		ID: id, Arrival: c.arrival, Deadline: c.deadline, Size: req.N,
		MinAccuracy: req.MinAccuracy, Subnet: subnet, Priority: req.Priority, Tenant: req.Tenant, Late: req.Late,
	}})
	return id, nil
}

func (r *Router) now() time.Duration { return r.pool.now() }

// cancel withdraws the requests, as far as they have not ended.
func (r *Router) cancel(ids ...uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range ids {
		if r.pool.routers[r.sched.Number()] != r {
			return // it has ended, with all its requests, and its number may be another model's
		}
		r.stepLocked(sched.Event{Kind: sched.Cancel, ID: id})
	}
}

func (r *Router) stepLocked(ev sched.Event) { r.pool.stepLocked(r.sched.Number(), ev) }

func (r *Router) dispatch(now time.Duration, w *worker, a *sched.Action) {
	r.busy++
	w.take(r)
	w.batch, w.subnet, w.ids = a.Batch, a.Subnet, append(w.ids[:0], a.IDs...)
	w.dispatched = now
	w.calls = w.calls[:0]
	for _, id := range a.IDs {
		c := r.slots.get(id)
		if c.attempts++; c.attempts > 1 {
			r.metrics.retries.Inc()
		}
		w.calls = append(w.calls, c)
	}
	requests, images := r.sched.Waiting()
	r.timeline.add(Decision{
		At: now, Batch: a.Batch, Slack: w.calls[0].deadline - now, Requests: len(a.IDs), Images: a.Images,
		Subnet: a.Subnet, Worker: a.Worker, WaitingRequests: requests, WaitingImages: images,
	})
	w.wake(now, r.model.Profile.Latency(a.Subnet, a.Images))
}

func (r *Router) drop(now time.Duration, id uint64, why sched.Reason) {
	c := r.slots.take(id)
	switch why {
	case sched.Late:
		c.err = ErrLate
	case sched.Full:
		c.err = ErrFull
	case sched.Cancelled:
		c.err = errWithdrawn
		if r.aborted {
			c.err = ErrDraining
		}
	case sched.Lost:
		c.err = errLost
	case sched.Invalid:
		c.err = Errorf(Invalid, "the scheduler can not place the request: no subnet meets its wishes")
	}
	if why == sched.Late || why == sched.Full {
		r.recent.add(false)
	}
	r.recordDrop(now, id, c)
	c.done <- struct{}{}
}

// drain refuses new requests from now on.
func (r *Router) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.draining {
		r.draining = true
		r.pool.draining = append(r.pool.draining, r)
		r.pool.notify()
	}
	r.pool.endDrained()
}

// endIfDrained takes the router out once nothing is left to do, and releases the model.
func (r *Router) endIfDrained() bool {
	if r.slots.used > 0 || r.busy > 0 {
		return false
	}
	r.pool.remove(r)
	go func() {
		if r.model.Close != nil {
			r.model.Close()
		}
		close(r.stopped)
	}()
	return true
}

// awaitDrain waits until the router has ended. When ctx ends first, it refuses those
// who wait.
func (r *Router) awaitDrain(ctx context.Context) error {
	select {
	case <-r.stopped:
		return nil
	case <-ctx.Done():
	}
	r.mu.Lock()
	r.aborted = true
	waiting, _ := r.sched.Waiting()
	ids := r.slots.ids(nil)
	r.mu.Unlock()
	r.cancel(ids...)
	return fmt.Errorf("drain model %s: refused %d waiting requests: %w", r.model.Name, waiting, ctx.Err())
}
