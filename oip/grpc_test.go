package oip_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"weft/oip"
	pb "weft/oip/inference"
	"weft/serve"
)

// toyMessage asks the toy about the image 0, 1, 1, 0, whose label is 2.
func toyMessage() *pb.ModelInferRequest {
	return &pb.ModelInferRequest{
		ModelName:        "toy",
		Inputs:           []*pb.ModelInferRequest_InferInputTensor{{Name: "images", Datatype: "UINT8", Shape: []int64{1, 2, 2, 1}}},
		RawInputContents: [][]byte{{0, 255, 255, 0}},
	}
}

func int64Parameter(v int64) *pb.InferParameter {
	return &pb.InferParameter{ParameterChoice: &pb.InferParameter_Int64Param{Int64Param: v}}
}

// Each call of the service, with and without a version, agrees with HTTP.
func TestDescriptionsOverGRPC(t *testing.T) {
	h, client := withModels(t, oip.Simple()...)
	ctx := t.Context()
	live, err := client.ServerLive(ctx, &pb.ServerLiveRequest{})
	if err != nil || !live.Live {
		t.Errorf("live: %v, %v", live, err)
	}
	ready, err := client.ServerReady(ctx, &pb.ServerReadyRequest{})
	if err != nil || !ready.Ready {
		t.Errorf("ready: %v, %v", ready, err)
	}
	server, err := client.ServerMetadata(ctx, &pb.ServerMetadataRequest{})
	if err != nil || server.Name != "weft" || server.Version != "1.2.3" || len(server.Extensions) != 6 {
		t.Errorf("server: %v, %v", server, err)
	}
	for _, version := range []string{"", "3"} {
		m, err := client.ModelReady(ctx, &pb.ModelReadyRequest{Name: "toy", Version: version})
		if err != nil || !m.Ready {
			t.Errorf("version %q: ready %v, %v", version, m, err)
		}
		md, err := client.ModelMetadata(ctx, &pb.ModelMetadataRequest{Name: "toy", Version: version})
		if err != nil || md.Properties["max_batch"] != "8" || !cmp.Equal(md.Inputs[0].Shape, []int64{-1, 2, 2, 1}) || md.Outputs[1].Datatype != "INT64" || md.Versions[0] != "3" {
			t.Errorf("version %q: metadata %v, %v", version, md, err)
		}
		config, err := client.ModelConfig(ctx, &pb.ModelConfigRequest{Name: "toy", Version: version})
		if err != nil || config.Config.MaxBatchSize != 8 || config.Config.Input[0].DataType != pb.DataType_TYPE_FP32 || config.Config.GetDynamicBatching() == nil {
			t.Errorf("version %q: config %v, %v", version, config, err)
		}
		if _, err := client.ModelStatistics(ctx, &pb.ModelStatisticsRequest{Name: "toy", Version: version}); err != nil {
			t.Errorf("version %q: statistics %v", version, err)
		}
		path := "/v2/models/toy"
		if version != "" {
			path += "/versions/" + version
		}
		for _, verb := range []string{"", "/ready", "/config", "/stats"} {
			if w := do(h, "GET", path+verb, nil); w.Code != 200 || !json.Valid(w.Body.Bytes()) {
				t.Errorf("GET %s%s: %d %s", path, verb, w.Code, w.Body)
			}
		}
	}
	_, err = client.ModelReady(ctx, &pb.ModelReadyRequest{Name: "toy", Version: "4"})
	refused(t, err, codes.NotFound, "has version 3")
	_, err = client.ModelMetadata(ctx, &pb.ModelMetadataRequest{Name: "none"})
	refused(t, err, codes.NotFound, "unknown")
	_, err = client.TraceSetting(ctx, &pb.TraceSettingRequest{})
	refused(t, err, codes.Unimplemented, "TraceSetting")
	stats, err := client.ModelStatistics(ctx, &pb.ModelStatisticsRequest{})
	if err != nil || len(stats.ModelStats) != 3 {
		t.Errorf("statistics of all: %v, %v", stats, err)
	}
}

