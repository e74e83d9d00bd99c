package oip_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"

	"weft/guard"
	"weft/oip"
	pb "weft/oip/inference"
	"weft/sched"
	"weft/serve"
)

// withKeys returns a guard who knows the keys, each of which is named for its key.
func withKeys(t testing.TB, keys ...guard.Key) *guard.Guard {
	t.Helper()
	for i := range keys {
		keys[i].SHA256 = sha256.Sum256([]byte(keys[i].Name))
		if keys[i].Tenant == "" {
			keys[i].Tenant = keys[i].Name
		}
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := guard.Write(path, keys); err != nil {
		t.Fatal(err)
	}
	g, err := guard.Open(path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// everybody is a guard of three: user and boss, who may use all models, and other, who may not use toy.
func everybody(t testing.TB) *guard.Guard {
	return withKeys(t, guard.Key{Name: "user"}, guard.Key{Name: "other", Models: []string{"simple"}}, guard.Key{Name: "boss", Admin: true})
}

// guarded returns a handler of the toy and of simple whose callers need keys, if there is a guard.
func guarded(t testing.TB, g *guard.Guard) *oip.Handler {
	t.Helper()
	model := func() serve.Model { return toy(t, linear{size: 4, classes: 3}) }
	s := newServer(t, serve.Options{Repository: reopened{model}}, model())
	return oip.NewHandler(s, oip.Options{Guard: g, Models: oip.Simple()})
}

// inferBody asks the toy about an image.
const inferBody = `{"inputs":[` + imageJSON + `]}`

// What each caller gets from each path, with keys and without: this is the table
// of docs/security.md.
func TestWhoMayDoWhatOverHTTP(t *testing.T) {
	callers := []struct {
		keys bool
		key  string
		far  bool
	}{{true, "", false}, {true, "wrong", false}, {true, "user", false}, {true, "other", false}, {true, "boss", true}, {false, "", false}, {false, "", true}}
	with, without := guarded(t, everybody(t)), guarded(t, nil)
	for _, c := range []struct {
		method, path, body string
		want               [7]int
	}{
		{"GET", "/v2/health/live", "", [7]int{200, 200, 200, 200, 200, 200, 200}},
		{"GET", "/v2/health/ready", "", [7]int{200, 200, 200, 200, 200, 200, 200}},
		{"GET", "/v2/models/toy/ready", "", [7]int{200, 200, 200, 200, 200, 200, 200}},
		{"GET", "/v2", "", [7]int{401, 401, 200, 200, 200, 200, 200}},
		{"GET", "/v2/models", "", [7]int{401, 401, 200, 200, 200, 200, 200}},
		{"GET", "/v2/models/toy", "", [7]int{401, 401, 200, 403, 200, 200, 200}},
		{"GET", "/v2/models/toy/versions/3", "", [7]int{401, 401, 200, 403, 200, 200, 200}},
		{"GET", "/v2/models/toy/config", "", [7]int{401, 401, 200, 403, 200, 200, 200}},
		{"GET", "/v2/models/toy/subnets", "", [7]int{401, 401, 200, 403, 200, 200, 200}},
		{"POST", inferPath, inferBody, [7]int{401, 401, 200, 403, 200, 200, 200}},
		{"POST", "/v2/models/toy/versions/3/infer", inferBody, [7]int{401, 401, 200, 403, 200, 200, 200}},
		{"POST", "/v2/models/toy/infer/", inferBody, [7]int{401, 401, 200, 403, 200, 200, 200}},
		{"GET", "/v2/models/none", "", [7]int{401, 401, 404, 403, 404, 404, 404}},
		{"GET", "/v2/models/toy/timeline", "", [7]int{401, 401, 403, 403, 200, 200, 200}},
		{"GET", "/v2/models/toy/versions/3/timeline", "", [7]int{401, 401, 403, 403, 200, 200, 200}},
		{"GET", "/v2/models/toy/stats", "", [7]int{401, 401, 403, 403, 200, 200, 200}},
		{"GET", "/v2/models/stats", "", [7]int{401, 401, 403, 403, 200, 200, 200}},
		{"GET", "/metrics", "", [7]int{401, 401, 403, 403, 200, 200, 200}},
		{"POST", "/v2/repository/index", "", [7]int{401, 401, 200, 200, 200, 200, 200}},
		{"POST", "/v2/repository/models/toy/load", "", [7]int{401, 401, 403, 403, 200, 200, 403}},
		{"POST", "/v2/repository/models/simple/load", "", [7]int{401, 401, 403, 403, 200, 200, 403}},
		{"POST", "/v2/repository/models/simple/unload", "", [7]int{401, 401, 403, 403, 400, 400, 403}},
		{"POST", "/v2/flight", "", [7]int{401, 401, 403, 403, 400, 400, 403}},
		{"GET", "/v2/nothing", "", [7]int{401, 401, 404, 404, 404, 404, 404}},
		{"GET", "/v2/models/toy/nothing", "", [7]int{401, 401, 404, 403, 404, 404, 404}},
	} {
		for i, who := range callers {
			h := without
			if who.keys {
				h = with
			}
			r := httptest.NewRequest(c.method, c.path, strings.NewReader(c.body))
			r.RemoteAddr, r.Host = "127.0.0.1:1", "127.0.0.1:8080"
			if who.far {
				r.RemoteAddr = "10.1.2.3:1"
			}
			if who.key != "" {
				r.Header.Set("Authorization", "Bearer "+who.key)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			if w.Code != c.want[i] {
				t.Errorf("%s %s with key %q of keys %v, from afar %v: %d %s, want %d", c.method, c.path, who.key, who.keys, who.far, w.Code, w.Body, c.want[i])
			}
			if challenged := len(w.Header().Values("WWW-Authenticate")) > 0; challenged != (w.Code == 401) {
				t.Errorf("%s %s: %d with challenge %v", c.method, c.path, w.Code, challenged)
			}
		}
	}
}

// The lists that a client gets have the models that it may use.
func TestListsOfModels(t *testing.T) {
	h := guarded(t, everybody(t))
	conn := connectGRPC(t, serveGRPC(t, h))
	for _, c := range []struct{ key, models, index string }{
		{"user", `{"models":["simple","simple_string","toy"]}`, "toy"},
		{"other", `{"models":["simple"]}`, ""},
	} {
		if got := strings.TrimSpace(do(h, "GET", "/v2/models", nil, "X-API-Key: "+c.key).Body.String()); got != c.models {
			t.Errorf("%s sees %s, want %s", c.key, got, c.models)
		}
		index := do(h, "POST", "/v2/repository/index", nil, "X-API-Key: "+c.key).Body.String()
		if !strings.Contains(index, `"simple"`) || strings.Contains(index, `"toy"`) != (c.index != "") {
			t.Errorf("%s sees the index %s", c.key, index)
		}
		list, err := health.NewHealthClient(conn).List(authorised(t.Context(), c.key), &health.HealthListRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, seen := list.Statuses["toy"]; seen != (c.index != "") || list.Statuses["simple"] == nil || list.Statuses[""] == nil {
			t.Errorf("%s sees the health of %v", c.key, list.Statuses)
		}
	}
}

// What a page of another site makes a browser send changes nothing and uses no key that the browser keeps.
func TestPagesOfOtherSites(t *testing.T) {
	foreign := []string{"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}
	load := "/v2/repository/models/toy/load"
	basic := "Authorization: Basic OnVzZXI=" // :user
	open, keyed := guarded(t, nil), guarded(t, everybody(t))
	if w := do(open, "POST", load, nil, foreign...); w.Code != 403 || !strings.Contains(errorText(t, w), "another site") {
		t.Errorf("load: %d", w.Code)
	}
	if w := do(open, "POST", load, nil, "Sec-Fetch-Site: same-origin"); w.Code != 200 {
		t.Errorf("load by a page of its own: %d", w.Code)
	}
	if w := do(keyed, "POST", inferPath, []byte(inferBody), append(foreign, basic)...); w.Code != 403 {
		t.Errorf("infer with a password that the browser keeps: %d", w.Code)
	}
	if w := do(keyed, "POST", inferPath, []byte(inferBody), basic); w.Code != 200 {
		t.Errorf("infer with a password: %d %s", w.Code, w.Body)
	}
	r := httptest.NewRequest("POST", load, nil)
	r.RemoteAddr, r.Host = "127.0.0.1:1", "evil.example" // which was made to lead to 127.0.0.1
	w := httptest.NewRecorder()
	if open.ServeHTTP(w, r); w.Code != 403 {
		t.Errorf("load by DNS rebinding: %d", w.Code)
	}
}

// authorised adds a key to the calls of a context.
func authorised(ctx context.Context, key string) context.Context {
	if key == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+key)
}

func TestWhoMayDoWhatOverGRPC(t *testing.T) {
	conn := connectGRPC(t, serveGRPC(t, guarded(t, everybody(t))))
	open := connectGRPC(t, serveGRPC(t, guarded(t, nil)))
	type call = func(ctx context.Context, c *grpc.ClientConn) error
	unary := func(name string, in, out any) call {
		return func(ctx context.Context, c *grpc.ClientConn) error {
			return c.Invoke(ctx, "/"+pb.GRPCInferenceService_ServiceDesc.ServiceName+"/"+name, in, out)
		}
	}
	stream := func(ctx context.Context, c *grpc.ClientConn) error {
		s, err := pb.NewGRPCInferenceServiceClient(c).ModelStreamInfer(ctx)
		if err != nil {
			return err
		}
		_ = s.CloseSend()
		if _, err = s.Recv(); err != nil && err.Error() == "EOF" {
			return nil
		}
		return err
	}
	watch := func(ctx context.Context, c *grpc.ClientConn) error {
		ctx, stop := context.WithCancel(ctx)
		defer stop()
		s, err := health.NewHealthClient(c).Watch(ctx, &health.HealthCheckRequest{})
		if err == nil {
			_, err = s.Recv()
		}
		return err
	}
	reflected := func(ctx context.Context, c *grpc.ClientConn) error {
		s, err := grpc_reflection_v1.NewServerReflectionClient(c).ServerReflectionInfo(ctx)
		if err != nil {
			return err
		}
		// Sending may find the stream refused already; receiving says why.
		_ = s.Send(&grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}})
		_, err = s.Recv()
		return err
	}
	ok, no, un, ua := codes.OK, codes.PermissionDenied, codes.Unimplemented, codes.Unauthenticated
	for _, c := range []struct {
		name string
		call call
		want [6]codes.Code // no key, wrong, user, other, boss; without keys
	}{
		{"live", unary("ServerLive", &pb.ServerLiveRequest{}, &pb.ServerLiveResponse{}), [6]codes.Code{}},
		{"ready", unary("ServerReady", &pb.ServerReadyRequest{}, &pb.ServerReadyResponse{}), [6]codes.Code{}},
		{"model ready", unary("ModelReady", &pb.ModelReadyRequest{Name: "toy"}, &pb.ModelReadyResponse{}), [6]codes.Code{}},
		{"watch", watch, [6]codes.Code{}},
		{"health", func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := health.NewHealthClient(c).Check(ctx, &health.HealthCheckRequest{})
			return err
		}, [6]codes.Code{}},
		{"list of health", func(ctx context.Context, c *grpc.ClientConn) error {
			_, err := health.NewHealthClient(c).List(ctx, &health.HealthListRequest{})
			return err
		}, [6]codes.Code{ua, ua, ok, ok, ok, ok}},
		{"reflection", reflected, [6]codes.Code{ua, ua, ok, ok, ok, ok}},
		{"server", unary("ServerMetadata", &pb.ServerMetadataRequest{}, &pb.ServerMetadataResponse{}), [6]codes.Code{ua, ua, ok, ok, ok, ok}},
		{"model", unary("ModelMetadata", &pb.ModelMetadataRequest{Name: "toy"}, &pb.ModelMetadataResponse{}), [6]codes.Code{ua, ua, ok, no, ok, ok}},
		{"config", unary("ModelConfig", &pb.ModelConfigRequest{Name: "toy"}, &pb.ModelConfigResponse{}), [6]codes.Code{ua, ua, ok, no, ok, ok}},
		{"infer", unary("ModelInfer", toyMessage(), &pb.ModelInferResponse{}), [6]codes.Code{ua, ua, ok, no, ok, ok}},
		{"stream", stream, [6]codes.Code{ua, ua, ok, ok, ok, ok}},
		{"statistics", unary("ModelStatistics", &pb.ModelStatisticsRequest{}, &pb.ModelStatisticsResponse{}), [6]codes.Code{ua, ua, no, no, ok, ok}},
		{"index", unary("RepositoryIndex", &pb.RepositoryIndexRequest{}, &pb.RepositoryIndexResponse{}), [6]codes.Code{ua, ua, ok, ok, ok, ok}},
		{"load", unary("RepositoryModelLoad", &pb.RepositoryModelLoadRequest{ModelName: "toy"}, &pb.RepositoryModelLoadResponse{}), [6]codes.Code{ua, ua, no, no, ok, ok}},
		{"unload", unary("RepositoryModelUnload", &pb.RepositoryModelUnloadRequest{ModelName: "simple"}, &pb.RepositoryModelUnloadResponse{}), [6]codes.Code{ua, ua, no, no, codes.InvalidArgument, codes.InvalidArgument}},
		{"settings", unary("TraceSetting", &pb.TraceSettingRequest{}, &pb.TraceSettingResponse{}), [6]codes.Code{ua, ua, no, no, un, un}},
		{"logs", unary("LogSettings", &pb.LogSettingsRequest{}, &pb.LogSettingsResponse{}), [6]codes.Code{ua, ua, no, no, un, un}},
	} {
		for i, key := range []string{"", "wrong", "user", "other", "boss"} {
			if got := status.Code(c.call(authorised(t.Context(), key), conn)); got != c.want[i] {
				t.Errorf("%s with key %q: %v, want %v", c.name, key, got, c.want[i])
			}
		}
		if got := status.Code(c.call(t.Context(), open)); got != c.want[5] {
			t.Errorf("%s without keys: %v, want %v", c.name, got, c.want[5])
		}
	}
	// A method of another spelling is none.
	spelled := pb.GRPCInferenceService_ServiceDesc.ServiceName + "/RepositoryModelUnload"
	for _, method := range []string{spelled, "//" + spelled, "/" + spelled + "/", "/inference./GRPCInferenceService/RepositoryModelUnload"} {
		err := open.Invoke(t.Context(), method, &pb.RepositoryModelUnloadRequest{ModelName: "toy"}, &pb.RepositoryModelUnloadResponse{})
		refused(t, err, codes.Unimplemented, "")
	}
	// A proxy on the same machine asks for others.
	ctx := metadata.AppendToOutgoingContext(t.Context(), "x-forwarded-for", "10.1.2.3")
	_, err := pb.NewGRPCInferenceServiceClient(open).RepositoryModelLoad(ctx, &pb.RepositoryModelLoadRequest{ModelName: "toy"})
	refused(t, err, codes.PermissionDenied, "own machine only")
	ctx = metadata.AppendToOutgoingContext(t.Context(), "x-api-key", "user")
	if _, err := pb.NewGRPCInferenceServiceClient(conn).ModelInfer(ctx, toyMessage()); err != nil {
		t.Errorf("with x-api-key: %v", err)
	}
	// Each request of a stream is for a model of its own.
	s, err := pb.NewGRPCInferenceServiceClient(conn).ModelStreamInfer(authorised(t.Context(), "other"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Send(toyMessage()); err != nil {
		t.Fatal(err)
	}
	if answer, err := s.Recv(); err != nil || !strings.Contains(answer.ErrorMessage, "not for this model") {
		t.Errorf("in a stream: %v, %v", answer, err)
	}
}

// retryInfo returns when a status says to come back, 0 if it does not.
func retryInfo(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if r, ok := d.(*errdetails.RetryInfo); ok {
			return r.RetryDelay.AsDuration()
		}
	}
	return 0
}

// A key that sends too much is told when to come back, over either transport, and so is each request of a stream.
func TestRateOfAKey(t *testing.T) {
	keys := func() *guard.Guard { return withKeys(t, guard.Key{Name: "slow", Rate: 0.01, Burst: 2}) }
	h := guarded(t, keys())
	for i := range 3 {
		w := do(h, "POST", inferPath, []byte(inferBody), "X-API-Key: slow")
		if i < 2 {
			if w.Code != 200 {
				t.Fatalf("request %d: %d %s", i, w.Code, w.Body)
			}
			continue
		}
		after, err := strconv.Atoi(w.Header().Get("Retry-After"))
		ms, errMS := strconv.Atoi(w.Header().Get("Retry-After-Ms"))
		if w.Code != 429 || err != nil || errMS != nil || after < 99 || after > 100 || ms < 99_000 || ms > 100_000 || !strings.Contains(errorText(t, w), "requests a second") {
			t.Errorf("request %d: %d %v %s", i, w.Code, w.Header(), w.Body)
		}
	}
	if w := do(h, "GET", "/v2/models", nil, "X-API-Key: slow"); w.Code != 200 {
		t.Errorf("what is no inference: %d", w.Code)
	}
	client := dialGRPC(t, serveGRPC(t, guarded(t, keys())))
	ctx := authorised(t.Context(), "slow")
	if _, err := client.ModelInfer(ctx, toyMessage()); err != nil {
		t.Fatal(err)
	}
	stream, err := client.ModelStreamInfer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if err := stream.Send(toyMessage()); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		if refused := i > 0; err != nil || refused != strings.Contains(answer.ErrorMessage, "requests a second") {
			t.Errorf("request %d of the stream: %v, %v", i, answer, err)
		}
	}
	_, err = client.ModelInfer(ctx, toyMessage())
	refused(t, err, codes.ResourceExhausted, "requests a second")
	if d := retryInfo(err); d < 99*time.Second || d > 100*time.Second {
		t.Errorf("come back in %v", d)
	}
}

// A key has no more requests under way than it may, over both transports
// together, and its places come back however its requests end.
func TestConcurrencyOfAKey(t *testing.T) {
	release := make(chan struct{})
	s := newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3, before: func() { <-release }}))
	h := oip.NewHandler(s, oip.Options{Guard: withKeys(t, guard.Key{Name: "two", Tenant: "acme", Concurrent: 2})})
	client := dialGRPC(t, serveGRPC(t, h))
	infer := func() int { return do(h, "POST", inferPath, []byte(inferBody), "X-API-Key: two").Code }
	var wg sync.WaitGroup
	wg.Go(func() {
		if code := infer(); code != 200 {
			t.Errorf("over HTTP: %d", code)
		}
	})
	ctx, leave := context.WithCancel(authorised(t.Context(), "two"))
	wg.Go(func() {
		_, err := client.ModelInfer(ctx, toyMessage())
		refused(t, err, codes.Canceled, "")
	})
	r := s.Router("toy")
	await(t, "two requests", func() bool { return r.Status().InFlight == 2 })
	if code := infer(); code != 429 {
		t.Errorf("a third over HTTP: %d", code)
	}
	_, err := client.ModelInfer(authorised(t.Context(), "two"), toyMessage())
	refused(t, err, codes.ResourceExhausted, "under way")
	if retryInfo(err) <= 0 {
		t.Error("it is not said when to come back")
	}
	leave()
	close(release)
	wg.Wait()
	for range 10 { // refused for their contents
		if code := do(h, "POST", inferPath, []byte(`{`), "X-API-Key: two").Code; code != 400 {
			t.Errorf("a bad request: %d", code)
		}
	}
	await(t, "free places", func() bool { return infer() == 200 })
	records, _ := r.Recent(nil, 0)
	for _, rec := range records {
		if rec.Tenant != "acme" {
			t.Errorf("a request is of tenant %q", rec.Tenant)
		}
	}
}

