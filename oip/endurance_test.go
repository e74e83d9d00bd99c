package oip_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/sched"
	"weft/serve"
	"weft/workload"
)

var (
	enduranceTime  = flag.Duration("endurance", 3*time.Second, "how long TestEndurance takes for its day")
	enduranceRate  = flag.Float64("endurance-rate", 1000, "mean requests a second of TestEndurance")
	enduranceTrace = flag.String("endurance-trace", "", "a day's arrivals for TestEndurance, as for weft bench --trace but without its length and rate; default: a synthesised day")
)

// day returns the arrivals of a day, squeezed into length.
func day(t *testing.T, rate float64, length time.Duration) []time.Duration {
	if *enduranceTrace == "" {
		const peak = 2 // times the mean
		r := workload.MAF(rate, peak*rate, length, 1)
		return r.Arrivals(1, 1)
	}
	trace, err := workload.Parse(fmt.Sprintf("%s,take=24h,for=%v,rate=%v", *enduranceTrace, length, rate), 1)
	if err != nil {
		t.Fatal(err)
	}
	return trace.Arrivals
}

// sample is what a process holds.
type sample struct {
	heap, objects     float64 // MB in use, and thousands of objects, once collected
	rss               float64 // MB resident, once what is free is given back
	goroutines, files float64
}

