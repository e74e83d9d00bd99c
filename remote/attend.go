package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"weft/bundle"
	"weft/remote/wire"
	"weft/serve"
)

// MaxSlots bounds the batches that a worker runs at a time.
const MaxSlots = 256

var errLeft = errors.New("it left")

// attendant takes care of one slot for as long as a link to it lasts.
type attendant struct {
	*keeper
	slot     int
	log      *slog.Logger
	link     *link
	held     map[*serve.Router]serve.Executor // of the editions that the worker runs
	refused  map[*serve.Router]bool
	number   int // of the latest model
	attached *serve.Attached
}

// attend links to the slot and has the server use it until the link ends or the worker
// leaves. It returns the reason.
func (k *keeper) attend(ctx context.Context, e *Entry, slot int, log *slog.Logger) error {
	conn, err := grpc.NewClient("passthrough:///"+e.Address, dialOptions(k.opt.Credentials)...)
	if err != nil {
		return err
	}
	defer conn.Close()
	l, err := newLink(metadata.AppendToOutgoingContext(ctx, tokenKey, e.Token), conn, &wire.Open{
		Version: Version, Worker: k.id, Router: k.router, Slot: uint32(slot), LeaseMs: uint32(k.opt.Lease / time.Millisecond),
	})
	if err != nil {
		return err
	}
	a := &attendant{
		keeper: k, slot: slot, log: log, link: l,
		held: map[*serve.Router]serve.Executor{}, refused: map[*serve.Router]bool{},
	}
	err = a.run(ctx)
	l.close(err)
	return err
}

// run keeps the slot attached, with what of the server's models the worker has.
func (a *attendant) run(ctx context.Context) error {
	defer func() {
		if a.attached != nil {
			a.attached.Lost()
		}
	}()
	for {
		served := a.server.Changes()
		e, changed := a.look()
		if e.Leaving {
			return a.leave(ctx)
		}
		a.offer(e)
		if err := a.attach(); err != nil {
			return err
		}
		var gone <-chan struct{}
		if a.attached != nil {
			gone = a.attached.Done()
		}
		select {
		case <-gone:
			a.attached = nil
			if err := a.awaitReturn(ctx); err != nil {
				return err
			}
		case <-a.link.ctx.Done():
			return context.Cause(a.link.ctx)
		case <-a.link.leaving:
			return a.leave(ctx)
		case <-served:
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// attach adds the slot to the server's workers once there is a model to run.
func (a *attendant) attach() (err error) {
	if a.attached != nil || len(a.held) == 0 {
		return nil
	}
	a.attached, err = a.server.Attach(serve.WorkerSpec{Name: fmt.Sprintf("%s/%d", a.id, a.slot), Executors: a.held})
	if err == nil {
		a.log.Info("worker attached", slog.Int("models", len(a.held)))
	}
	return err
}

// awaitReturn waits until a batch that was given up has ended: the worker was only slow.
func (a *attendant) awaitReturn(ctx context.Context) error {
	a.log.Warn("worker overdue: its batch goes to another one")
	select {
	case <-a.link.back:
		return nil
	case <-a.link.ctx.Done():
		return context.Cause(a.link.ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// leave lets the batch that runs end.
func (a *attendant) leave(ctx context.Context) error {
	if a.attached == nil {
		return errLeft
	}
	if err := a.attached.Leave(ctx); err != nil {
		return err
	}
	a.attached = nil
	return errLeft
}

// offer names the models to the worker that the server serves and the worker runs.
func (a *attendant) offer(e *Entry) {
	for r := range a.held {
		if a.server.Router(r.Model().Name) != r {
			delete(a.held, r) // replaced or unloaded
		}
	}
	for _, name := range a.server.Models() {
		r := a.server.Router(name)
		if r == nil || a.held[r] != nil || a.refused[r] {
			continue
		}
		h := e.held(r.Model().Digest)
		if h == nil {
			continue
		}
		exec, err := a.executor(r.Model(), h)
		if err != nil {
			a.refused[r] = true
			a.log.Warn("worker can not run a model", slog.String("model", name), slog.Any("error", err))
			continue
		}
		a.held[r] = exec
		if a.attached != nil {
			a.attached.Offer(r, exec)
		}
	}
}

// executor returns one that runs the model on the worker.
func (a *attendant) executor(m *serve.Model, h *Held) (*executor, error) {
	if size := 4 * m.ImageSize() * m.Profile.MaxBatch; size > maxFrame-maxHead {
		return nil, fmt.Errorf("a batch of %d images takes %d MiB and %d can be sent: run it on the server's own workers", m.Profile.MaxBatch, size>>20, maxFrame>>20)
	}
	a.number++
	x := &executor{link: a.link, worker: a.id, model: a.number}
	named := &wire.Model{Name: m.Name, Digest: m.Digest, Image: uint32(m.ImageSize()), Classes: uint32(m.Classes)}
	for i := range m.Profile.Subnets {
		name := m.Profile.Subnets[i].Name
		t := slices.IndexFunc(h.Subnets, func(s bundle.SubnetTiming) bool { return s.Arch == name })
		if t < 0 || len(h.Subnets[t].LatencyUS) < m.Profile.MaxBatch {
			return nil, fmt.Errorf("the worker has not measured subnet %s at all batch sizes", name)
		}
		named.Subnets = append(named.Subnets, name)
		x.latencyUS = append(x.latencyUS, h.Subnets[t].LatencyUS)
	}
	return x, a.link.name(x.model, named)
}

// executor runs batches of a model on a slot of a worker elsewhere.
type executor struct {
	link      *link
	worker    string
	model     int         // its number on the link
	latencyUS [][]float64 // as the worker measured, by subnet and images-1
}

var _ serve.Executor = (*executor)(nil)

// Run implements serve.Executor.
func (x *executor) Run(s int, images []float32, n int, logits []float32) error {
	expected := time.Duration(x.latencyUS[s][n-1] * float64(time.Microsecond))
	failed, lost := x.link.run(x.model, s, n, images, logits, expected)
	if lost != nil {
		return fmt.Errorf("%s: %w: %w", x.worker, lost, serve.ErrWorkerLost)
	}
	return failed
}
