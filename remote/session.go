package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"weft/remote/wire"
)

// quickWork bounds what runs on threads of the network. To wake a thread of the slot's own
// takes some 50 µs, and to go back to sleep on it as many.
const quickWork = time.Millisecond

// slot runs one batch at a time, which holds its mu.
type slot struct {
	index  int
	quick  chan job // for batches of less than quickWork, which run on whichever thread is awake
	long   chan job // for the others, which run on the slot's own thread
	holder *session // who may send jobs, nil if nobody; guarded by the station's mu
	log    *slog.Logger

	mu             sync.Mutex // guards what follows
	images, logits []float32  // of the batch that runs
	out            frame
}

// job is a batch on its way to a slot, and later its result.
type job struct {
	from  *session
	model *served
	in    *frame // a RUN, to be given back
}

// served is a model under the names that a router gives to its subnets.
type served struct {
	*Model
	index []int // of the model's subnets, by the router's
}

func newSlot(index int, log *slog.Logger) *slot {
	return &slot{index: index, quick: make(chan job, 1), long: make(chan job, 1), log: log}
}

// start starts the slot's goroutines, which end with ctx. The thread of long work stays
// locked, so that nothing else inherits what prepare does to it.
func (s *slot) start(ctx context.Context, prepare func()) {
	go s.loop(ctx, s.quick)
	go func() {
		runtime.LockOSThread()
		if prepare != nil {
			prepare()
		}
		s.loop(ctx, s.long)
	}()
}

func (s *slot) loop(ctx context.Context, jobs <-chan job) {
	for {
		select {
		case j := <-jobs:
			s.answer(j)
		case <-ctx.Done():
			return
		}
	}
}

// answer runs the batch and sends its result.
func (s *slot) answer(j job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := &s.out
	out.Kind, out.Batch, out.Nanos, out.Error = wire.Kind_RESULT, j.in.Batch, 0, ""
	start := time.Now()
	logits, err := s.compute(j)
	if err != nil {
		out.Error = err.Error()
		s.log.Error("batch failed", slog.Int("slot", s.index), slog.String("model", j.model.Name), slog.Any("error", err))
	}
	out.Nanos, out.values = uint64(time.Since(start)), logits
	j.from.give(j.in)
	if err := j.from.send(out); err != nil {
		s.log.Info("a result came to nobody", slog.Int("slot", s.index), slog.Any("error", err))
	}
	out.values = nil
}

// compute returns the logits of the batch. A panic of the executor is an error.
func (s *slot) compute(j job) (logits []float32, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("executor panicked", slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
			logits, err = nil, fmt.Errorf("the model panicked: %v", p)
		}
	}()
	m, n := j.model, int(j.in.Images)
	s.images, s.logits = grow(s.images, n*m.Image), grow(s.logits, n*m.Classes)
	if err := j.in.floats(s.images); err != nil {
		return nil, err
	}
	err = m.Executors[s.index].Run(m.index[j.in.Subnet], s.images, n, s.logits)
	return s.logits, err
}

// grow returns s with length n, in its own memory when there is enough.
func grow(s []float32, n int) []float32 { return slices.Grow(s[:0], n)[:n] }

// session is the worker's end of a stream.
type session struct {
	station *station
	slot    *slot
	stream  grpc.ServerStream
	router  string
	ctx     context.Context // of the stream; its cause says why it ended
	end     context.CancelCauseFunc
	silent  time.Duration
	lease   *time.Timer
	models  map[uint32]*served
	frames  sync.Pool // of *frame

	sending sync.Mutex // held while a frame is sent
}

func newSession(st *station, slot *slot, stream grpc.ServerStream, o *wire.Open) *session {
	s := &session{station: st, slot: slot, stream: stream, router: o.Router, models: map[uint32]*served{}}
	s.ctx, s.end = context.WithCancelCause(stream.Context())
	s.silent = time.Duration(o.LeaseMs) * time.Millisecond
	s.lease = time.AfterFunc(s.silent, func() { s.end(errors.New("the router fell silent")) })
	s.frames.New = func() any { return new(frame) }
	return s
}

