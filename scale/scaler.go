package scale

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "weft/scale/externalscaler"
	"weft/serve"
)

// interval is how often the load is looked at.
const interval = time.Second

// unit is in how many parts of a worker the metric counts: autoscalers that know integers only are as exact then.
const unit = 1000

// Scaler answers KEDA with the demand of a server's models, in thousandths of a worker. It is safe for concurrent use.
type Scaler struct {
	pb.UnimplementedExternalScalerServer
	server *serve.Server

	mu     sync.Mutex
	meters map[*serve.Router]*Meter
	turn   chan struct{} // closed when the load has been looked at once more
}

// NewScaler returns a scaler for the models of the server. It knows their load while Run runs.
func NewScaler(s *serve.Server) *Scaler {
	return &Scaler{server: s, meters: map[*serve.Router]*Meter{}, turn: make(chan struct{})}
}

// Desc describes the service for its registration.
func Desc() *grpc.ServiceDesc { return &pb.ExternalScaler_ServiceDesc }

// Run looks at the load from time to time until ctx ends.
func (s *Scaler) Run(ctx context.Context) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		s.look()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// look observes every model and forgets those that are served no more.
func (s *Scaler) look() {
	s.mu.Lock()
	defer s.mu.Unlock()
	present := map[*serve.Router]bool{}
	for _, name := range s.server.Models() {
		r := s.server.Router(name)
		if r == nil { // unloaded meanwhile
			continue
		}
		if s.meters[r] == nil {
			s.meters[r] = &Meter{}
		}
		s.meters[r].Observe(s.server.Now(), r.Status().Load)
		present[r] = true
	}
	maps.DeleteFunc(s.meters, func(r *serve.Router, _ *Meter) bool { return !present[r] })
	close(s.turn)
	s.turn = make(chan struct{})
}

// demand returns the demand of the models that are meant and whether any of them is in use.
func (s *Scaler) demand(t *trigger) (demand float64, active bool, err error) {
	if t.model != "" && s.server.Router(t.model) == nil {
		return 0, false, status.Errorf(codes.NotFound, "model %q is not served: name one of %v, or none for all", t.model, s.server.Models())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for r, m := range s.meters {
		if t.model == "" || r.Model().Name == t.model {
			demand += m.Demand(r.Model().Profile, t.goal)
			active = active || m.Active(t.goal)
		}
	}
	return demand, active, nil
}

// trigger is what the metadata of a ScaledObject's trigger say.
type trigger struct {
	model   string // "" for all
	goal    Goal
	workers int // of a replica
}

// parse reads the metadata. scalerAddress and what else KEDA itself reads is passed on by it.
func parse(o *pb.ScaledObjectRef) (*trigger, error) {
	t := &trigger{goal: Goal{Utilisation: 0.8, Horizon: 30 * time.Second}, workers: 1}
	var errs []error
	number := func(key string, to *float64, least, most float64) {
		text, ok := o.GetScalerMetadata()[key]
		if !ok {
			return
		}
		v, err := strconv.ParseFloat(text, 64)
		if err != nil || !(v >= least && v <= most) {
			errs = append(errs, fmt.Errorf("%s %q: give a number from %v to %v", key, text, least, most))
		}
		*to = v
	}
	workers := float64(t.workers)
	t.model = o.GetScalerMetadata()["model"]
	number("accuracy", &t.goal.Accuracy, 0, 1)
	number("utilisation", &t.goal.Utilisation, 0.01, 1)
	number("workers", &workers, 1, 1<<16)
	t.workers = int(workers)
	if text, ok := o.GetScalerMetadata()["horizon"]; ok {
		v, err := time.ParseDuration(text)
		if err != nil || v < time.Second || v > time.Hour {
			errs = append(errs, fmt.Errorf("horizon %q: give a time from 1s to 1h", text))
		}
		t.goal.Horizon = v
	}
	if err := errors.Join(errs...); err != nil {
		return nil, status.Errorf(codes.InvalidArgument, "metadata of the trigger of %s/%s: %v", o.GetNamespace(), o.GetName(), err)
	}
	return t, nil
}

// metric is the name of the trigger's metric.
func (t *trigger) metric() string {
	if t.model == "" {
		return "weft-demand"
	}
	return "weft-demand-" + t.model
}

// specs says for which value of the metric one replica is right.
func (t *trigger) specs() *pb.GetMetricSpecResponse {
	target := unit * t.goal.Utilisation * float64(t.workers)
	return &pb.GetMetricSpecResponse{MetricSpecs: []*pb.MetricSpec{{
		MetricName: t.metric(), TargetSize: int64(math.Round(target)), TargetSizeFloat: target,
	}}}
}

// GetMetricSpec implements the scaler's service.
func (s *Scaler) GetMetricSpec(_ context.Context, o *pb.ScaledObjectRef) (*pb.GetMetricSpecResponse, error) {
	t, err := parse(o)
	if err != nil {
		return nil, err
	}
	return t.specs(), nil
}

// StreamMetricSpec implements the scaler's service. What is right for a replica never changes.
func (s *Scaler) StreamMetricSpec(o *pb.ScaledObjectRef, to grpc.ServerStreamingServer[pb.GetMetricSpecResponse]) error {
	t, err := parse(o)
	if err != nil {
		return err
	}
	if err := to.Send(t.specs()); err != nil {
		return err
	}
	<-to.Context().Done()
	return nil
}

// GetMetrics implements the scaler's service.
func (s *Scaler) GetMetrics(_ context.Context, in *pb.GetMetricsRequest) (*pb.GetMetricsResponse, error) {
	t, err := parse(in.GetScaledObjectRef())
	if err != nil {
		return nil, err
	}
	if name := in.GetMetricName(); name != "" && name != t.metric() {
		return nil, status.Errorf(codes.NotFound, "metric %q is unknown: ask for %q", name, t.metric())
	}
	demand, _, err := s.demand(t)
	if err != nil {
		return nil, err
	}
	return &pb.GetMetricsResponse{MetricValues: []*pb.MetricValue{{
		MetricName: t.metric(), MetricValue: int64(math.Ceil(unit * demand)), MetricValueFloat: unit * demand,
	}}}, nil
}

// IsActive implements the scaler's service: whether there should be a worker at all.
func (s *Scaler) IsActive(_ context.Context, o *pb.ScaledObjectRef) (*pb.IsActiveResponse, error) {
	t, err := parse(o)
	if err != nil {
		return nil, err
	}
	_, active, err := s.demand(t)
	return &pb.IsActiveResponse{Result: active}, err
}

// StreamIsActive implements the scaler's service: it tells at once and then of changes.
func (s *Scaler) StreamIsActive(o *pb.ScaledObjectRef, to grpc.ServerStreamingServer[pb.IsActiveResponse]) error {
	t, err := parse(o)
	if err != nil {
		return err
	}
	var told []bool
	for {
		s.mu.Lock()
		turn := s.turn
		s.mu.Unlock()
		_, active, err := s.demand(t)
		if err != nil {
			return err
		}
		if !slices.Contains(told, active) {
			told = []bool{active}
			if err := to.Send(&pb.IsActiveResponse{Result: active}); err != nil {
				return err
			}
		}
		select {
		case <-turn:
		case <-to.Context().Done():
			return nil
		}
	}
}
