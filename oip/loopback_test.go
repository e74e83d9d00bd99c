package oip_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/oip"
	"weft/sched"
	"weft/serve"
)

// listen serves the models on a loopback port until the test ends or stop is
// called, and returns the base URL.
func listen(t testing.TB, opt serve.Options, models ...serve.Model) (base string, s *serve.Server, stop func() error) {
	t.Helper()
	h, s := newHandler(t, opt, models...)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, ln, h) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + ln.Addr().String(), s, stop
}

func dial(t testing.TB, base string) (*oip.Client, *oip.ClientModel) {
	t.Helper()
	c, err := oip.Dial(base, oip.ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	m, err := c.Model(context.Background(), "toy")
	if err != nil {
		t.Fatal(err)
	}
	return c, m
}

func TestClient(t *testing.T) {
	base, _, _ := listen(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	c, m := dial(t, base)
	if names, err := c.Models(t.Context()); err != nil || !cmp.Equal(names, []string{"toy"}) {
		t.Errorf("models %v, %v", names, err)
	}
	if err := c.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	if m.H != 2 || m.W != 2 || m.C != 1 || m.Classes != 3 || len(m.Subnets) != 2 || m.Subnets[1].LatencyUS[7] != 340 {
		t.Errorf("model %+v", m)
	}
	var resp serve.Response
	for name, req := range map[string]serve.Request{
		"pixels": {N: 2, Pixels: []byte{0, 255, 255, 0, 255, 0, 0, 0}, Subnet: "small", Timeout: 5 * time.Second},
		"floats": {N: 2, Images: []float32{0, 1, 1, 0, 1, 0, 0, 0}, MinAccuracy: 0.7, Subnet: "small", Priority: 7, Late: sched.Serve, Start: time.Now()},
	} {
		if err := m.InferInto(t.Context(), &req, &resp); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !cmp.Equal(resp.Logits, []float32{2, 5, 8, 1, 1, 1}) || !cmp.Equal(resp.Labels, []int64{2, 0}) {
			t.Errorf("%s: logits %v, labels %v", name, resp.Logits, resp.Labels)
		}
		if resp.Subnet != "small" || resp.Accuracy != 0.75 || resp.Batch != 2 || !resp.DeadlineMet || resp.Queue < 0 || resp.Compute < 0 {
			t.Errorf("%s: %+v", name, resp)
		}
	}
}

func TestClientErrors(t *testing.T) {
	base, s, _ := listen(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	c, m := dial(t, base)
	if _, err := c.Model(t.Context(), "none"); serve.CodeOf(err) != serve.Invalid || !strings.Contains(err.Error(), "GET /v2/models") {
		t.Errorf("unknown model: %v", err)
	}
	var resp serve.Response
	infer := func(req serve.Request) error {
		req.N, req.Pixels = 1, make([]byte, 4)
		return m.InferInto(t.Context(), &req, &resp)
	}
	if err := infer(serve.Request{Timeout: time.Microsecond}); serve.CodeOf(err) != serve.Late {
		t.Errorf("too late: %v", err)
	}
	if err := infer(serve.Request{Subnet: "huge"}); serve.CodeOf(err) != serve.Invalid || !strings.Contains(err.Error(), `subnet "huge" is unknown`) {
		t.Errorf("unknown subnet: %v", err)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := infer(serve.Request{}); serve.CodeOf(err) != serve.Draining {
		t.Errorf("draining: %v", err)
	}
	if err := c.Ready(t.Context()); serve.CodeOf(err) != serve.Draining {
		t.Errorf("ready while draining: %v", err)
	}
	for _, base := range []string{"127.0.0.1:80", "ftp://localhost", "http://", "https://", "http://a b"} {
		if _, err := oip.Dial(base, oip.ClientOptions{}); err == nil {
			t.Errorf("Dial(%q) is accepted", base)
		}
	}
}

// A connection that the server closed while it was idle is replaced unnoticed.
func TestClientReconnects(t *testing.T) {
	h, _ := newHandler(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	srv := httptest.NewServer(h)
	defer srv.Close()
	_, m := dial(t, srv.URL)
	for range 3 {
		req := &serve.Request{N: 1, Pixels: make([]byte, 4)}
		if err := m.InferInto(t.Context(), req, new(serve.Response)); err != nil {
			t.Fatal(err)
		}
		srv.CloseClientConnections()
	}
}

// The client reads answers in the forms that other servers give them.
func TestClientReadsForeignAnswers(t *testing.T) {
	body, length := joined(`{"outputs":[{"name":"label","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":8}},`+
		`{"name":"logits","parameters":{"binary_data_size":12}}],"parameters":{"subnet":"elsewhere"}}`,
		append([]byte{2, 0, 0, 0, 0, 0, 0, 0}, fp32(2, 5, 8)...)...)
	h := newToy(t)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			h.ServeHTTP(w, r)
			return
		}
		name, value, _ := strings.Cut(length, ": ")
		w.Header().Set(strings.ToLower(name), value)
		w.Write(body[:50])
		w.(http.Flusher).Flush() // chunked
		w.Write(body[50:])
	}))
	defer srv.Close()
	_, m := dial(t, srv.URL)
	for range 2 {
		var resp serve.Response
		if err := m.InferInto(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4)}, &resp); err != nil {
			t.Fatal(err)
		}
		if !cmp.Equal(resp.Logits, []float32{2, 5, 8}) || !cmp.Equal(resp.Labels, []int64{2}) || resp.Subnet != "elsewhere" {
			t.Errorf("%+v", resp)
		}
	}
}

