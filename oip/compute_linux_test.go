package oip_test

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"weft/sched"
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

// BenchmarkUnderCompute measures what HTTP and gRPC add to queue and compute
// while one worker a core computes without pause: 32 clients, batches of 5 ms,
// which run on threads of their own, and of 0.9 ms, which do not.
func BenchmarkUnderCompute(b *testing.B) {
	cores := runtime.NumCPU()
	for _, c := range []struct {
		name    string
		batch   time.Duration
		procs   int
		prepare func()
	}{
		{"5ms,procs=cores", 5 * time.Millisecond, cores, nil},
		{"5ms,procs=cores+workers", 5 * time.Millisecond, 2 * cores, nil},
		{"5ms,procs=cores+workers,low-priority", 5 * time.Millisecond, 2 * cores, lowerPriority},
		{"0.9ms,procs=cores+workers,low-priority", 900 * time.Microsecond, 2 * cores, lowerPriority},
	} {
		work := calibrate(c.batch)
		model := digits(b, slices.Repeat([]serve.Executor{work}, cores)...)
		model.Profile = flat(b, c.batch)
		for _, transport := range []string{"HTTP", "gRPC"} {
			b.Run(transport+","+c.name, func(b *testing.B) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(c.procs))
				measure := httpOverhead(b, c.prepare, model)
				if transport == "gRPC" {
					measure = grpcOverhead(b, c.prepare, model)
				}
				overheads := make([][]time.Duration, 32)
				var wg sync.WaitGroup
				for i := range overheads {
					wg.Go(func() {
						for range (b.N + len(overheads) - 1) / len(overheads) {
							overhead, err := measure()
							if err != nil {
								b.Error(err)
								return
							}
							overheads[i] = append(overheads[i], overhead)
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
}

// flat is a profile of one subnet whose batches all take the same time.
func flat(b *testing.B, latency time.Duration) *sched.Profile {
	p, err := sched.NewProfile([]sched.Subnet{{Name: "only", Accuracy: 0.9, Latency: slices.Repeat([]time.Duration{latency}, 8)}}, 0)
	if err != nil {
		b.Fatal(err)
	}
	return p
}

// httpOverhead returns a function that makes a call and returns what it took
// beyond queue and compute.
func httpOverhead(b *testing.B, prepare func(), model serve.Model) func() (time.Duration, error) {
	base, _, _ := listen(b, serve.Options{Prepare: prepare}, model)
	_, m := dial(b, base)
	return func() (time.Duration, error) {
		req := &serve.Request{N: 1, Pixels: make([]byte, 784), Timeout: 10 * time.Second}
		var resp serve.Response
		start := time.Now()
		err := m.InferInto(context.Background(), req, &resp)
		return time.Since(start) - resp.Queue - resp.Compute, err
	}
}

func grpcOverhead(b *testing.B, prepare func(), model serve.Model) func() (time.Duration, error) {
	h, _ := newHandler(b, serve.Options{Prepare: prepare}, model)
	client := dialGRPC(b, serveGRPC(b, h))
	return func() (time.Duration, error) {
		start := time.Now()
		resp, err := client.ModelInfer(context.Background(), imageMessage())
		took := time.Since(start)
		for _, p := range []string{"queue_us", "compute_us"} {
			took -= time.Duration(resp.GetParameters()[p].GetInt64Param()) * time.Microsecond
		}
		return took, err
	}
}