// An image's answer, its parameters, the order of outputs, classification, gzip.
func TestInferOverGRPC(t *testing.T) {
	_, client := withModels(t)
	req := toyMessage()
	req.Id = "a"
	req.Parameters = map[string]*pb.InferParameter{
		"subnet":   {ParameterChoice: &pb.InferParameter_StringParam{StringParam: "small"}},
		"timeout":  int64Parameter(5_000_000),
		"priority": {ParameterChoice: &pb.InferParameter_Uint64Param{Uint64Param: 1}},
	}
	req.Outputs = []*pb.ModelInferRequest_InferRequestedOutputTensor{
		{Name: "label"}, {Name: "logits", Parameters: map[string]*pb.InferParameter{"classification": int64Parameter(2)}},
	}
	for _, opts := range [][]grpc.CallOption{nil, {grpc.UseCompressor(gzip.Name)}} {
		resp, err := client.ModelInfer(t.Context(), req, opts...)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Id != "a" || resp.ModelName != "toy" || resp.ModelVersion != "3" || resp.Outputs[0].Name != "label" || resp.RawOutputContents[0][0] != 2 {
			t.Errorf("%v", resp)
		}
		classes := "\x0e\x00\x00\x008.000000:2:hen\x0e\x00\x00\x005.000000:1:dog"
		if o := resp.Outputs[1]; o.Datatype != "BYTES" || !cmp.Equal(o.Shape, []int64{1, 2}) || string(resp.RawOutputContents[1]) != classes {
			t.Errorf("classification: %v %q", o, resp.RawOutputContents[1])
		}
		p := resp.Parameters
		if p["subnet"].GetStringParam() != "small" || p["accuracy"].GetDoubleParam() != 0.75 || p["batch_size"].GetInt64Param() != 1 || !p["deadline_met"].GetBoolParam() || len(p) != 6 {
			t.Errorf("parameters %v", p)
		}
	}
}

// The deadline of gRPC becomes that of the request, unless timeout is earlier.
func TestDeadlineOfGRPC(t *testing.T) {
	release := make(chan struct{})
	m := toy(t, linear{size: 4, classes: 3, before: func() { <-release }})
	address, s := listenGRPC(t, m)
	client := dialGRPC(t, address)
	req := toyMessage()
	req.Parameters = map[string]*pb.InferParameter{"timeout": int64Parameter(1)}
	_, err := client.ModelInfer(t.Context(), req)
	refused(t, err, codes.DeadlineExceeded, "deadline can not be met")

	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := client.ModelInfer(t.Context(), toyMessage()); err != nil {
			t.Error(err)
		}
	})
	r := s.Router("toy")
	await(t, "a running batch", func() bool { return r.Status().Free == 0 })
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	_, err = client.ModelInfer(ctx, toyMessage())
	refused(t, err, codes.DeadlineExceeded, "")
	await(t, "an empty queue", func() bool { return r.Status().WaitingRequests == 0 })
	close(release)
	wg.Wait()
	if st := r.Statistics(); st.Success.Count != 1 || st.Fail.Count+st.Cancelled.Count != 2 {
		t.Errorf("statistics %+v", st)
	}
}

// A call that is cancelled, and a connection that breaks, take their waiting requests along.
func TestCancelledCallsAreWithdrawn(t *testing.T) {
	release := make(chan struct{})
	var batches atomic.Int64
	address, s := listenGRPC(t, toy(t, linear{size: 4, classes: 3, before: func() {
		batches.Add(1)
		<-release
	}}))
	client, conn := dialGRPC(t, address), connectGRPC(t, address)
	r := s.Router("toy")
	var wg sync.WaitGroup
	call := func(ctx context.Context, c pb.GRPCInferenceServiceClient, want codes.Code) {
		wg.Go(func() {
			req := toyMessage()
			req.Parameters = map[string]*pb.InferParameter{"timeout": int64Parameter(30_000_000)}
			if _, err := c.ModelInfer(ctx, req); status.Code(err) != want {
				t.Errorf("got %v, want %v", err, want)
			}
		})
	}
	call(t.Context(), client, codes.OK)
	await(t, "a running batch", func() bool { return r.Status().Free == 0 })
	ctx, leave := context.WithCancel(t.Context())
	call(ctx, client, codes.Canceled)
	call(t.Context(), pb.NewGRPCInferenceServiceClient(conn), codes.Canceled)
	await(t, "two waiting requests", func() bool { return r.Status().WaitingRequests == 2 })
	leave()
	conn.Close()
	await(t, "an empty queue", func() bool { return r.Status().WaitingRequests == 0 })
	close(release)
	wg.Wait()
	if n := batches.Load(); n != 1 {
		t.Errorf("%d batches ran, want 1", n)
	}
}