// The reasons of refusals are counted.
func TestRefusalsAreCounted(t *testing.T) {
	h := guarded(t, everybody(t))
	do(h, "GET", "/v2", nil)
	do(h, "GET", "/v2", nil, "X-API-Key: wrong")
	do(h, "GET", "/metrics", nil, "X-API-Key: user")
	do(h, "GET", "/v2/models/toy", nil, "X-API-Key: other")
	text := do(h, "GET", "/metrics", nil, "X-API-Key: boss").Body.String()
	for _, reason := range []string{"no_key", "unknown_key", "not_admin", "model"} {
		if line := `weft_access_refused_total{reason="` + reason + `"} 1`; !strings.Contains(text, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

// A server whose queue is full says when what waits will be done, over either
// transport; and so it says to a request whose deadline those before it use up.
func TestSheddingSaysWhenToComeBack(t *testing.T) {
	release := make(chan struct{})
	m := toy(t, linear{size: 4, classes: 3, before: func() { <-release }})
	m.Profile = profile(t, 100*time.Millisecond) // 21.25 ms an image at least
	s := newServer(t, serve.Options{SLO: 30 * time.Second, Sched: sched.Options{MaxQueue: 10}}, m)
	h := oip.NewHandler(s, oip.Options{})
	client := dialGRPC(t, serveGRPC(t, h))
	var wg sync.WaitGroup
	infer := func() *httptest.ResponseRecorder { return do(h, "POST", inferPath, []byte(inferBody)) }
	wg.Go(func() { infer() })
	r := s.Router("toy")
	await(t, "a running batch", func() bool { return r.Status().Free == 0 })
	for range 10 {
		wg.Go(func() { infer() })
	}
	await(t, "a full queue", func() bool { return r.Status().WaitingRequests == 10 })
	want := r.Backlog()
	if want < 200*time.Millisecond || want > 220*time.Millisecond { // 10 images of a batch of 8 in 170 ms
		t.Errorf("a backlog of %v", want)
	}
	w := infer()
	ms, err := strconv.Atoi(w.Header().Get("Retry-After-Ms"))
	if w.Code != 503 || err != nil || time.Duration(ms)*time.Millisecond < want || w.Header().Get("Retry-After") != "1" {
		t.Errorf("over HTTP: %d %v %s", w.Code, w.Header(), w.Body)
	}
	_, err = client.ModelInfer(t.Context(), toyMessage())
	refused(t, err, codes.Unavailable, "queue is full")
	if d := retryInfo(err); d != want {
		t.Errorf("over gRPC: come back in %v, want %v", d, want)
	}
	close(release)
	wg.Wait()
	late := toyMessage()
	late.Parameters = map[string]*pb.InferParameter{"timeout": int64Parameter(1)}
	_, err = client.ModelInfer(t.Context(), late)
	refused(t, err, codes.DeadlineExceeded, "")
	if d := retryInfo(err); d != 0 {
		t.Errorf("a deadline that is too short in any case: come back in %v", d)
	}
}

// A client that wants to comes back when the server says, if its deadline leaves the time.
func TestClientComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		header, value string
		status        int
		timeout       time.Duration
		retry         bool
		calls         int
		least         time.Duration
	}{
		"milliseconds":   {"Retry-After-Ms", "30", 429, time.Second, true, 2, 30 * time.Millisecond},
		"not wanted":     {"Retry-After-Ms", "30", 429, time.Second, false, 1, 0},
		"no time left":   {"Retry-After", "2", 503, time.Second, true, 1, 0},
		"no date":        {"Retry-After", "Mon, 02 Jan 2006 15:04:05 GMT", 503, time.Second, true, 1, 0},
		"no reason":      {"Retry-After-Ms", "x", 503, time.Second, true, 1, 0},
		"another status": {"Retry-After-Ms", "30", 400, time.Second, true, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := newToy(t)
			calls := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost {
					calls++
					if calls == 1 {
						w.Header().Set(c.header, c.value)
						http.Error(w, `{"error":"full"}`, c.status)
						return
					}
				}
				h.ServeHTTP(w, r)
			}))
			defer srv.Close()
			client, err := oip.Dial(srv.URL, oip.ClientOptions{Retry: c.retry})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			m, err := client.Model(t.Context(), "toy")
			if err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			err = m.InferInto(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4), Timeout: c.timeout}, new(serve.Response))
			if took := time.Since(start); calls != c.calls || (err == nil) != (c.calls > 1) || took < c.least {
				t.Errorf("%d calls in %v: %v, want %d in at least %v", calls, took, err, c.calls, c.least)
			}
		})
	}
}