// A client that goes away takes its waiting request along.
func TestDisconnectWithdrawsTheRequest(t *testing.T) {
	release := make(chan struct{})
	var batches atomic.Int64
	base, s, _ := listen(t, serve.Options{}, toy(t, linear{size: 4, classes: 3, before: func() {
		batches.Add(1)
		<-release
	}}))
	_, m := dial(t, base)
	r := s.Router("toy")
	var wg sync.WaitGroup
	infer := func(ctx context.Context, req *serve.Request) error {
		req.N, req.Pixels, req.Timeout = 1, make([]byte, 4), 30*time.Second
		return m.InferInto(ctx, req, new(serve.Response))
	}
	wg.Go(func() {
		if err := infer(t.Context(), &serve.Request{}); err != nil {
			t.Error(err)
		}
	})
	await(t, "a running batch", func() bool { return r.Status().Free == 0 })
	ctx, leave := context.WithCancel(t.Context())
	wg.Go(func() {
		if err := infer(ctx, &serve.Request{}); !errors.Is(err, context.Canceled) {
			t.Errorf("the client that left got %v", err)
		}
	})
	await(t, "a waiting request", func() bool { return r.Status().WaitingRequests == 1 })
	leave()
	await(t, "an empty queue", func() bool { return r.Status().WaitingRequests == 0 })
	close(release)
	wg.Wait()
	if n := batches.Load(); n != 1 {
		t.Errorf("%d batches ran, want 1", n)
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s after 5 s", what)
		}
	}
}

// While the server drains it answers what it took, says that it is not ready
// and refuses the rest; then it closes its connections.
func TestServeDrains(t *testing.T) {
	release := make(chan struct{})
	base, s, stop := listen(t, serve.Options{}, toy(t, linear{size: 4, classes: 3, before: func() { <-release }}))
	c, m := dial(t, base)
	var wg sync.WaitGroup
	for range 12 { // more than a batch
		wg.Go(func() {
			req := &serve.Request{N: 1, Pixels: make([]byte, 4), Timeout: 30 * time.Second}
			if err := m.InferInto(t.Context(), req, new(serve.Response)); err != nil {
				t.Error(err)
			}
		})
	}
	r := s.Router("toy")
	await(t, "queue", func() bool { st := r.Status(); return st.Free == 0 && st.WaitingRequests == 11 })
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	await(t, "draining", func() bool { return !s.Ready() })
	if err := c.Ready(t.Context()); serve.CodeOf(err) != serve.Draining {
		t.Errorf("ready while it drains: %v", err)
	}
	req := &serve.Request{N: 1, Pixels: make([]byte, 4)}
	if err := m.InferInto(t.Context(), req, new(serve.Response)); serve.CodeOf(err) != serve.Draining {
		t.Errorf("a new request while it drains: %v", err)
	}
	close(release)
	wg.Wait()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if err := m.InferInto(t.Context(), req, new(serve.Response)); err == nil {
		t.Error("a request after the end is answered")
	}
}

// A body that is announced and never sent holds a connection, not memory.
func TestAnnouncedBodyCostsNothing(t *testing.T) {
	m := toy(t, linear{size: 1 << 20, classes: 3})
	m.H, m.W = 1024, 1024
	base, _, _ := listen(t, serve.Options{}, m)
	nc, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	fmt.Fprintf(nc, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 200000000\r\nExpect: 100-continue\r\n\r\n", inferPath)
	line, err := bufio.NewReader(nc).ReadString('\n')
	if err != nil || !strings.Contains(line, "100 Continue") {
		t.Fatalf("%q, %v", line, err)
	}
	if tooLarge := send(t, base, "POST "+inferPath+" HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999999\r\n\r\n"); !strings.HasPrefix(tooLarge, "HTTP/1.1 413") {
		t.Errorf("an oversized body is answered by %q", tooLarge)
	}
	if flood := send(t, base, "GET /v2 HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 80<<10)+"\r\n\r\n"); !strings.HasPrefix(flood, "HTTP/1.1 431") {
		t.Errorf("an oversized header is answered by %q", flood)
	}
}

// send writes a request as it is and returns the status line.
func send(t *testing.T, base, request string) string {
	t.Helper()
	nc, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := nc.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	var head [64]byte
	n, err := nc.Read(head[:])
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(head[:n], []byte("\r\n"))
	return string(line)
}