// The answers of a stream come in the order of its requests, errors among them.
func TestStream(t *testing.T) {
	_, client := withModels(t)
	stream, err := client.ModelStreamInfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	go func() {
		for i := range n {
			req := toyMessage()
			req.Id = string(rune('a' + i))
			if i%3 == 0 {
				req.RawInputContents[0] = req.RawInputContents[0][1:]
			}
			if err := stream.Send(req); err != nil {
				t.Error(err)
			}
		}
		if err := stream.CloseSend(); err != nil {
			t.Error(err)
		}
	}()
	for i := range n {
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if failed := strings.Contains(answer.ErrorMessage, "send exactly those"); answer.InferResponse.GetId() != string(rune('a'+i)) || failed != (i%3 == 0) {
			t.Fatalf("answer %d: %v", i, answer)
		}
	}
	if _, err := stream.Recv(); !strings.Contains(err.Error(), "EOF") {
		t.Errorf("after the last answer: %v", err)
	}
}

// While the server drains, health and readiness turn on both transports, what
// was taken is answered and what comes is refused.
func TestDrainOverGRPC(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3, before: func() { <-release }}))
	h := oip.NewHandler(s, oip.Options{})
	address := serveGRPC(t, h)
	client, checks := dialGRPC(t, address), health.NewHealthClient(connectGRPC(t, address))
	check := func(service string, want health.HealthCheckResponse_ServingStatus, httpStatus int) {
		t.Helper()
		got, err := checks.Check(t.Context(), &health.HealthCheckRequest{Service: service})
		if err != nil || got.Status != want {
			t.Errorf("health of %q: %v, %v, want %v", service, got, err, want)
		}
		path := "/v2/health/ready"
		if service == "toy" {
			path = "/v2/models/toy/ready"
		}
		if w := do(h, http.MethodGet, path, nil); w.Code != httpStatus {
			t.Errorf("GET %s: %d, want %d", path, w.Code, httpStatus)
		}
	}
	services := []string{"", "inference.GRPCInferenceService", "toy"}
	for _, service := range services {
		check(service, health.HealthCheckResponse_SERVING, 200)
	}
	_, err := checks.Check(t.Context(), &health.HealthCheckRequest{Service: "none"})
	refused(t, err, codes.NotFound, "unknown")
	watch, err := checks.Watch(t.Context(), &health.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if st, err := watch.Recv(); err != nil || st.Status != health.HealthCheckResponse_SERVING {
		t.Errorf("watch: %v, %v", st, err)
	}
	var wg sync.WaitGroup
	for range 12 { // more than a batch
		wg.Go(func() {
			req := toyMessage()
			req.Parameters = map[string]*pb.InferParameter{"timeout": int64Parameter(30_000_000)}
			if _, err := client.ModelInfer(t.Context(), req); err != nil {
				t.Error(err)
			}
		})
	}
	r := s.Router("toy")
	await(t, "queue", func() bool { st := r.Status(); return st.Free == 0 && st.WaitingRequests == 11 })
	drained := make(chan error, 1)
	go func() { drained <- s.Shutdown(context.Background()) }()
	await(t, "draining", func() bool { return !s.Ready() })
	for _, service := range services {
		check(service, health.HealthCheckResponse_NOT_SERVING, 503)
	}
	if st, err := watch.Recv(); err != nil || st.Status != health.HealthCheckResponse_NOT_SERVING {
		t.Errorf("watch while draining: %v, %v", st, err)
	}
	ready, err := client.ServerReady(t.Context(), &pb.ServerReadyRequest{})
	if err != nil || ready.Ready {
		t.Errorf("ready while draining: %v, %v", ready, err)
	}
	_, err = client.ModelInfer(t.Context(), toyMessage())
	refused(t, err, codes.Unavailable, "shutting down")
	close(release)
	wg.Wait()
	if err := <-drained; err != nil {
		t.Error(err)
	}
}

