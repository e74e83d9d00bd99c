package oip

import (
	"context"
	"strconv"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	pb "weft/oip/inference"
)

// healthService is the standard health service: the server's name is "" or
// that of the protocol's service, a model's its own.
type healthService struct {
	health.UnimplementedHealthServer
	h *Handler
}

func (s *healthService) status(service string) health.HealthCheckResponse_ServingStatus {
	ready := false
	switch service {
	case "", pb.GRPCInferenceService_ServiceDesc.ServiceName:
		ready = s.h.server.Ready()
	default:
		e := s.h.current(service)
		if e == nil {
			return health.HealthCheckResponse_SERVICE_UNKNOWN
		}
		ready = e.Ready()
	}
	if ready {
		return health.HealthCheckResponse_SERVING
	}
	return health.HealthCheckResponse_NOT_SERVING
}

// Check implements the health service.
func (s *healthService) Check(_ context.Context, in *health.HealthCheckRequest) (*health.HealthCheckResponse, error) {
	st := s.status(in.Service)
	if st == health.HealthCheckResponse_SERVICE_UNKNOWN {
		return nil, status.Error(codes.NotFound, "service "+strconv.Quote(in.Service)+" is unknown: ask for \"\" or a model")
	}
	return &health.HealthCheckResponse{Status: st}, nil
}

// List implements the health service, for the models that the client may use.
func (s *healthService) List(ctx context.Context, _ *health.HealthListRequest) (*health.HealthListResponse, error) {
	list := make(map[string]*health.HealthCheckResponse)
	for _, name := range append(s.h.namesFor(callOf(ctx).client), "", pb.GRPCInferenceService_ServiceDesc.ServiceName) {
		list[name] = &health.HealthCheckResponse{Status: s.status(name)}
	}
	return &health.HealthListResponse{Statuses: list}, nil
}

// Watch implements the health service. It ends once the server has drained.
func (s *healthService) Watch(in *health.HealthCheckRequest, stream grpc.ServerStreamingServer[health.HealthCheckResponse]) error {
	for last := health.HealthCheckResponse_ServingStatus(-1); ; {
		changed := s.h.server.Changes()
		if st := s.status(in.Service); st != last {
			if err := stream.Send(&health.HealthCheckResponse{Status: st}); err != nil {
				return err
			}
			last = st
		}
		if s.h.server.Draining() {
			return status.Error(codes.Unavailable, "the server is shutting down")
		}
		select {
		case <-stream.Context().Done():
			return stream.Context().Err()
		case <-changed:
		}
	}
}