func (s *session) close() {
	s.lease.Stop()
	s.end(nil)
}

func (s *session) give(f *frame) {
	f.free()
	s.frames.Put(f)
}

// send sends a frame, from whichever goroutine.
func (s *session) send(f *frame) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.stream.SendMsg(f)
}

// serve does what the router asks for until the stream ends, and returns why it did.
func (s *session) serve() error {
	if err := s.send(&frame{Frame: wire.Frame{Kind: wire.Kind_READY}}); err != nil {
		return err
	}
	go func() {
		for {
			in := s.frames.Get().(*frame)
			err := s.stream.RecvMsg(in)
			if err == nil {
				s.lease.Reset(s.silent)
				err = s.take(in)
			}
			if err != nil {
				s.end(err)
				return
			}
		}
	}()
	<-s.ctx.Done()
	return context.Cause(s.ctx)
}

// take does what a frame asks for. An error ends the stream.
func (s *session) take(in *frame) error {
	switch in.Kind {
	case wire.Kind_RUN:
		return s.dispatch(in)
	case wire.Kind_PING:
		err := s.send(&frame{Frame: wire.Frame{Kind: wire.Kind_PONG, Batch: in.Batch}})
		s.give(in)
		return err
	case wire.Kind_MODEL:
		return s.name(in)
	}
	return fmt.Errorf("a router sends no %v at this point", in.Kind)
}

// dispatch gives a batch to the slot, which gives the frame back.
func (s *session) dispatch(in *frame) error {
	m, n := s.models[in.Model], int(in.Images)
	switch {
	case m == nil:
		return fmt.Errorf("model %d was not named", in.Model)
	case int(in.Subnet) >= len(m.index):
		return fmt.Errorf("model %s was named with %d subnets: there is no %d", m.Name, len(m.index), in.Subnet)
	case n < 1 || n > m.MaxBatch:
		return fmt.Errorf("a batch has %d images and model %s takes 1 to %d", n, m.Name, m.MaxBatch)
	}
	jobs := s.slot.long
	if m.Latency(m.index[in.Subnet], n) < quickWork {
		jobs = s.slot.quick
	}
	select {
	case jobs <- job{from: s, model: m, in: in}:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// name takes a model's number, and says whether it can be run.
func (s *session) name(in *frame) error {
	defer s.give(in)
	out := &frame{Frame: wire.Frame{Kind: wire.Kind_HELD, Model: in.Model}}
	m, err := s.find(in.Model, in.Named)
	if err != nil {
		out.Error = err.Error()
	} else {
		s.keep(in.Model, m)
	}
	return s.send(out)
}

// keep remembers a model, and forgets all of that name but the one before: a router that
// replaced a model runs batches of the old one for a while.
func (s *session) keep(number uint32, m *served) {
	before := uint32(0)
	for n, o := range s.models {
		if o.Name == m.Name {
			before = max(before, n)
		}
	}
	maps.DeleteFunc(s.models, func(n uint32, o *served) bool { return o.Name == m.Name && n != before })
	s.models[number] = m
}

func (s *session) find(number uint32, want *wire.Model) (*served, error) {
	if want == nil || number < 1 || len(s.models) >= maxModels {
		return nil, fmt.Errorf("model %d: describe it, count from 1, and name %d at most", number, maxModels)
	}
	m, err := s.station.model(want.Name, want.Digest)
	if err != nil {
		return nil, err
	}
	if int(want.Image) != m.Image || int(want.Classes) != m.Classes {
		return nil, fmt.Errorf("model %s has %d values an image and %d classes here, not %d and %d", m.Name, m.Image, m.Classes, want.Image, want.Classes)
	}
	v := &served{Model: m}
	for _, name := range want.Subnets {
		i := slices.Index(m.Subnets, name)
		if i < 0 {
			return nil, fmt.Errorf("model %s has no subnet %s here", m.Name, name)
		}
		v.index = append(v.index, i)
	}
	return v, nil
}
