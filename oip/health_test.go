package oip_test

import (
	"context"
	"testing"
	"time"

	health "google.golang.org/grpc/health/grpc_health_v1"

	"weft/oip"
	"weft/serve"
)

// Who watches a model is told at once when its only worker joins, leaves or dies, and when
// the model is unloaded.
func TestWatchIsTold(t *testing.T) {
	m := toy(t)
	s, err := serve.New([]serve.Model{m}, serve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	address := serveGRPC(t, oip.NewHandler(s, oip.Options{}))
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	watch, err := health.NewHealthClient(connectGRPC(t, address)).Watch(ctx, &health.HealthCheckRequest{Service: "toy"})
	if err != nil {
		t.Fatal(err)
	}
	r := s.Router("toy")
	join := func() *serve.Attached {
		a, err := s.Attach(serve.WorkerSpec{Executors: map[*serve.Router]serve.Executor{r: linear{size: 4, classes: 3}}})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	var worker *serve.Attached
	for _, step := range []struct {
		what string
		do   func()
		want health.HealthCheckResponse_ServingStatus
	}{
		{"no worker", func() {}, health.HealthCheckResponse_NOT_SERVING},
		{"joined", func() { worker = join() }, health.HealthCheckResponse_SERVING},
		{"left", func() {
			if err := worker.Leave(ctx); err != nil {
				t.Error(err)
			}
		}, health.HealthCheckResponse_NOT_SERVING},
		{"joined again", func() { worker = join() }, health.HealthCheckResponse_SERVING},
		{"lost", func() { worker.Lost() }, health.HealthCheckResponse_NOT_SERVING},
		{"unloaded", func() {
			if err := s.Unload("toy"); err != nil {
				t.Error(err)
			}
		}, health.HealthCheckResponse_SERVICE_UNKNOWN},
	} {
		step.do()
		st, err := watch.Recv()
		if err != nil || st.Status != step.want {
			t.Fatalf("%s: %v, %v; want %v", step.what, st, err, step.want)
		}
	}
}
