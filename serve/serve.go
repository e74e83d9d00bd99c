// Package serve answers inference requests with the most accurate subnet that
// meets each request's deadline.
//
// A [Server] offers models by name. Each has a [Router] with a queue of its own
// (package sched), and all share the workers, each of which has an [Executor] for
// every model that it runs. Workers may join and leave at any time ([Server.Attach]).
// A request passes
//
//	Infer -> queue of the model -> worker: gather, Executor.Run, scatter -> Infer
//
// The caller of Infer blocks meanwhile, so its buffers are read and written in
// place and a steady stream of requests allocates nothing.
//
// The scheduler is stepped under one lock by whoever has news: the caller that
// brings a request, the worker that finished a batch, the timer. A worker thus
// picks its next batch up without waiting for another thread to be scheduled,
// which under full load would cost it milliseconds.
//
// Computing of a millisecond and more runs on operating system threads of its own, so
// that [Options.Prepare] can lower its priority below that of the network.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weft/sched"
)

// Options of a Server. The zero value is useful.
type Options struct {
	// Policy names the scheduling policy (see sched.ParsePolicy; "": the default).
	Policy string
	// SLO is the time until the deadline of a request that names none (0: DefaultSLO).
	SLO time.Duration
	// Sched holds the scheduler's options. MaxQueue 0 means DefaultMaxQueue.
	Sched sched.Options
	// Prepare, if not nil, is called once on each worker's locked thread before
	// its first batch, for instance to lower the thread's priority.
	Prepare func()
	// Timeline is the number of recent decisions to remember (0: DefaultTimeline).
	Timeline int
	// Flight is the number of recent requests to remember (0: DefaultFlight).
	Flight int
	// Repository is where Load finds models (nil: nothing can be loaded).
	Repository Repository
	// Log receives what an operator must know (nil: nothing is logged).
	Log *slog.Logger
}

// Defaults of Options.
const (
	DefaultSLO      = 50 * time.Millisecond
	DefaultMaxQueue = 4096
	DefaultTimeline = 1024
)

func (o *Options) setDefaults() {
	if o.SLO == 0 {
		o.SLO = DefaultSLO
	}
	if o.Sched.MaxQueue == 0 {
		o.Sched.MaxQueue = DefaultMaxQueue
	}
	if o.Timeline == 0 {
		o.Timeline = DefaultTimeline
	}
	if o.Flight == 0 {
		o.Flight = DefaultFlight
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Server serves models by name. It is safe for concurrent use.
type Server struct {
	opt      Options
	registry *prometheus.Registry
	metrics  *metrics
	pool     *pool
	serving  atomic.Pointer[catalog] // replaced as a whole
	loading  chan struct{}           // holds a value while a model is loaded
	missed   chan Miss               // holds a miss that is to be looked into

	mu       sync.Mutex // guards what follows, and changes of serving
	retired  []*Router  // replaced or unloaded, and not known to have ended
	states   map[string]Entry
	draining bool
}

// catalog is what is served at one time.
type catalog struct {
	routers map[string]*Router
	names   []string // sorted
}

// New starts the workers of the models. End them with Shutdown.
func New(models []Model, opt Options) (*Server, error) {
	opt.setDefaults()
	s := &Server{
		opt: opt, registry: newRegistry(),
		loading: make(chan struct{}, 1), missed: make(chan Miss, 1), states: make(map[string]Entry),
	}
	s.pool = newPool(&s.opt, time.Now())
	s.metrics = newMetrics(s.registry)
	s.metrics.expect(opt.Repository)
	c := &catalog{routers: make(map[string]*Router, len(models))}
	for i := range models {
		r, err := s.newRouter(models[i])
		if err != nil {
			return nil, err
		}
		name := r.model.Name
		if c.routers[name] != nil {
			return nil, fmt.Errorf("model %s is named twice: give each model its own name", name)
		}
		c.routers[name] = r
		c.names = append(c.names, name)
	}
	slices.Sort(c.names)
	s.serving.Store(c)
	s.registry.MustRegister(collector{s})
	for _, name := range c.names {
		s.pool.start(c.routers[name])
	}
	return s, nil
}

func (s *Server) newRouter(m Model) (*Router, error) {
	if err := m.validate(); err != nil {
		return nil, err
	}
	r, err := newRouter(m, &s.opt, s.metrics, s.pool, s.missed)
	if err != nil {
		return nil, fmt.Errorf("model %s: %w", m.Name, err)
	}
	return r, nil
}

// Models returns the names of the models that are served, sorted. The caller
// must not change them.
func (s *Server) Models() []string { return s.serving.Load().names }

// Router returns the router of the model of that name, or nil. Once the model
// is replaced or unloaded, the router refuses requests with ErrDraining.
func (s *Server) Router(model string) *Router { return s.serving.Load().routers[model] }

// Registry holds the server's metrics. Other packages may register theirs.
func (s *Server) Registry() *prometheus.Registry { return s.registry }

// Ready reports whether every model that is served is ready. It turns false as
// soon as Shutdown is called.
func (s *Server) Ready() bool {
	if s.Draining() {
		return false
	}
	for _, r := range s.serving.Load().routers {
		if !r.Ready() {
			return false
		}
	}
	return true
}

// Draining reports whether Shutdown has been called.
func (s *Server) Draining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

// Shutdown refuses new requests, answers those that wait or run, and ends the
// workers. When ctx ends first it answers the waiting ones with ErrDraining and
// returns an error; batches that still run end on their own. It may be called
// several times.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.draining = true
	c := s.serving.Load()
	routers := slices.Clone(s.retired)
	s.mu.Unlock()
	for _, name := range c.names {
		routers = append(routers, c.routers[name])
	}
	for _, r := range routers {
		r.drain()
	}
	s.pool.end()
	var errs []error
	for _, r := range routers {
		errs = append(errs, r.awaitDrain(ctx))
	}
	return errors.Join(append(errs, s.pool.awaitEnd(ctx))...)
}
