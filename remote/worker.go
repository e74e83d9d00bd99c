package remote

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"weft/bundle"
	"weft/bus"
)

// DefaultGrace is how long a worker that leaves waits for its batches.
const DefaultGrace = 30 * time.Second

// WorkerOptions describe a worker.
type WorkerOptions struct {
	ID       string // one word of the bus, unique among the workers
	Listener net.Listener
	// Address is where routers reach the listener, HOST:PORT ("": its own address).
	Address string
	Slots   int // batches at a time
	Machine bundle.Machine
	Build   string // version of weft
	// Cache is the folder that bundles are kept in.
	Cache string
	// Load makes a model of a bundle whose digest was checked and whose file is at path, with
	// one executor a slot, and measures it.
	Load func(ctx context.Context, name, path string, raw []byte) (*Model, []bundle.SubnetTiming, error)
	// Prepare, if not nil, is called on each thread that computes.
	Prepare func()
	// Credentials are those of the gRPC server (nil: neither encrypted nor authenticated).
	Credentials credentials.TransportCredentials
	// Grace is how long batches may go on when the worker leaves (0: DefaultGrace).
	Grace time.Duration
	// Log receives what an operator must know (nil: nothing is logged).
	Log *slog.Logger
}

func (o *WorkerOptions) setDefaults() error {
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Address == "" {
		o.Address = o.Listener.Addr().String()
	}
	if o.Slots < 1 || o.Slots > MaxSlots {
		return fmt.Errorf("a worker of %d slots: choose 1 to %d", o.Slots, MaxSlots)
	}
	return nil
}

// worker is a process that lends its slots.
type worker struct {
	WorkerOptions
	bus   bus.Bus
	token string

	mu      sync.Mutex         // guards what follows
	models  map[string]*loaded // by name
	leaving bool

	news       chan struct{} // gets a value when the entry has changed
	registered chan struct{} // closed when the entry is written no more
}

// loaded is what came of fetching a model.
type loaded struct {
	held  Held
	model *Model // nil: held says why
}

// Work lends this machine to the router that the bus leads to until ctx ends. Then it takes
// no new batch, lets those that run end, leaves the registry and returns. It renews its
// entry, so that a bus that has lost it learns of it again.
func Work(ctx context.Context, b bus.Bus, o WorkerOptions) error {
	if err := o.setDefaults(); err != nil {
		return err
	}
	w := &worker{
		WorkerOptions: o, bus: b, token: rand.Text(), models: map[string]*loaded{},
		news: make(chan struct{}, 1), registered: make(chan struct{}),
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	st := newStation(running, o.ID, w.token, o.Slots, o.Prepare, o.Log)
	st.model = w.model
	var opt []grpc.ServerOption
	if o.Credentials != nil {
		opt = append(opt, grpc.Creds(o.Credentials))
	}
	srv := st.server(opt...)
	all, failed := errgroup.WithContext(running)
	all.Go(func() error { return srv.Serve(o.Listener) })
	all.Go(func() error { return w.stayRegistered(failed) })
	all.Go(func() error { return w.followModels(failed) })
	select {
	case <-ctx.Done():
	case <-failed.Done():
	}
	err := w.leave(ctx, st)
	srv.Stop()
	stop()
	return errors.Join(ignoreEnd(all.Wait()), err)
}

// ignoreEnd returns no error for the context that was ended.
func ignoreEnd(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, grpc.ErrServerStopped) {
		return nil
	}
	return err
}

// leave tells the registry and the routers, lets batches end, and removes the entry.
func (w *worker) leave(ctx context.Context, st *station) error {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), w.Grace)
	defer stop()
	w.mu.Lock()
	w.leaving = true
	w.mu.Unlock()
	w.Log.Info("leaving")
	notify(w.news)
	drained := st.leave(ctx)
	ctx, stop = context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer stop()
	select {
	case <-w.registered:
	case <-ctx.Done():
	}
	bucket, err := workers(ctx, w.bus)
	if err == nil && w.own(ctx, bucket) {
		err = bucket.Delete(ctx, w.ID)
	}
	if err != nil {
		w.Log.Warn("the registry keeps this worker until its entry expires", slog.Any("error", err))
	}
	return drained
}

// stayRegistered writes the entry whenever it changes and before it expires, at last when
// the worker leaves. What was there at first, an earlier process left behind.
func (w *worker) stayRegistered(ctx context.Context) error {
	defer close(w.registered)
	bucket, err := workers(ctx, w.bus)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	renew := time.NewTicker(Registration / 4)
	defer renew.Stop()
	for first := true; ; first = false {
		value, leaving := w.entry()
		if !first && !w.own(ctx, bucket) {
			return fmt.Errorf("another worker goes by the name %s since a moment ago: give each its own", w.ID)
		}
		if _, err := bucket.Put(ctx, w.ID, value); err != nil && ctx.Err() == nil {
			w.Log.Warn("the bus does not take this worker's entry", slog.Any("error", err))
		}
		if leaving {
			return nil
		}
		select {
		case <-renew.C:
		case <-w.news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// own reports whether the entry is this worker's, or nobody's.
func (w *worker) own(ctx context.Context, bucket bus.Bucket) bool {
	now, err := bucket.Get(ctx, w.ID)
	var e Entry
	return err != nil || json.Unmarshal(now.Value, &e) != nil || e.Token == w.token
}

// entry returns the worker's entry.
func (w *worker) entry() (value []byte, leaving bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e := Entry{
		ID: w.ID, Address: w.Address, Token: w.token, Slots: w.Slots, Machine: w.Machine, Build: w.Build,
		Leaving: w.leaving, Models: []Held{},
	}
	for _, l := range w.models {
		e.Models = append(e.Models, l.held)
	}
	value, err := json.Marshal(e)
	if err != nil {
		panic(err) // latencies are finite numbers
	}
	return value, w.leaving
}

// model returns the model that a router names.
func (w *worker) model(name, digest string) (*Model, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, l := range w.models {
		if l.model != nil && l.held.Digest == digest {
			return l.model, nil
		}
	}
	return nil, fmt.Errorf("model %s with digest %.12s is not here", name, digest)
}
