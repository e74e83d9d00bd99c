// Package serve answers inference requests with the most accurate subnet that
// meets each request's deadline.
//
// A [Server] offers models by name. Each has a [Router], which owns a
// scheduler (package sched) and one worker per [Executor]. A request passes
//
//	Infer -> queue of the scheduler -> worker: gather, Executor.Run, scatter -> Infer
//
// The caller of Infer blocks meanwhile, so its buffers are read and written in
// place and a steady stream of requests allocates nothing.
//
// The scheduler is stepped under one lock by whoever has news: the caller that
// brings a request, the worker that finished a batch, the timer. A worker thus
// picks its next batch up without waiting for another thread to be scheduled,
// which under full load would cost it milliseconds.
//
// Workers run on operating system threads of their own, so that
// [Options.Prepare] can lower the priority of computing below that of the network.
package serve

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
}

// Server serves models by name. It is safe for concurrent use.
type Server struct {
	routers  map[string]*Router
	names    []string // sorted
	registry *prometheus.Registry
}

// New starts the workers of the models. End them with Shutdown.
func New(models []Model, opt Options) (*Server, error) {
	opt.setDefaults()
	s := &Server{routers: make(map[string]*Router, len(models)), registry: newRegistry()}
	m := newMetrics(s.registry)
	epoch := time.Now()
	for i := range models {
		model := &models[i]
		if err := model.validate(); err != nil {
			return nil, err
		}
		if s.routers[model.Name] != nil {
			return nil, fmt.Errorf("model %s is named twice: give each model its own name", model.Name)
		}
		r, err := newRouter(*model, opt, m, epoch)
		if err != nil {
			return nil, fmt.Errorf("model %s: %w", model.Name, err)
		}
		s.routers[model.Name] = r
		s.names = append(s.names, model.Name)
	}
	slices.Sort(s.names)
	s.registry.MustRegister(collector{s})
	for _, r := range s.routers {
		r.start()
	}
	return s, nil
}

// Models returns the names of the models, sorted. The caller must not change them.
func (s *Server) Models() []string { return s.names }

// Router returns the router of the model of that name, or nil.
func (s *Server) Router(model string) *Router { return s.routers[model] }

// Registry holds the server's metrics. Other packages may register theirs.
func (s *Server) Registry() *prometheus.Registry { return s.registry }

// Ready reports whether every model is ready. It turns false as soon as
// Shutdown is called.
func (s *Server) Ready() bool {
	for _, r := range s.routers {
		if !r.Ready() {
			return false
		}
	}
	return true
}

// Shutdown refuses new requests, answers those that wait or run, and ends the
// workers. When ctx ends first it answers the waiting ones with ErrDraining and
// returns an error; batches that still run end on their own.
func (s *Server) Shutdown(ctx context.Context) error {
	for _, r := range s.routers {
		r.drain()
	}
	var errs []error
	for _, name := range s.names {
		errs = append(errs, s.routers[name].awaitDrain(ctx))
	}
	return errors.Join(errs...)
}