// Over any mix of batches and failures, what the statistics count agrees.
func TestStatisticsAddUp(t *testing.T) {
	m := toy(t, linear{size: 4, classes: 3})
	s := newServer(t, serve.Options{}, m)
	h := oip.NewHandler(s, oip.Options{})
	client := dialGRPC(t, serveGRPC(t, h))
	var wg sync.WaitGroup
	var images atomic.Uint64
	for i := range 6 {
		wg.Go(func() {
			for range 40 {
				req := toyMessage()
				n := 1 + i%3
				req.Inputs[0].Shape[0] = int64(n)
				req.RawInputContents[0] = make([]byte, 4*n)
				if _, err := client.ModelInfer(t.Context(), req); err != nil {
					t.Error(err)
				}
				images.Add(uint64(n))
			}
		})
	}
	wg.Wait()
	late := toyMessage()
	late.Parameters = map[string]*pb.InferParameter{"timeout": int64Parameter(1)}
	_, err := client.ModelInfer(t.Context(), late)
	refused(t, err, codes.DeadlineExceeded, "")
	answer, err := client.ModelStatistics(t.Context(), &pb.ModelStatisticsRequest{Name: "toy"})
	if err != nil {
		t.Fatal(err)
	}
	st := answer.ModelStats[0]
	var batches, inBatches uint64
	for _, b := range st.BatchStats {
		batches += b.ComputeInfer.Count
		inBatches += b.ComputeInfer.Count * b.BatchSize
	}
	is := st.InferenceStats
	if st.InferenceCount != images.Load() || inBatches != images.Load() || st.ExecutionCount != batches || batches == 0 || is.Success.Count != 240 || is.Queue.Count != 240 || is.Fail.Count != 1 {
		t.Errorf("%d images: %v", images.Load(), st)
	}
	if is.Queue.Ns+is.ComputeInput.Ns+is.ComputeInfer.Ns+is.ComputeOutput.Ns > is.Success.Ns || st.LastInference < uint64(time.Now().Add(-time.Minute).UnixMilli()) {
		t.Errorf("times %v, last inference %d", is, st.LastInference)
	}
	var overHTTP struct {
		Models []struct {
			Count uint64 `json:"inference_count"`
		} `json:"model_stats"`
	}
	if err := json.Unmarshal(do(h, "GET", "/v2/models/toy/stats", nil).Body.Bytes(), &overHTTP); err != nil || overHTTP.Models[0].Count != st.InferenceCount {
		t.Errorf("over HTTP: %+v, %v", overHTTP, err)
	}
}

// reopened is a repository whose model is that of the start.
type reopened struct{ model func() serve.Model }

func (r reopened) Names() []string { return []string{"toy"} }

func (r reopened) Open(context.Context, string) (serve.Model, error) { return r.model(), nil }

