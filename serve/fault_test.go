package serve_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	dto "github.com/prometheus/client_model/go"

	"weft/sched"
	"weft/serve"
)

// An executor that fails, panics or answers NaN spoils that batch, no other.
func TestWorkerSurvives(t *testing.T) {
	var logged bytes.Buffer
	nan := float32(0)
	nan /= nan
	s, r := newServer(t, serve.Options{Log: slog.New(slog.NewTextHandler(&logged, nil)), SLO: time.Second},
		execFunc(func(s int, images []float32, n int, logits []float32) error {
			switch images[0] {
			case 1:
				return errors.New("out of cheese")
			case 2:
				panic("index out of patience")
			case 3:
				logits[2] = nan
				return nil
			}
			return linear(s, images, n, logits)
		}))
	for _, c := range []struct {
		value float32
		want  string
	}{{0, ""}, {1, "out of cheese"}, {2, "index out of patience"}, {3, "NaN for class 2 of image 0"}, {0, ""}} {
		_, err := r.Infer(t.Context(), &serve.Request{N: 1, Images: []float32{c.value, 0, 0, 0}})
		if c.want == "" && err != nil {
			t.Errorf("a good request fails: %v", err)
		}
		if c.want != "" && (serve.CodeOf(err) != serve.Failed || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v, want Failed with %q", err, c.want)
		}
	}
	if got := counter(t, s, "weft_requests_total", "failed"); got != 3 {
		t.Errorf("weft_requests_total counts %v failures, want 3", got)
	}
	if !strings.Contains(logged.String(), "fault_test.go") {
		t.Errorf("the log doesn't show where the panic was:\n%s", &logged)
	}
}

// NaN in one request of a batch is that request's alone.
func TestNaNSpoilsOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newServer(t, serve.Options{}, execFunc(func(_ int, images []float32, n int, logits []float32) error {
			time.Sleep(ms)
			clear(logits)
			for i := range n {
				if images[4*i] > 0.5 {
					logits[3*i] = images[4*i] / 0 // +Inf
				}
			}
			return nil
		}))
		var wg sync.WaitGroup
		var good, bad atomic.Int64
		for i := range 6 {
			wg.Go(func() {
				_, err := r.Infer(t.Context(), &serve.Request{N: 1, Images: []float32{float32(i % 2), 0, 0, 0}})
				if want := i%2 == 1; want != (serve.CodeOf(err) == serve.Failed) {
					t.Errorf("request %d: %v", i, err)
				}
				if err == nil {
					good.Add(1)
				} else {
					bad.Add(1)
				}
			})
		}
		wg.Wait()
		if good.Load() != 3 || bad.Load() != 3 {
			t.Errorf("%d good and %d bad answers, want 3 each", good.Load(), bad.Load())
		}
	})
}

func TestShutdownFinishesWhatItTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newServer(t, serve.Options{}, sleeper(t))
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if _, err := r.Infer(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4), Timeout: time.Second}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		wg.Go(func() {
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		if s.Ready() {
			t.Error("ready while it shuts down")
		}
		if _, err := r.Infer(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4)}); !errors.Is(err, serve.ErrDraining) {
			t.Errorf("a new request gets %v, want ErrDraining", err)
		}
		wg.Wait()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Errorf("the second Shutdown: %v", err)
		}
	})
}

func TestShutdownThatTakesTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newServer(t, serve.Options{}, execFunc(func(_ int, _ []float32, _ int, logits []float32) error {
			clear(logits)
			time.Sleep(100 * ms)
			return nil
		}))
		var wg sync.WaitGroup
		var ok, refused atomic.Int64
		for range 3 {
			wg.Go(func() {
				_, err := r.Infer(t.Context(), &serve.Request{N: 8, Pixels: make([]byte, 32), Timeout: time.Second})
				switch {
				case err == nil:
					ok.Add(1)
				case errors.Is(err, serve.ErrDraining):
					refused.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		ctx, stop := context.WithTimeout(t.Context(), 10*ms)
		defer stop()
		start := time.Now()
		err := s.Shutdown(ctx)
		if took := time.Since(start); took != 10*ms || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "refused 2") {
			t.Errorf("Shutdown: %v after %v", err, took)
		}
		wg.Wait()
		if ok.Load() != 1 || refused.Load() != 2 {
			t.Errorf("%d answered and %d refused, want 1 and 2", ok.Load(), refused.Load())
		}
	})
}

func TestPrepareRunsOnEachWorker(t *testing.T) {
	var prepared atomic.Int64
	newServer(t, serve.Options{Prepare: func() { prepared.Add(1) }}, sleeper(t), sleeper(t), sleeper(t))
	if n := prepared.Load(); n != 3 {
		t.Errorf("prepared %d times for 3 workers", n)
	}
}

