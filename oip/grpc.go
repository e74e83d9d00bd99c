package oip

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // clients may compress
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/reflection"

	pb "weft/oip/inference"
	"weft/serve"
)

// Limits of a connection of gRPC.
const (
	window     = 1 << 20 // of a stream: an image or several arrive without waiting for the window
	maxStreams = 1024    // requests at a time on a connection
	maxHeaders = 64 << 10
	// handlers are goroutines that take calls in turns, so that not each call has
	// to grow a stack of its own; more calls at a time get goroutines of theirs.
	handlers = 64
)

// GRPC returns a server of the protocol's gRPC service, of the standard health
// service, of reflection and of Options.Services, with the models of h.
func (h *Handler) GRPC() *grpc.Server {
	options := []grpc.ServerOption{
		grpc.MaxRecvMsgSize(h.maxMessage()),
		grpc.MaxHeaderListSize(maxHeaders),
		grpc.InitialWindowSize(window),
		grpc.InitialConnWindowSize(4 * window),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionIdle: idleTimeout, Time: time.Minute, Timeout: 20 * time.Second}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.ConnectionTimeout(headerTimeout),
		grpc.WaitForHandlers(true),
		grpc.InTapHandle(h.tapped),
		grpc.NumStreamWorkers(handlers),
	}
	if c := h.opt.Certificates; c != nil {
		options = append(options, grpc.Creds(credentials.NewTLS(c.Config("h2"))))
	}
	srv := registrar{grpc.NewServer(options...), h, &visitors{open: make(map[string]int)}}
	s := &grpcService{h: h}
	pb.RegisterGRPCInferenceServiceServer(srv, s)
	grpc_health_v1.RegisterHealthServer(srv, &healthService{h: h})
	for _, more := range h.opt.Services {
		srv.RegisterService(more.Desc, more.Impl)
	}
	reflection.Register(srv)
	return srv.Server
}

// maxMessage bounds a message by what a full batch of the largest model takes as
// JSON, which holds it in any form of gRPC. A model that is loaded later, of images of another size, has the same
// bound.
func (h *Handler) maxMessage() int {
	most := int64(0)
	for _, name := range h.names() {
		if e := h.current(name); e != nil {
			most = max(most, e.maxBody)
		}
	}
	return int(most) + 1<<20
}

// ServeGRPC answers the gRPC connections of ln until ctx ends, and then drains
// as Serve does.
func (h *Handler) ServeGRPC(ctx context.Context, ln net.Listener) error {
	srv := h.GRPC()
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(netutil.LimitListener(ln, h.opt.MaxConnections)) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve gRPC on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), h.opt.Grace)
	defer stop()
	drained := h.server.Shutdown(grace)
	idle := make(chan struct{})
	go func() {
		srv.GracefulStop()
		close(idle)
	}()
	select {
	case <-idle:
	case <-grace.Done():
		srv.Stop()
		<-idle
	}
	ended := <-failed
	if errors.Is(ended, grpc.ErrServerStopped) { // ctx ended before it began to listen
		ended = nil
	}
	return errors.Join(drained, ended)
}

// grpcService implements the protocol's service on the models of a Handler.
type grpcService struct {
	pb.UnimplementedGRPCInferenceServiceServer
	h        *Handler
	requests sync.Pool // of *grpcRequest
}

// ServerLive implements the protocol's service.
func (s *grpcService) ServerLive(context.Context, *pb.ServerLiveRequest) (*pb.ServerLiveResponse, error) {
	return &pb.ServerLiveResponse{Live: true}, nil
}

// ServerReady implements the protocol's service.
func (s *grpcService) ServerReady(context.Context, *pb.ServerReadyRequest) (*pb.ServerReadyResponse, error) {
	return &pb.ServerReadyResponse{Ready: s.h.server.Ready()}, nil
}

// ModelReady implements the protocol's service.
func (s *grpcService) ModelReady(_ context.Context, in *pb.ModelReadyRequest) (*pb.ModelReadyResponse, error) {
	e, err := s.h.endpoint(in.Name, in.Version)
	if httpStatus, _ := statusOf(err); err != nil && httpStatus != http.StatusServiceUnavailable {
		return nil, grpcError(err)
	}
	return &pb.ModelReadyResponse{Ready: err == nil && e.Ready()}, nil
}

// ServerMetadata implements the protocol's service.
func (s *grpcService) ServerMetadata(context.Context, *pb.ServerMetadataRequest) (*pb.ServerMetadataResponse, error) {
	return &pb.ServerMetadataResponse{Name: serverName, Version: s.h.opt.Version, Extensions: extensions}, nil
}

