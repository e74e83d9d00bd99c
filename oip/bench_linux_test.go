package oip_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/serve"
)

// noop computes nothing.
type noop struct{}

func (noop) Run(_ int, _ []float32, n int, logits []float32) error {
	clear(logits)
	return nil
}

// BenchmarkHandler is the server's share of a request, without the sockets.
func BenchmarkHandler(b *testing.B) {
	h, _ := newHandler(b, serve.Options{}, digits(b, noop{}))
	body, length := joined(`{"inputs":[{"name":"images","shape":[1,28,28,1],"datatype":"UINT8","parameters":{"binary_data_size":784}}],"parameters":{"binary_data_output":true,"timeout":50000}}`, make([]byte, 784)...)
	r := httptest.NewRequest("POST", inferPath, nil)
	r.Header.Set("Inference-Header-Content-Length", length[len("Inference-Header-Content-Length: "):])
	r.ContentLength = int64(len(body))
	reader := &repeated{body: body}
	w := &discard{header: make(http.Header)}
	b.ReportAllocs()
	for b.Loop() {
		reader.read = false
		r.Body = reader
		clear(w.header)
		h.ServeHTTP(w, r)
		if w.status != 200 {
			b.Fatal(w.status)
		}
	}
}

// repeated is a body that can be read again and again.
type repeated struct {
	body []byte
	read bool
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.read {
		return 0, io.EOF
	}
	r.read = true
	return copy(p, r.body), io.EOF
}

func (r *repeated) Close() error { return nil }

type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

// BenchmarkHTTP measures requests of one image over loopback, client included.
func BenchmarkHTTP(b *testing.B) {
	for _, clients := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			base, _, _ := listen(b, serve.Options{}, digits(b, noop{}))
			_, m := dial(b, base)
			b.ReportAllocs()
			before := cpuTime(b)
			start := time.Now()
			load(b, m, clients, b.N)
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "req/s")
			b.ReportMetric(float64((cpuTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
		})
	}
}

// load makes n calls from so many clients.
func load(b *testing.B, m inferer, clients, n int) {
	var left atomic.Int64
	left.Store(int64(n))
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			req := &serve.Request{N: 1, Pixels: make([]byte, 784), Timeout: 10 * time.Second}
			var resp serve.Response
			for left.Add(-1) >= 0 {
				if err := m.InferInto(context.Background(), req, &resp); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

type inferer interface {
	InferInto(ctx context.Context, req *serve.Request, resp *serve.Response) error
}