// A message that is announced by a call without a key is not waited for, and the body of such a request not read.
func TestRefusedBeforeTheBody(t *testing.T) {
	t.Parallel()
	h := guarded(t, everybody(t))
	r := httptest.NewRequest("POST", inferPath, neverRead{t})
	w := httptest.NewRecorder()
	if h.ServeHTTP(w, r); w.Code != 401 {
		t.Errorf("over HTTP: %d", w.Code)
	}
	conn := connectGRPC(t, serveGRPC(t, h))
	desc := &grpc.StreamDesc{ClientStreams: true}
	stream, err := conn.NewStream(t.Context(), desc, pb.GRPCInferenceService_ModelInfer_FullMethodName)
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	err = stream.RecvMsg(new(pb.ModelInferResponse)) // to a message that was never sent
	if took := time.Since(start); err == nil || took > 5*time.Second {
		t.Errorf("over gRPC: %v after %v", err, took)
	}
}

type neverRead struct{ t *testing.T }

func (n neverRead) Read([]byte) (int, error) {
	n.t.Error("the body is read")
	return 0, net.ErrClosed
}

// Statistics of one model are for those who may use it, be they admins.
func TestAdminOfOneModel(t *testing.T) {
	h := guarded(t, withKeys(t, guard.Key{Name: "half", Admin: true, Models: []string{"simple"}}))
	client := dialGRPC(t, serveGRPC(t, h))
	ctx := authorised(t.Context(), "half")
	_, err := client.ModelStatistics(ctx, &pb.ModelStatisticsRequest{Name: "toy"})
	refused(t, err, codes.PermissionDenied, "not for this model")
	answer, err := client.ModelStatistics(ctx, &pb.ModelStatisticsRequest{Name: "simple"})
	if err != nil || len(answer.ModelStats) != 1 {
		t.Errorf("%v, %v", answer, err)
	}
	w := do(h, "POST", "/v2/repository/models/toy/unload", nil, "X-API-Key: half")
	var body map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != 403 {
		t.Errorf("unload over HTTP: %d %s", w.Code, w.Body)
	}
	_, err = client.RepositoryModelUnload(ctx, &pb.RepositoryModelUnloadRequest{ModelName: "toy"})
	refused(t, err, codes.PermissionDenied, "not for this model")
}