// take waits until nothing is under way and connections have ended, and looks. Where the system has no /proc
// the files and the resident memory count as none.
func take(t *testing.T, s *serve.Server) (now sample) {
	for i := 0; inFlight(s) > 0; i++ {
		if i == 1000 {
			t.Fatalf("%d requests are under way 10 s after the last came", inFlight(s))
		}
		time.Sleep(10 * time.Millisecond)
	}
	for still := 0; still < 5; still++ {
		was := runtime.NumGoroutine()
		time.Sleep(10 * time.Millisecond)
		if runtime.NumGoroutine() < was {
			still = 0
		}
	}
	var m runtime.MemStats
	runtime.GC()         // empties the pools ...
	debug.FreeOSMemory() // ... and collects what they had
	runtime.ReadMemStats(&m)
	now.heap, now.objects, now.goroutines = float64(m.HeapInuse)/1e6, float64(m.HeapObjects)/1e3, float64(runtime.NumGoroutine())
	if text, err := os.ReadFile("/proc/self/statm"); err == nil {
		pages, err := strconv.ParseFloat(strings.Fields(string(text))[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		now.rss = pages * float64(os.Getpagesize()) / 1e6
	}
	if files, err := os.ReadDir("/proc/self/fd"); err == nil {
		now.files = float64(len(files))
	}
	return now
}

func inFlight(s *serve.Server) (n int) {
	for _, name := range s.Models() {
		if r := s.Router(name); r != nil {
			n += r.Status().InFlight
		}
	}
	return n
}

// mean returns that of some samples.
func mean(samples []sample) (m sample) {
	n := float64(len(samples))
	for _, s := range samples {
		m.heap += s.heap / n
		m.objects += s.objects / n
		m.rss += s.rss / n
		m.goroutines += s.goroutines / n
		m.files += s.files / n
	}
	return m
}

// A day of traffic, squeezed, leaves no trace: the last quarter of it holds no more
// memory, goroutines and files than the second. There are clients of both transports,
// some of whom go away or send nonsense, models that are loaded again, and workers
// that join, leave and are lost. For the day in ten minutes:
//
//	go test ./oip -run Endurance -v -timeout 30m -endurance 10m -endurance-rate 4000
func TestEndurance(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	const hours = 24
	length := *enduranceTime
	arrivals := day(t, *enduranceRate, length)
	w := newWorld(t, length/hours)
	var samples []sample
	first := 0
	for hour := range hours {
		end := length / hours * time.Duration(hour+1)
		last := first
		for last < len(arrivals) && arrivals[last] < end {
			arrivals[last] -= length / hours * time.Duration(hour)
			last++
		}
		w.hour(arrivals[first:last])
		first = last
		samples = append(samples, take(t, w.server))
		now := samples[hour]
		t.Logf("hour %2d: heap %5.1f MB, %5.1f thousand objects, resident %5.1f MB, %3.0f goroutines, %3.0f files, %d requests", hour+1, now.heap, now.objects, now.rss, now.goroutines, now.files, w.sent)
	}
	w.account(len(arrivals))
	resident := 2.0
	if length < time.Minute { // it settles for some time, and for long under the race detector
		resident = math.Inf(1)
	}
	before, after := mean(samples[hours/4:hours/2]), mean(samples[3*hours/4:])
	t.Logf("second quarter %+.1f, last quarter %+.1f", before, after)
	for _, c := range []struct {
		what          string
		before, after float64
		slack         float64 // absolute, beside 5 %
	}{
		{"heap in use (MB)", before.heap, after.heap, 1},
		{"objects (thousands)", before.objects, after.objects, 2},
		{"resident memory (MB)", before.rss, after.rss, resident},
		{"goroutines", before.goroutines, after.goroutines, 2},
		{"open files", before.files, after.files, 2},
	} {
		const part = 0.05
		if c.after > c.before*(1+part)+c.slack {
			t.Errorf("%s rose from %.1f in the second quarter to %.1f in the last", c.what, c.before, c.after)
		}
	}
}

// nothing is a worker that costs nothing. Its time is that of the profile.
type nothing struct{ classes int }

func (e nothing) Run(_ int, images []float32, n int, logits []float32) error {
	clear(logits)
	for i := range n {
		logits[i*e.classes+int(images[i*len(images)/n])%e.classes] = 1
	}
	return nil
}

// editions is a repository that opens a model anew each time.
type editions struct {
	t     *testing.T
	names []string
}

func (e editions) Names() []string { return e.names }

func (e editions) Open(_ context.Context, name string) (serve.Model, error) {
	m := digits(e.t, nothing{10}, nothing{10})
	m.Name = name
	return m, nil
}

// newWorld starts a server of two models with its clients. An hour takes so long.
func newWorld(t *testing.T, hour time.Duration) *world {
	repo := editions{t, []string{"one", "two"}}
	var models []serve.Model
	for _, name := range repo.names {
		m, err := repo.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		models = append(models, m)
	}
	h, s := newHandler(t, serve.Options{Repository: repo, SLO: time.Second, Sched: sched.Options{MaxQueue: 512}}, models...)
	recorder, err := s.NewFlightRecorder(serve.FlightOptions{Dir: t.TempDir(), Keep: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	var addresses []string
	for _, run := range []func(net.Listener) error{
		func(ln net.Listener) error { return h.Serve(ctx, ln, h) },
		func(ln net.Listener) error { return h.ServeGRPC(ctx, ln) },
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addresses = append(addresses, ln.Addr().String())
		go func() { ended <- run(ln) }()
	}
	t.Cleanup(func() {
		stop()
		if err := errors.Join(<-ended, <-ended); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, server: s, handler: h, recorder: recorder, length: hour, http: addresses[0], grpc: addresses[1]}
	return w
}

// account compares what was sent with what the server counted.
func (w *world) account(arrivals int) {
	if w.sent != arrivals {
		w.t.Errorf("%d requests were sent of %d arrivals", w.sent, arrivals)
	}
	metric := func(name string) (sum float64) {
		for _, m := range scrape(w.t, w.handler)[name].GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
		return sum
	}
	received, ended, under := metric("weft_requests_received_total"), metric("weft_requests_total"), metric("weft_requests_in_flight")
	if received != ended || under != 0 {
		w.t.Errorf("the server received %v requests, ended %v, and %v are under way", received, ended, under)
	}
	w.t.Logf("%d requests, of which %d could not be sent: %d answered, %d refused, %d failed, %d given up by clients, %d nonsense; %.0f reached a model; %.0f loads, %d workers joined, %.0f lost, %.0f retries",
		w.sent, w.unsent, w.answered.Load(), w.refused.Load(), w.failed.Load(), w.gone.Load(), w.nonsense.Load(), received,
		metric("weft_model_loads_total"), w.joined, metric("weft_workers_lost_total"), metric("weft_retries_total"))
	if share := float64(w.answered.Load()) / math.Max(float64(w.sent-w.unsent), 1); share < 0.7 {
		w.t.Errorf("only %.2f of the requests were answered", share)
	}
	if w.failed.Load() > 0 {
		w.t.Errorf("%d requests failed, the first: %v", w.failed.Load(), w.failure.Load())
	}
}
