package oip_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"weft/serve"
)

// cpuTime is what the process has used of the processor so far.
func cpuTime(t testing.TB) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// lowerPriority is a Prepare that gives the thread the least share of the processor.
func lowerPriority() {
	if err := syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), 19); err != nil {
		panic(err)
	}
}

// spin is an executor that keeps a core busy for the given number of rounds.
type spin struct{ rounds int }

func (s spin) Run(_ int, images []float32, n int, logits []float32) error {
	sum := images[0]
	for range s.rounds {
		sum = sum*0.999 + 1
	}
	clear(logits)
	logits[0] = sum
	return nil
}

// calibrate returns the rounds that take about d.
func calibrate(d time.Duration) spin {
	best := time.Duration(1 << 62)
	const rounds = 1 << 20
	for range 5 {
		start := time.Now()
		if err := (spin{rounds}).Run(0, []float32{1}, 1, make([]float32, 1)); err != nil {
			panic(err)
		}
		best = min(best, time.Since(start))
	}
	return spin{int(rounds * d / best)}
}

// BenchmarkHTTPUnderCompute measures what HTTP adds to queue and compute while
// one worker a core computes without pause: 32 clients, batches of 5 ms.
func BenchmarkHTTPUnderCompute(b *testing.B) {
	work := calibrate(5 * time.Millisecond)
	cores := runtime.NumCPU()
	for _, c := range []struct {
		name    string
		procs   int
		prepare func()
	}{
		{"procs=cores", cores, nil},
		{"procs=cores+workers", 2 * cores, nil},
		{"procs=cores+workers,low-priority", 2 * cores, lowerPriority},
	} {
		b.Run(c.name, func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(c.procs))
			execs := make([]serve.Executor, cores)
			for i := range execs {
				execs[i] = work
			}
			base, _, _ := listen(b, serve.Options{Prepare: c.prepare}, digits(b, execs...))
			_, m := dial(b, base)
			overheads := make([][]time.Duration, 32)
			var wg sync.WaitGroup
			for i := range overheads {
				wg.Go(func() {
					req := &serve.Request{N: 1, Pixels: make([]byte, 784), Timeout: 10 * time.Second}
					var resp serve.Response
					for range (b.N + len(overheads) - 1) / len(overheads) {
						start := time.Now()
						if err := m.InferInto(context.Background(), req, &resp); err != nil {
							b.Error(err)
							return
						}
						overheads[i] = append(overheads[i], time.Since(start)-resp.Queue-resp.Compute)
					}
				})
			}
			wg.Wait()
			all := slices.Concat(overheads...)
			slices.Sort(all)
			b.ReportMetric(all[len(all)/2].Seconds()*1e3, "p50-ms")
			b.ReportMetric(all[len(all)*99/100].Seconds()*1e3, "p99-ms")
		})
	}
}
