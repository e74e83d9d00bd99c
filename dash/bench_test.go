package dash

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"weft/sched"
	"weft/serve"
)

// idle computes nothing.
type idle struct{}

func (idle) Run(int, []float32, int, []float32) error { return nil }

// quickServer serves a model that takes no time.
func quickServer(b *testing.B) *serve.Server {
	b.Helper()
	var subnets []sched.Subnet
	for i := range 20 {
		s := sched.Subnet{Name: fmt.Sprint("s", i), Accuracy: 0.9 + float64(i)/1000}
		for n := range 16 {
			s.Latency = append(s.Latency, time.Duration(20+i)*time.Microsecond*time.Duration(n+2)/2)
		}
		subnets = append(subnets, s)
	}
	p, err := sched.NewProfile(subnets, 0)
	if err != nil {
		b.Fatal(err)
	}
	s, err := serve.New([]serve.Model{{Name: "m", H: 2, W: 2, C: 1, Classes: 10, Profile: p, Executors: []serve.Executor{idle{}, idle{}}}}, serve.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Shutdown(context.Background()) })
	for !s.Ready() {
		time.Sleep(ms)
	}
	return s
}

// BenchmarkViewers answers requests of 16 callers while so many look on; -1: there is no page.
func BenchmarkViewers(b *testing.B) {
	for _, viewers := range []int{-1, 0, 1, 10} {
		b.Run(strconv.Itoa(viewers), func(b *testing.B) {
			s := quickServer(b)
			ctx, cancel := context.WithCancel(context.Background())
			var all sync.WaitGroup
			if viewers >= 0 {
				p := New(s, Options{})
				all.Go(func() { p.Run(ctx) })
				srv := httptest.NewServer(p.Handler(nil))
				defer srv.Close()
				for range viewers {
					all.Go(func() { watchBytes(ctx, srv.URL) })
				}
			}
			defer all.Wait()
			defer cancel()
			r := s.Router("m")
			pixels := make([]byte, r.Model().ImageSize())
			b.SetParallelism(8)
			b.ReportAllocs()
			b.ResetTimer()
			b.RunParallel(func(pb *testing.PB) {
				var resp serve.Response
				for pb.Next() {
					if err := r.InferInto(ctx, &serve.Request{N: 1, Pixels: pixels, Timeout: time.Second}, &resp); err != nil {
						b.Error(err)
						return
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
		})
	}
}

// watchBytes reads events as quickly as they come, as a browser on another machine would.
func watchBytes(ctx context.Context, url string) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/dash/events", http.NoBody)
	if err != nil {
		return
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
}

// BenchmarkTick samples what 5,000 requests, a quarter of a second at 20,000 a second, left.
func BenchmarkTick(b *testing.B) {
	s := quickServer(b)
	infer(s.Router("m"), 5000, time.Second)
	smp := newSampler(s)
	h := hub{ring: make([][]byte, 0, 240), viewers: make(map[chan []byte]bool)}
	for b.Loop() {
		smp.sources[0].seen = 0
		tick, models := smp.tick()
		if err := h.publish(tick, models); err != nil {
			b.Fatal(err)
		}
	}
}
