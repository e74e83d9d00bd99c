package telemetry_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"weft/oip"
	pb "weft/oip/inference"
	"weft/sched"
	"weft/serve"
	"weft/telemetry"
)

// sink is a collector that keeps what it gets.
type sink struct {
	collector.UnimplementedTraceServiceServer

	mu    sync.Mutex
	spans []*spans.Span
	about map[string]string
}

func (s *sink) Export(_ context.Context, in *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range in.ResourceSpans {
		s.about = map[string]string{}
		for _, a := range r.Resource.Attributes {
			s.about[a.Key] = a.Value.GetStringValue()
		}
		for _, scope := range r.ScopeSpans {
			s.spans = append(s.spans, scope.Spans...)
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

func listen(t *testing.T, serve func(net.Listener)) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var end sync.WaitGroup
	end.Go(func() { serve(ln) })
	t.Cleanup(end.Wait)
	return ln.Addr().String()
}

// traced is a server with a collector.
type traced struct {
	t          *testing.T
	sink       *sink
	tracer     *telemetry.Tracer
	http, grpc string
}

// toy takes a millisecond for any image.
func toy(t *testing.T) serve.Model {
	p, err := sched.NewProfile([]sched.Subnet{{Name: "only", Accuracy: 0.75, Latency: []time.Duration{time.Millisecond, time.Millisecond}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return serve.Model{
		Name: "toy", H: 2, W: 2, C: 1, Classes: 2, Profile: p,
		Executors: []serve.Executor{&serve.SleepExecutor{Profile: p, Classes: 2}},
	}
}

func newTraced(t *testing.T, share float64) *traced {
	t.Helper()
	x := &traced{t: t, sink: new(sink)}
	sinkServer := grpc.NewServer()
	collector.RegisterTraceServiceServer(sinkServer, x.sink)
	endpoint := listen(t, func(ln net.Listener) { _ = sinkServer.Serve(ln) })
	t.Cleanup(sinkServer.Stop)
	var err error
	if x.tracer, err = telemetry.New(t.Context(), telemetry.Options{Endpoint: "http://" + endpoint, Sample: share, Version: "1.2.3"}); err != nil {
		t.Fatal(err)
	}
	s, err := serve.New([]serve.Model{toy(t)}, serve.Options{SLO: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	h := oip.NewHandler(s, oip.Options{Observe: x.tracer.Observe})
	ctx, stop := context.WithCancel(context.Background())
	x.http = listen(t, func(ln net.Listener) { _ = h.Serve(ctx, ln, x.tracer.Handler(h)) })
	x.grpc = listen(t, func(ln net.Listener) { _ = h.ServeGRPC(ctx, ln) })
	t.Cleanup(stop)
	return x
}

const (
	traceID  = "0af7651916cd43dd8448eb211c80319c"
	parentID = "b7ad6b7169203331"
)

// traceparent is a caller's, who has decided to report or not.
func traceparent(sampled bool) string {
	return fmt.Sprintf("00-%s-%s-%02d", traceID, parentID, map[bool]int{true: 1}[sampled])
}

func (x *traced) post(parameters, parent string) {
	x.t.Helper()
	body := `{"inputs":[{"name":"images","shape":[1,2,2,1],"datatype":"UINT8","data":[0,1,2,3]}],"parameters":{` + parameters + `}}`
	r, err := http.NewRequest(http.MethodPost, "http://"+x.http+"/v2/models/toy/infer", bytes.NewReader([]byte(body)))
	if err != nil {
		x.t.Fatal(err)
	}
	if parent != "" {
		r.Header.Set("traceparent", parent)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	_ = resp.Body.Close()
}

// call asks over gRPC, alone or in a stream.
func (x *traced) call(parent string, stream bool) {
	x.t.Helper()
	conn, err := grpc.NewClient(x.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		x.t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(x.t.Context(), "traceparent", parent)
	in := &pb.ModelInferRequest{
		ModelName: "toy", RawInputContents: [][]byte{{0, 1, 2, 3}},
		Inputs: []*pb.ModelInferRequest_InferInputTensor{{Name: "images", Datatype: "UINT8", Shape: []int64{1, 2, 2, 1}}},
	}
	client := pb.NewGRPCInferenceServiceClient(conn)
	if !stream {
		if _, err := client.ModelInfer(ctx, in); err != nil {
			x.t.Error(err)
		}
		return
	}
	calls, err := client.ModelStreamInfer(ctx)
	if err != nil {
		x.t.Fatal(err)
	}
	if err := calls.Send(in); err != nil {
		x.t.Error(err)
	}
	if out, err := calls.Recv(); err != nil || out.ErrorMessage != "" {
		x.t.Errorf("%v, %v", out, err)
	}
	_ = calls.CloseSend()
}

// reported closes the tracer and returns the spans by their name, one of each.
func (x *traced) reported() map[string]*spans.Span {
	x.t.Helper()
	if err := x.tracer.Close(x.t.Context()); err != nil {
		x.t.Fatal(err)
	}
	x.sink.mu.Lock()
	defer x.sink.mu.Unlock()
	byName := map[string]*spans.Span{}
	for _, s := range x.sink.spans {
		if byName[s.Name] != nil {
			x.t.Errorf("two spans are named %s", s.Name)
		}
		byName[s.Name] = s
	}
	return byName
}

func attributes(s *spans.Span) map[string]string {
	all := map[string]string{}
	for _, a := range s.Attributes {
		all[a.Key] = strings.Trim(a.Value.String(), " ")
		if v := a.Value.GetStringValue(); v != "" {
			all[a.Key] = v
		}
	}
	return all
}

// A request that a caller traces has a span below the caller's, over each transport,
// with spans of queue and computing below it that follow each other.
func TestSpans(t *testing.T) {
	for name, send := range map[string]func(*traced){
		"http":        func(x *traced) { x.post(`"timeout":500000`, traceparent(true)) },
		"grpc":        func(x *traced) { x.call(traceparent(true), false) },
		"grpc stream": func(x *traced) { x.call(traceparent(true), true) },
	} {
		t.Run(name, func(t *testing.T) {
			x := newTraced(t, 0)
			send(x)
			got := x.reported()
			if len(got) != 3 || got["infer toy"] == nil || got["queue"] == nil || got["compute"] == nil {
				t.Fatalf("spans %v", got)
			}
			root, queue, compute := got["infer toy"], got["queue"], got["compute"]
			if hex.EncodeToString(root.TraceId) != traceID || hex.EncodeToString(root.ParentSpanId) != parentID || root.Kind != spans.Span_SPAN_KIND_SERVER {
				t.Errorf("the request's span is %v", root)
			}
			for _, s := range []*spans.Span{queue, compute} {
				if !bytes.Equal(s.ParentSpanId, root.SpanId) || !bytes.Equal(s.TraceId, root.TraceId) {
					t.Errorf("%s is not below the request", s.Name)
				}
			}
			took := time.Duration(compute.EndTimeUnixNano - compute.StartTimeUnixNano)
			if queue.StartTimeUnixNano != root.StartTimeUnixNano || queue.EndTimeUnixNano != compute.StartTimeUnixNano ||
				compute.EndTimeUnixNano > root.EndTimeUnixNano || took < time.Millisecond {
				t.Errorf("times of the request %d-%d, in the queue %d-%d, computing %d-%d", root.StartTimeUnixNano, root.EndTimeUnixNano,
					queue.StartTimeUnixNano, queue.EndTimeUnixNano, compute.StartTimeUnixNano, compute.EndTimeUnixNano)
			}
			transport, _, _ := strings.Cut(name, " ")
			about := attributes(root)
			for key, want := range map[string]string{"weft.model": "toy", "weft.subnet": "only", "rpc.transport": transport, "weft.deadline_met": "bool_value:true", "weft.batch_size": "int_value:1"} {
				if about[key] != want {
					t.Errorf("%s is %q, want %q", key, about[key], want)
				}
			}
			if _, ok := about["weft.slack_us"]; ok != (name == "http") {
				t.Errorf("attributes %v: the slack is known where the timeout is", about)
			}
			if x.sink.about["service.name"] != "weft" || x.sink.about["service.version"] != "1.2.3" {
				t.Errorf("the server calls itself %v", x.sink.about)
			}
		})
	}
}

// A refused request has a span that says so, and none of its parts.
func TestSpanOfARefusal(t *testing.T) {
	x := newTraced(t, 1)
	x.post(`"timeout":1`, "")
	got := x.reported()
	root := got["infer toy"]
	if len(got) != 1 || root == nil || root.Status.Code != spans.Status_STATUS_CODE_ERROR || attributes(root)["weft.outcome"] != "dropped_late" {
		t.Errorf("spans %v", got)
	}
	if len(root.ParentSpanId) != 0 {
		t.Error("a request of no caller has one")
	}
}

// Who decides: the caller, if there is one, or else the share.
func TestSampling(t *testing.T) {
	for _, c := range []struct {
		share  float64
		parent string
		want   int
	}{
		{1, traceparent(false), 0},
		{0, traceparent(true), 3},
		{0, "", 0},
		{1, "", 3},
		{0, "00-nonsense", 0},
	} {
		x := newTraced(t, c.share)
		x.post("", c.parent)
		if got := x.reported(); len(got) != c.want {
			t.Errorf("share %v, caller %q: %d spans, want %d", c.share, c.parent, len(got), c.want)
		}
	}
}

func TestOptions(t *testing.T) {
	for _, c := range []struct {
		opt  telemetry.Options
		want string
	}{
		{telemetry.Options{Endpoint: "localhost:4317"}, "give http://HOST:PORT or https://HOST:PORT"},
		{telemetry.Options{Endpoint: "http://:4317"}, "give http://HOST:PORT"},
		{telemetry.Options{Endpoint: "http://localhost:4317", Sample: 1.5}, "give a fraction in 0..1"},
	} {
		if _, err := telemetry.New(t.Context(), c.opt); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.opt, err, c.want)
		}
	}
}

// A collector that is away holds no request up.
func TestCollectorAway(t *testing.T) {
	tracer, err := telemetry.New(t.Context(), telemetry.Options{Endpoint: "http://127.0.0.1:1", Sample: 1})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for range 5000 {
		tracer.Observe(t.Context(), "toy", &oip.Request{Start: start}, new(oip.Response), nil)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("5000 requests took %v", took)
	}
	ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer stop()
	if err := tracer.Close(ctx); err == nil {
		t.Error("the loss is not reported at the end")
	}
}
