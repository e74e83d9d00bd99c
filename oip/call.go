package oip

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
	"google.golang.org/protobuf/types/known/durationpb"

	"weft/guard"
	pb "weft/oip/inference"
	"weft/serve"
)

// call is the context of a call of gRPC, with what is known of it before its
// message is read.
type call struct {
	context.Context
	client *guard.Client
	err    error              // that refuses it
	timed  bool               // its deadline is the server's, see callTimeout
	stop   context.CancelFunc // of that deadline
}

type callKey struct{}

// Value implements context.Context.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// noCall is known of calls of which nothing is to be known.
var noCall = call{stop: func() {}}

// callOf returns what tapped has found out about the call.
func callOf(ctx context.Context) *call {
	if c, ok := ctx.Value(callKey{}).(*call); ok {
		return c
	}
	return &noCall
}

// How long a call may take, from its header to its answer's end, if it is no
// stream and has no deadline, so that none waits for a message that never comes;
// and how long one that is refused in any case.
const (
	callTimeout    = readTimeout + serve.MaxTimeout
	refusedTimeout = time.Second
)

// rightsOfMethods are what the methods need that do not need guard.Use.
var rightsOfMethods = map[string]guard.Right{
	pb.GRPCInferenceService_ServerLive_FullMethodName:            guard.Probe,
	pb.GRPCInferenceService_ServerReady_FullMethodName:           guard.Probe,
	pb.GRPCInferenceService_ModelReady_FullMethodName:            guard.Probe,
	health.Health_Check_FullMethodName:                           guard.Probe,
	health.Health_Watch_FullMethodName:                           guard.Probe,
	pb.GRPCInferenceService_ModelStatistics_FullMethodName:       guard.Observe,
	pb.GRPCInferenceService_TraceSetting_FullMethodName:          guard.Change,
	pb.GRPCInferenceService_LogSettings_FullMethodName:           guard.Change,
	pb.GRPCInferenceService_RepositoryModelLoad_FullMethodName:   guard.Change,
	pb.GRPCInferenceService_RepositoryModelUnload_FullMethodName: guard.Change,
}

// long are the methods that may take longer than callTimeout.
var long = map[string]bool{
	pb.GRPCInferenceService_ModelStreamInfer_FullMethodName:    true,
	pb.GRPCInferenceService_RepositoryModelLoad_FullMethodName: true,
	health.Health_Watch_FullMethodName:                         true,
}

// Service is one more service of gRPC.
type Service struct {
	Desc *grpc.ServiceDesc
	Impl any
	// Right is what its methods need.
	Right guard.Right
}

// has reports whether a method is one of the service's, and whether it is a stream.
func (s *Service) has(method string) (ok, stream bool) {
	service, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	if service != s.Desc.ServiceName {
		return false, false
	}
	return true, slices.ContainsFunc(s.Desc.Streams, func(d grpc.StreamDesc) bool { return d.StreamName == name })
}

// needs returns what a call of a method needs, and whether it may take long.
func (h *Handler) needs(method string) (right guard.Right, lasts bool) {
	if right, ok := rightsOfMethods[method]; ok {
		return right, long[method]
	}
	for i := range h.opt.Services {
		if ok, stream := h.opt.Services[i].has(method); ok {
			return h.opt.Services[i].Right, stream
		}
	}
	return guard.Use, long[method]
}

// tapped sees each call when its header is read, and nothing of its message. It
// can not refuse a call there: the library would keep the call's timer until the
// client's deadline. So it leaves little time for the message, and the registrar does it.
func (h *Handler) tapped(ctx context.Context, info *tap.Info) (context.Context, error) {
	need, lasts := h.needs(info.FullMethodName)
	c := call{Context: ctx, stop: noCall.stop}
	if h.access.guard != nil || need == guard.Change {
		if c.client, c.err = h.access.guard.Allow(need, keyOf(info.Header), need == guard.Change && localPeer(ctx, info.Header)); c.err != nil {
			c.err = h.access.refuse(c.err, 0)
		}
	}
	limit := time.Duration(0)
	if c.err != nil {
		limit = refusedTimeout
	} else if _, ok := ctx.Deadline(); !ok && !lasts {
		limit, c.timed = callTimeout, true
	}
	if limit > 0 {
		c.Context, c.stop = context.WithTimeout(ctx, limit)
	} else if c.client == nil {
		return ctx, nil
	}
	return &c, nil
}

