package remote

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"weft/remote/wire"
	"weft/serve"
)

// Version is that of the protocol between routers and workers. Both ends must have the same.
const Version = 1

// tokenKey is the metadata in which a router shows that it knows the worker from the registry.
const tokenKey = "weft-token"

// Limits of a stream.
const (
	maxFrame  = 64 << 20 // 16 images of 512x512x3 are 50 MB
	maxHead   = 1 << 10  // what a frame has besides the tensor
	maxModels = 1024
	window    = 4 << 20
	ioBuffer  = 256 << 10
)

// Model is a model as a worker holds it.
type Model struct {
	Name, Digest string
	Subnets      []string // by the index that the executors know them by
	Image        int      // values of an image
	Classes      int      // logits of an image
	MaxBatch     int      // images
	// Latency is how long a batch of images is expected to take.
	Latency func(subnet, images int) time.Duration
	// Executors are one a slot.
	Executors []serve.Executor
}

// station is the worker's end of all streams. It lends slots to a router.
type station struct {
	wire.UnimplementedWorkerServer
	id, token string
	slots     []*slot
	// model returns the model of that name and digest, or an error that says why there is none.
	model func(name, digest string) (*Model, error)
	log   *slog.Logger

	mu       sync.Mutex // guards what follows, and holder of the slots
	leaving  bool
	sessions sync.WaitGroup
}

// newStation returns a station that lends n slots, each of which runs batches on a goroutine
// that calls prepare first. They end with ctx.
func newStation(ctx context.Context, id, token string, n int, prepare func(), log *slog.Logger) *station {
	st := &station{id: id, token: token, log: log}
	for i := range n {
		s := newSlot(i, log)
		s.start(ctx, prepare)
		st.slots = append(st.slots, s)
	}
	return st
}

// server returns the gRPC server of the station.
func (st *station) server(opt ...grpc.ServerOption) *grpc.Server {
	srv := grpc.NewServer(append(opt,
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(maxFrame), grpc.MaxSendMsgSize(maxFrame),
		grpc.InitialWindowSize(window), grpc.InitialConnWindowSize(window),
		grpc.WriteBufferSize(ioBuffer), grpc.ReadBufferSize(ioBuffer),
		grpc.MaxConcurrentStreams(uint32(2*len(st.slots))),
		grpc.ConnectionTimeout(10*time.Second),
		grpc.WaitForHandlers(true),
	)...)
	wire.RegisterWorkerServer(srv, st)
	return srv
}

// Work implements the service.
func (st *station) Work(stream grpc.BidiStreamingServer[wire.Frame, wire.Frame]) error {
	if err := st.admit(stream.Context()); err != nil {
		return err
	}
	var in frame
	if err := stream.RecvMsg(&in); err != nil {
		return err
	}
	s, err := st.lend(stream, &in)
	if err != nil {
		return err
	}
	defer st.takeBack(s)
	st.log.Info("slot lent", slog.Int("slot", s.slot.index), slog.String("router", s.router))
	err = s.serve()
	st.log.Info("slot free", slog.Int("slot", s.slot.index), slog.Any("reason", err))
	return status.Error(codes.Aborted, err.Error())
}

// admit refuses those who do not know the worker's token.
func (st *station) admit(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	if shown := md.Get(tokenKey); len(shown) == 1 && subtle.ConstantTimeCompare([]byte(shown[0]), []byte(st.token)) == 1 {
		return nil
	}
	return status.Error(codes.Unauthenticated, "the token is not this worker's: read it from the registry")
}

// lend gives the slot to the router. One that it holds already by an older stream, which
// broke unnoticed, it gets anew; another router's it does not get.
func (st *station) lend(stream grpc.ServerStream, in *frame) (*session, error) {
	o := in.Open
	switch {
	case in.Kind != wire.Kind_OPEN || o == nil:
		return nil, status.Errorf(codes.InvalidArgument, "a stream begins with OPEN, not %v", in.Kind)
	case o.Version != Version:
		return nil, status.Errorf(codes.FailedPrecondition, "the router speaks version %d and this worker %d: use the same weft", o.Version, Version)
	case o.Worker != st.id:
		return nil, status.Errorf(codes.NotFound, "this is worker %s, not %s", st.id, o.Worker)
	case int(o.Slot) >= len(st.slots):
		return nil, status.Errorf(codes.OutOfRange, "slot %d of %d: count from 0", o.Slot, len(st.slots))
	case o.LeaseMs < 10:
		return nil, status.Errorf(codes.InvalidArgument, "a lease of %d ms is too short: choose at least 10 ms", o.LeaseMs)
	}
	slot := st.slots[o.Slot]
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.leaving {
		return nil, status.Error(codes.Unavailable, "the worker is leaving")
	}
	if h := slot.holder; h != nil {
		if h.router != o.Router {
			return nil, status.Errorf(codes.ResourceExhausted, "slot %d is lent to another router", o.Slot)
		}
		h.end(errors.New("the router came back"))
	}
	slot.holder = newSession(st, slot, stream, o)
	st.sessions.Add(1)
	return slot.holder, nil
}

func (st *station) takeBack(s *session) {
	s.close()
	st.mu.Lock()
	defer st.mu.Unlock()
	if s.slot.holder == s {
		s.slot.holder = nil
	}
	st.sessions.Done()
}

// leave tells the routers that this worker takes no batch any more, and waits until they
// have let go of all slots, which they do once the batches there have ended.
func (st *station) leave(ctx context.Context) error {
	st.mu.Lock()
	st.leaving = true
	for _, slot := range st.slots {
		if s := slot.holder; s != nil {
			go s.send(&frame{Frame: wire.Frame{Kind: wire.Kind_LEAVE}}) //nolint:errcheck // a router that is gone has let go
		}
	}
	st.mu.Unlock()
	free := make(chan struct{})
	go func() {
		st.sessions.Wait()
		close(free)
	}()
	select {
	case <-free:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("drain: a router holds on to this worker: %w", ctx.Err())
	}
}
