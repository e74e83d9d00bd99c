package serve_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/sched"
	"weft/serve"
)

// BenchmarkWorkers is a server whose workers sleep: what it gets through by their number.
// A worker takes 16 requests at a time, for so long, and twice as many wait; it would get
// through 1,032 requests a second where that takes 15.5 ms, as in SuperServe's Figure 11b,
// and through 8,000 where it takes 2 ms.
func BenchmarkWorkers(b *testing.B) {
	for _, takes := range []time.Duration{15500 * time.Microsecond, 2 * time.Millisecond, 250 * time.Microsecond} {
		for _, workers := range []int{1, 2, 4, 8, 16, 32} {
			b.Run(fmt.Sprintf("batch=%v/workers=%d", takes, workers), func(b *testing.B) { benchmarkWorkers(b, workers, takes) })
		}
	}
}

func benchmarkWorkers(b *testing.B, workers int, takes time.Duration) {
	const batch = 16
	subnet := sched.Subnet{Name: "only", Accuracy: 0.8}
	for range batch {
		subnet.Latency = append(subnet.Latency, takes)
	}
	p, err := sched.NewProfile([]sched.Subnet{subnet}, batch)
	if err != nil {
		b.Fatal(err)
	}
	m := serve.Model{Name: "m", H: 2, W: 2, C: 1, Classes: 3, Profile: p}
	s, err := serve.New([]serve.Model{m}, serve.Options{SLO: 20 * time.Second})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	for range workers {
		attach(b, s, &serve.SleepExecutor{Profile: p, Classes: 3}, "m")
	}
	var left atomic.Int64
	left.Store(int64(b.N))
	var clients sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range 3 * batch * workers {
		clients.Go(func() {
			req := &serve.Request{N: 1, Pixels: make([]byte, 4)}
			var resp serve.Response
			for left.Add(-1) >= 0 {
				if err := s.Router("m").InferInto(context.Background(), req, &resp); err != nil {
					b.Error(err)
				}
			}
		})
	}
	clients.Wait()
	rate := float64(b.N) / b.Elapsed().Seconds()
	b.ReportMetric(rate, "requests/s")
	b.ReportMetric(rate*takes.Seconds()/float64(batch*workers), "of-ideal")
}