// again returns the context of a call with its client as the keys are by now,
// which may have been read again since the call began.
func (h *Handler) again(ctx context.Context) (context.Context, error) {
	c := callOf(ctx)
	client, err := h.access.guard.Again(c.client)
	switch {
	case err != nil:
		return nil, grpcError(h.access.refuse(err, 0))
	case client == c.client:
		return ctx, nil
	}
	return &call{Context: ctx, client: client, timed: c.timed, stop: c.stop}, nil
}

// registrar has services refuse what tapped would have refused. An interceptor
// would do so too, for some allocations a call and after decoding the message.
type registrar struct {
	*grpc.Server
	h        *Handler
	visitors *visitors
}

// RegisterService implements grpc.ServiceRegistrar.
func (r registrar) RegisterService(desc *grpc.ServiceDesc, impl any) {
	d := *desc
	d.Methods, d.Streams = slices.Clone(d.Methods), slices.Clone(d.Streams)
	for i := range d.Methods {
		handler := d.Methods[i].Handler
		d.Methods[i].Handler = func(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			c := callOf(ctx)
			defer c.stop()
			if c.err != nil {
				return nil, grpcError(c.err)
			}
			return handler(srv, ctx, decode, nil)
		}
	}
	for i := range d.Streams {
		handler := d.Streams[i].Handler
		if need, _ := r.h.needs("/" + d.ServiceName + "/" + d.Streams[i].StreamName); need == guard.Probe && r.h.access.guard != nil {
			handler = r.visitors.admit(handler)
		}
		d.Streams[i].Handler = func(srv any, stream grpc.ServerStream) error {
			c := callOf(stream.Context())
			defer c.stop()
			if c.err != nil {
				return grpcError(c.err)
			}
			return handler(srv, stream)
		}
	}
	r.Server.RegisterService(&d, impl)
}

// keyOf returns the key that the metadata present.
func keyOf(md metadata.MD) string {
	if v := md["authorization"]; len(v) > 0 {
		if key := guard.Bearer(v[0]); key != "" {
			return key
		}
	}
	if v := md["x-api-key"]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// localPeer reports whether a call comes from the server's own machine.
func localPeer(ctx context.Context, md metadata.MD) bool {
	p, ok := peer.FromContext(ctx)
	if !ok || guard.Forwarded(func(name string) bool { return len(md.Get(name)) > 0 }) {
		return false
	}
	a, ok := p.Addr.(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// may reports an error unless the call's client may use the model.
func (s *grpcService) may(ctx context.Context, model string) error {
	if err := callOf(ctx).client.May(model); err != nil {
		return s.h.access.refuse(err, 0)
	}
	return nil
}

// model returns the model that the call asks for, if its client may use it.
func (s *grpcService) model(ctx context.Context, name, version string) (*endpoint, error) {
	if err := s.may(ctx, name); err != nil {
		return nil, err
	}
	return s.h.endpoint(name, version)
}

// grpcError returns an error as gRPC shows it, with when to come back as its detail.
func grpcError(err error) error {
	_, code := statusOf(err)
	if errors.Is(err, context.DeadlineExceeded) {
		code = codes.DeadlineExceeded
	}
	st := status.New(code, err.Error())
	if retry := retryOf(err); retry > 0 {
		if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retry)}); err == nil {
			st = with
		}
	}
	return st.Err()
}