// A model is reloaded, unloaded and loaded again, over either transport, while
// clients of both call it: reloading fails none of their requests.
func TestRepositoryUnderLoad(t *testing.T) {
	model := func() serve.Model { return toy(t, linear{size: 4, classes: 3}) }
	s := newServer(t, serve.Options{Repository: reopened{model}}, model())
	h := oip.NewHandler(s, oip.Options{Models: oip.Simple()})
	client := dialGRPC(t, serveGRPC(t, h))
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var wg sync.WaitGroup
	var answers atomic.Int64
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := client.ModelInfer(t.Context(), toyMessage()); err != nil {
					t.Error(err)
					return
				}
				answers.Add(1)
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				if w := do(h, "POST", inferPath, []byte(`{"inputs":[`+imageJSON+`]}`)); w.Code != 200 {
					t.Errorf("%d %s", w.Code, w.Body)
					return
				}
				answers.Add(1)
			}
		})
	}
	for i := range 20 {
		await(t, "answers", func() bool { return answers.Load() > int64(i*20) })
		if w := do(h, "POST", "/v2/repository/models/toy/load", []byte(`{}`)); w.Code != 200 {
			t.Fatalf("load: %d %s", w.Code, w.Body)
		}
		if _, err := client.RepositoryModelLoad(t.Context(), &pb.RepositoryModelLoadRequest{ModelName: "toy"}); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	wg.Wait()
	if w := do(h, "POST", "/v2/repository/models/toy/unload", nil); w.Code != 200 {
		t.Fatalf("unload: %d %s", w.Code, w.Body)
	}
	for _, path := range []string{"/v2/models/toy/ready", "/v2/models/toy"} {
		if w := do(h, "GET", path, nil); w.Code != 503 || !strings.Contains(errorText(t, w), "load it first") {
			t.Errorf("GET %s of an unloaded model: %d", path, w.Code)
		}
	}
	_, err := client.ModelInfer(t.Context(), toyMessage())
	refused(t, err, codes.Unavailable, "not loaded")
	ready, err := client.ModelReady(t.Context(), &pb.ModelReadyRequest{Name: "toy"})
	if err != nil || ready.Ready {
		t.Errorf("an unloaded model: %v, %v", ready, err)
	}
	index, err := client.RepositoryIndex(t.Context(), &pb.RepositoryIndexRequest{Ready: true})
	if err != nil || len(index.Models) != 2 {
		t.Errorf("index of what is ready: %v, %v", index, err)
	}
	await(t, "end of unloading", func() bool {
		body := do(h, "POST", "/v2/repository/index", nil).Body.String()
		return strings.Contains(body, `{"name":"toy","state":"UNAVAILABLE","reason":"unloaded"}`)
	})
	if _, err := client.RepositoryModelLoad(t.Context(), &pb.RepositoryModelLoadRequest{ModelName: "toy"}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ModelInfer(t.Context(), toyMessage()); err != nil {
		t.Error(err)
	}
}

func TestRefusedRepositoryRequests(t *testing.T) {
	s := newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	h := oip.NewHandler(s, oip.Options{Models: oip.Simple()})
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v2/repository/index", "", 405, "use POST"},
		{"POST", "/v2/repository/a/b/index", "", 404, "unknown"},
		{"POST", "/v2/repository/index", "[]", 400, "no JSON object"},
		{"POST", "/v2/repository/models/toy/load", "", 400, "loads no models"},
		{"POST", "/v2/repository/models/toy/load", `{"parameters":{"config":"{}"}}`, 501, "not offered"},
		{"POST", "/v2/repository/models/none/unload", "", 404, "unknown"},
		{"POST", "/v2/repository/models/simple/unload", "", 400, "built in"},
		{"POST", "/v2/repository/a/models/toy/load", "", 404, "unknown"},
	} {
		w := do(h, c.method, c.path, []byte(c.body))
		if text := errorText(t, w); w.Code != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s %s %s: %d %q, want %d with %q", c.method, c.path, c.body, w.Code, text, c.status, c.want)
		}
	}
	s = newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	h = oip.NewHandler(s, oip.Options{FixedModels: true})
	if w := do(h, "POST", "/v2/repository/models/toy/unload", nil); w.Code != 403 {
		t.Errorf("unload of a fixed model: %d", w.Code)
	}
	client := dialGRPC(t, serveGRPC(t, h))
	_, err := client.RepositoryModelUnload(t.Context(), &pb.RepositoryModelUnloadRequest{ModelName: "toy"})
	refused(t, err, codes.PermissionDenied, "model control")
	_, err = client.RepositoryModelLoad(t.Context(), &pb.RepositoryModelLoadRequest{ModelName: "toy", RepositoryName: "x"})
	refused(t, err, codes.InvalidArgument, "no names")
}

// A server that is stopped before it listens ends like any other. With one processor, stopping it comes first.
func TestGRPCStoppedAtOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	h, s := newHandler(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if err := h.ServeGRPC(stopped, ln); err != nil {
			t.Fatal(err)
		}
	}
}