func TestStatusFollowsTheProfile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := sleeper(t)
		slow.Speed = 0.5
		s, r := newServer(t, serve.Options{}, slow)
		for range 3 {
			if _, err := r.Infer(t.Context(), &serve.Request{N: 2, Pixels: make([]byte, 8), Subnet: "medium"}); err != nil {
				t.Fatal(err)
			}
		}
		if d := r.Status().Drift; d[0] != 0 || d[1] != 2 || d[2] != 0 {
			t.Errorf("drift %v of an executor of half the speed, want 2 for medium", d)
		}
		for name, want := range map[string]float64{"weft_images_total": 6, "weft_profile_drift_ratio": 2, "weft_slo_attainment_ratio": 1, "weft_ready": 1, "weft_workers_free": 1} {
			if got := counter(t, s, name, ""); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	})
}

// counter returns the sum of the samples of a metric that have the label value ("": all).
func counter(t *testing.T, s *serve.Server, name, label string) (sum float64) {
	t.Helper()
	families, err := s.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || hasLabel(m, label)) {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return sum
}

// batchImages returns the sum over the batches of their images.
func batchImages(t *testing.T, s *serve.Server) (sum float64) {
	t.Helper()
	families, err := s.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "weft_batch_images" {
				sum += m.GetHistogram().GetSampleSum()
			}
		}
	}
	return sum
}

func hasLabel(m *dto.Metric, value string) bool {
	for _, l := range m.GetLabel() {
		if l.GetValue() == value {
			return true
		}
	}
	return false
}

// Everything at once: requests of all kinds, cancellations, failures and a
// shutdown. Each request gets exactly one answer, and the counters add up.
func TestStress(t *testing.T) {
	const clients, each = 16, 60
	flaky := execFunc(func(_ int, images []float32, n int, logits []float32) error {
		clear(logits)
		for i := range n {
			logits[3*i+int(images[4*i])] = 1
		}
		if images[1] > 0.99 {
			return errors.New("bad luck")
		}
		return nil
	})
	s, r := newServer(t, serve.Options{Sched: sched.Options{MaxQueue: 24}, SLO: time.Second}, flaky, flaky, sleeper(t))
	var wg sync.WaitGroup
	for c := range clients {
		rng := rand.New(rand.NewPCG(1, uint64(c)))
		wg.Go(func() {
			var resp serve.Response
			for range each {
				n := 1 + rng.IntN(3)
				req := &serve.Request{N: n, Images: make([]float32, 4*n), Timeout: time.Duration(rng.IntN(40)) * ms, Late: sched.LatePolicy(rng.IntN(2))}
				req.Images[1] = rng.Float32()
				ctx, stop := context.WithTimeout(t.Context(), time.Duration(1+rng.IntN(30))*ms)
				err := r.InferInto(ctx, req, &resp)
				stop()
				if code := serve.CodeOf(err); code == serve.Invalid || code == serve.Draining {
					t.Error(err)
				}
				if err == nil && len(resp.Labels) != n {
					t.Errorf("%d labels for %d images", len(resp.Labels), n)
				}
			}
		})
	}
	wg.Wait()
	if got := counter(t, s, "weft_requests_total", ""); got != clients*each {
		t.Errorf("weft_requests_total is %v for %d requests", got, clients*each)
	}
	// Each image of an answer ran in a batch; those of failed batches ran too.
	ran, answered := batchImages(t, s), counter(t, s, "weft_images_total", "")
	if failed := counter(t, s, "weft_requests_total", "failed"); ran < answered || failed == 0 && ran != answered {
		t.Errorf("%v images ran in batches, %v were answered", ran, answered)
	}
	if batches := counter(t, s, "weft_batches_total", ""); batches != counter(t, s, "weft_batch_images", "") {
		t.Errorf("weft_batches_total is %v, weft_batch_images has %v samples", batches, counter(t, s, "weft_batch_images", ""))
	}
	st := r.Status()
	if st.WaitingRequests != 0 || st.Free != 3 {
		t.Errorf("after the storm: %+v", st)
	}
	if got, want := counter(t, s, "weft_request_seconds", ""), counter(t, s, "weft_requests_total", "ok"); got != want {
		t.Errorf("weft_request_seconds has %v samples for %v answers", got, want)
	}
}

func TestInferAllocatesNothing(t *testing.T) {
	_, r := newServer(t, serve.Options{SLO: time.Second}, execFunc(linear))
	req := &serve.Request{N: 1, Pixels: make([]byte, 4)}
	var resp serve.Response
	ctx := t.Context()
	infer := func() {
		if err := r.InferInto(ctx, req, &resp); err != nil {
			t.Fatal(err)
		}
	}
	for range 2000 { // buckets of times are made when they are first hit
		infer()
	}
	if n := testing.AllocsPerRun(2000, infer); n > 0 {
		t.Errorf("a request allocates %v times", n)
	}
}

func BenchmarkInfer(b *testing.B) {
	_, r := newServer(b, serve.Options{SLO: time.Second}, execFunc(linear), execFunc(linear))
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		req := &serve.Request{N: 1, Pixels: make([]byte, 4)}
		var resp serve.Response
		for pb.Next() {
			if err := r.InferInto(context.Background(), req, &resp); err != nil {
				b.Error(err)
			}
		}
	})
}
