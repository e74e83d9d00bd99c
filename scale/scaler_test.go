package scale_test

import (
	"context"
	"math"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"weft/guard"
	"weft/oip"
	"weft/scale"
	pb "weft/scale/externalscaler"
	"weft/sched"
	"weft/serve"
)

// start serves a simulated model of 20 ms an image and its demand over gRPC, and returns KEDA's client.
func start(t *testing.T) (*serve.Server, pb.ExternalScalerClient) {
	t.Helper()
	p, err := sched.NewProfile([]sched.Subnet{{Name: "only", Accuracy: 0.9, Latency: []time.Duration{20 * time.Millisecond}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := serve.New([]serve.Model{{
		Name: "m", H: 1, W: 1, C: 1, Classes: 2, Profile: p, Executors: []serve.Executor{&serve.SleepExecutor{Profile: p, Classes: 2}},
	}}, serve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	scaler := scale.NewScaler(s)
	looking, served := make(chan struct{}), make(chan error, 1)
	go func() { scaler.Run(ctx); close(looking) }()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := oip.NewHandler(s, oip.Options{Services: []oip.Service{{Desc: scale.Desc(), Impl: scaler, Right: guard.Probe}}})
	go func() { served <- h.ServeGRPC(ctx, ln) }()
	conn, err := grpc.NewClient(ln.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		cancel()
		<-looking
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return s, pb.NewExternalScalerClient(conn)
}

func object(metadata ...string) *pb.ScaledObjectRef {
	o := &pb.ScaledObjectRef{Name: "workers", Namespace: "weft", ScalerMetadata: map[string]string{"scalerAddress": "weft:8081"}}
	for _, m := range metadata {
		key, value, _ := strings.Cut(m, "=")
		o.ScalerMetadata[key] = value
	}
	return o
}

// KEDA sees the demand of a load that needs 0.6 workers, and its end.
func TestScalerFollowsTheLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds of real load")
	}
	s, keda := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	o := object("horizon=1s", "model=m")
	active, err := keda.StreamIsActive(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	tells := func(want bool) {
		t.Helper()
		if a, err := active.Recv(); err != nil || a.GetResult() != want {
			t.Fatalf("active %v, %v, want %v", a.GetResult(), err, want)
		}
	}
	tells(false)
	loaded, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second / 30)
		defer tick.Stop()
		for loaded.Err() == nil {
			<-tick.C
			go s.Router("m").Infer(ctx, &serve.Request{N: 1, Pixels: make([]byte, 1), Timeout: time.Second})
		}
	}()
	tells(true)
	want := 1000 * 30 * 0.020 // thousandths of a worker
	var got float64
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		m, err := keda.GetMetrics(ctx, &pb.GetMetricsRequest{ScaledObjectRef: o, MetricName: "weft-demand-m"})
		if err != nil || len(m.GetMetricValues()) != 1 {
			t.Fatalf("metrics %v, %v", m, err)
		}
		v := m.GetMetricValues()[0]
		if got = v.GetMetricValueFloat(); v.GetMetricValue() != int64(math.Ceil(got)) || v.GetMetricName() != "weft-demand-m" {
			t.Errorf("value %v", v)
		}
		if math.Abs(got-want) < 0.15*want {
			break
		}
	}
	if math.Abs(got-want) >= 0.15*want {
		t.Errorf("demand %.0f, want about %.0f", got, want)
	}
	stop()
	<-done
	tells(false)
	if a, err := keda.IsActive(ctx, o); err != nil || a.GetResult() {
		t.Errorf("active %v, %v after the load's end", a.GetResult(), err)
	}
}

func TestScalerSpecs(t *testing.T) {
	_, keda := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for _, c := range []struct {
		o      *pb.ScaledObjectRef
		metric string
		target float64
	}{
		{object(), "weft-demand", 800},
		{object("utilisation=0.5", "workers=4", "accuracy=0.93", "horizon=1m"), "weft-demand", 2000},
		{object("model=m"), "weft-demand-m", 800},
	} {
		spec, err := keda.GetMetricSpec(ctx, c.o)
		if err != nil {
			t.Fatal(err)
		}
		got := spec.GetMetricSpecs()[0]
		if got.GetMetricName() != c.metric || got.GetTargetSizeFloat() != c.target || got.GetTargetSize() != int64(c.target) {
			t.Errorf("%v: %v, want %s with target %v", c.o.GetScalerMetadata(), got, c.metric, c.target)
		}
		stream, err := keda.StreamMetricSpec(ctx, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if first, err := stream.Recv(); err != nil || first.GetMetricSpecs()[0].GetTargetSizeFloat() != c.target {
			t.Errorf("streamed %v, %v", first, err)
		}
	}
	for metadata, sentence := range map[string]string{
		"accuracy=93": "accuracy \"93\": give a number from 0 to 1", "utilisation=0": "utilisation \"0\": give", "workers=x": "workers \"x\": give",
		"horizon=5": "horizon \"5\": give a time from 1s to 1h",
	} {
		_, err := keda.GetMetricSpec(ctx, object(metadata))
		if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), sentence) || !strings.Contains(err.Error(), "weft/workers") {
			t.Errorf("%s: %v, want %s", metadata, err, sentence)
		}
	}
	if _, err := keda.IsActive(ctx, object("model=x")); status.Code(err) != codes.NotFound || !strings.Contains(err.Error(), "name one of [m]") {
		t.Errorf("unknown model: %v", err)
	}
	if _, err := keda.GetMetrics(ctx, &pb.GetMetricsRequest{ScaledObjectRef: object(), MetricName: "other"}); status.Code(err) != codes.NotFound {
		t.Errorf("unknown metric: %v", err)
	}
}