// ModelMetadata implements the protocol's service.
func (s *grpcService) ModelMetadata(ctx context.Context, in *pb.ModelMetadataRequest) (*pb.ModelMetadataResponse, error) {
	e, err := s.model(ctx, in.Name, in.Version)
	if err != nil {
		return nil, grpcError(err)
	}
	tensors := func(list []TensorMetadata) (out []*pb.ModelMetadataResponse_TensorMetadata) {
		for _, t := range list {
			out = append(out, &pb.ModelMetadataResponse_TensorMetadata{Name: t.Name, Datatype: t.Datatype.String(), Shape: t.Shape})
		}
		return out
	}
	return &pb.ModelMetadataResponse{
		Name: e.md.Name, Versions: e.md.Versions, Platform: e.md.Platform,
		Inputs: tensors(e.md.Inputs), Outputs: tensors(e.md.Outputs), Properties: e.md.Properties,
	}, nil
}

// ModelInfer implements the protocol's service.
func (s *grpcService) ModelInfer(ctx context.Context, in *pb.ModelInferRequest) (*pb.ModelInferResponse, error) {
	out, err := s.infer(ctx, in, time.Now())
	if err != nil {
		return nil, grpcError(err)
	}
	return out, nil
}

func (s *grpcService) infer(ctx context.Context, in *pb.ModelInferRequest, start time.Time) (*pb.ModelInferResponse, error) {
	call := callOf(ctx)
	e, err := s.model(ctx, in.ModelName, in.ModelVersion)
	if err == nil {
		err = s.h.access.enter(call.client, start)
	}
	if err != nil {
		return nil, err
	}
	defer call.client.Leave()
	q, _ := s.requests.Get().(*grpcRequest)
	if q == nil {
		q = new(grpcRequest)
	}
	defer s.requests.Put(q)
	if err := q.decode(in, e.md); err != nil {
		return nil, err
	}
	q.Start, q.Tenant = start, call.client.TenantName()
	if deadline, ok := ctx.Deadline(); ok && !call.timed {
		q.limit(deadline)
	}
	var resp Response // becomes part of the message
	if err := s.h.answer(ctx, e, &q.Request, &resp); err != nil {
		return nil, err
	}
	return e.encodeGRPC(&q.Request, in.Id, &resp)
}

// limit makes the deadline that of the request unless its own is earlier.
func (q *Request) limit(deadline time.Time) {
	left := max(deadline.Sub(q.Start), time.Microsecond)
	if q.Timeout == 0 || left < q.Timeout {
		q.Timeout = min(left, serve.MaxTimeout)
	}
}

// streamDepth bounds the requests of a stream that are under way.
const streamDepth = 64

// ModelStreamInfer answers the requests of a stream in their order, many at a time.
func (s *grpcService) ModelStreamInfer(stream grpc.BidiStreamingServer[pb.ModelInferRequest, pb.ModelStreamInferResponse]) error {
	ctx, stop := context.WithCancel(stream.Context())
	answers := make(chan chan *pb.ModelStreamInferResponse, streamDepth)
	sent := make(chan error, 1)
	go func() { sent <- sendAll(stream, answers, stop) }()
	var received error
	for ctx.Err() == nil {
		in, err := stream.Recv()
		start := time.Now()
		known := ctx
		if err == nil {
			known, err = s.h.again(ctx)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				received = err
			}
			break
		}
		answer := make(chan *pb.ModelStreamInferResponse, 1)
		answers <- answer
		go func() { answer <- s.streamed(known, in, start) }()
	}
	if received != nil {
		stop() // nobody reads the answers
	}
	close(answers)
	err := <-sent
	stop()
	return cmp.Or(received, err)
}

// sendAll sends the answers in their order. It calls stop when they can not be sent.
func sendAll(stream grpc.ServerStream, answers <-chan chan *pb.ModelStreamInferResponse, stop func()) (err error) {
	for answer := range answers {
		out := <-answer
		if err == nil {
			if err = stream.SendMsg(out); err != nil {
				stop()
			}
		}
	}
	return err
}

func (s *grpcService) streamed(ctx context.Context, in *pb.ModelInferRequest, start time.Time) *pb.ModelStreamInferResponse {
	out, err := s.infer(ctx, in, start)
	if err != nil {
		failed := &pb.ModelInferResponse{ModelName: in.ModelName, ModelVersion: in.ModelVersion, Id: in.Id}
		return &pb.ModelStreamInferResponse{ErrorMessage: err.Error(), InferResponse: failed}
	}
	return &pb.ModelStreamInferResponse{InferResponse: out}
}
