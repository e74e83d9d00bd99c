package serve_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"weft/serve"
)

// gather returns the server's metrics by name.
func gather(t *testing.T, s *serve.Server) map[string]*dto.MetricFamily {
	t.Helper()
	families, err := s.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	byName := make(map[string]*dto.MetricFamily)
	for _, f := range families {
		byName[f.GetName()] = f
	}
	return byName
}

// The metrics keep to Prometheus' rules for names, units and help.
func TestMetricsAreInOrder(t *testing.T) {
	s, r := newServer(t, serve.Options{SLO: time.Second}, sleeper(t))
	if _, err := r.Infer(t.Context(), &serve.Request{N: 2, Images: make([]float32, 8), Tenant: "a"}); err != nil {
		t.Fatal(err)
	}
	families, err := s.Registry().Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for name, h := range gather(t, s) {
		if h.GetType() == dto.MetricType_HISTOGRAM && slices.Contains([]string{"weft_queue_seconds", "weft_compute_seconds", "weft_request_seconds"}, name) {
			if got := h.Metric[0].GetHistogram(); got.Schema == nil || len(got.PositiveSpan) == 0 && got.GetZeroCount() == 0 || len(got.Bucket) != 17 {
				t.Errorf("%s has no native buckets, or not its %d classic ones: %v", name, len(got.Bucket), got)
			}
		}
	}
}

// Whatever clients send, there are no more series than models, subnets, codes and
// 101 tenants make, and no label that a client chooses freely.
func TestSeriesAreBounded(t *testing.T) {
	s, r := newServer(t, serve.Options{SLO: time.Second}, execFunc(linear))
	series := func() (n int) {
		for _, f := range gather(t, s) {
			n += len(f.Metric)
		}
		return n
	}
	send := func(from, to int) {
		for i := from; i < to; i++ {
			tenant := fmt.Sprint("tenant ", i)
			if i%3 == 0 {
				tenant = fmt.Sprintf("\xff%d", i)
			}
			_, err := r.Infer(t.Context(), &serve.Request{N: 1, Images: make([]float32, 4), Tenant: tenant, Timeout: time.Duration(1000 + i)})
			_, wrong := r.Infer(t.Context(), &serve.Request{N: 1, Images: make([]float32, 4), Subnet: tenant})
			if serve.CodeOf(err) != serve.Late || serve.CodeOf(wrong) != serve.Invalid {
				t.Fatalf("%v, %v", err, wrong)
			}
		}
	}
	send(0, 400)
	before := series()
	send(400, 1200)
	if after := series(); after != before {
		t.Errorf("%d series, and %d after more requests", before, after)
	}
	tenants := gather(t, s)["weft_tenant_deadlines_total"]
	if n := len(tenants.Metric); n != 2*101 {
		t.Errorf("%d series of tenants, want %d", n, 2*101)
	}
	if got := counter(t, s, "weft_tenant_deadlines_total", "(others)"); got != 1200-100 {
		t.Errorf("%v requests of other tenants, want %d", got, 1200-100)
	}
	known := []string{"model", "subnet", "outcome", "met", "tenant", "kind", "state", "policy", "version", "quantile"}
	for name, f := range gather(t, s) {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				if !slices.Contains(known, l.GetName()) {
					t.Errorf("%s has the label %s", name, l.GetName())
				}
			}
		}
	}
}

// What is counted is what happened, in virtual time.
func TestMetricsCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fail := false
		exec := sleeper(t)
		s, r := newServer(t, serve.Options{Policy: "fixed:small"}, execFunc(func(i int, images []float32, n int, logits []float32) error {
			if fail {
				time.Sleep(2 * ms)
				return errors.New("out of cheese")
			}
			return exec.Run(i, images, n, logits)
		}))
		infer := func(n int, timeout time.Duration, tenant string) {
			_, _ = r.Infer(t.Context(), &serve.Request{N: n, Images: make([]float32, 4*n), Timeout: timeout, Tenant: tenant})
		}
		infer(8, 50*ms, "a")
		infer(1, 50*ms, "b")
		infer(1, ms, "b")
		infer(9, ms, "b") // too many
		fail = true
		infer(1, 50*ms, "a")
		fail = false
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { infer(8, 50*ms, "") })
			synctest.Wait()
		}
		for name, want := range map[string]float64{
			"weft_requests_in_flight": 3, "weft_queue_requests": 2, "weft_queue_images": 16, "weft_workers": 1,
			"weft_workers_free": 0, "weft_queue_work_seconds": 0.0068,
		} {
			if got := counter(t, s, name, "m"); math.Abs(got-want) > 1e-9 {
				t.Errorf("under way, %s is %v, want %v", name, got, want)
			}
		}
		if got := counter(t, s, "weft_pool_workers", "busy"); got != 1 {
			t.Errorf("%v workers are busy, want 1", got)
		}
		wg.Wait()
		for _, c := range []struct {
			name, label string
			want        float64
		}{
			{"weft_requests_received_total", "m", 8},
			{"weft_requests_total", "ok", 5},
			{"weft_requests_total", "dropped_late", 1},
			{"weft_requests_total", "invalid", 1},
			{"weft_requests_total", "failed", 1},
			{"weft_deadlines_total", "true", 5},
			{"weft_deadlines_total", "false", 2},
			{"weft_tenant_deadlines_total", "a", 2},
			{"weft_tenant_deadlines_total", "b", 2},
			{"weft_images_total", "m", 33},
			{"weft_images_expected_correct_total", "m", 33 * 0.7},
			{"weft_subnet_requests_total", "small", 5},
			{"weft_batches_total", "small", 6},
			{"weft_subnet_compute_seconds_total", "small", 4*0.0034 + 2*0.002},
			{"weft_pool_workers", "busy", 0},
			{"weft_pool_workers", "idle", 1},
			{"weft_model_info", "fixed:small", 1},
			{"weft_retries_total", "m", 0},
		} {
			if got := counter(t, s, c.name, c.label); math.Abs(got-c.want) > 1e-9 {
				t.Errorf("%s of %s is %v, want %v", c.name, c.label, got, c.want)
			}
		}
	})
}

// A worker that is lost is counted, and so is each request that runs again for it.
func TestMetricsCountLostWorkers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := serve.New([]serve.Model{model(t)}, serve.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := s.Router("m")
		attach := func() *serve.Attached {
			w, err := s.Attach(serve.WorkerSpec{Name: "far", Executors: map[*serve.Router]serve.Executor{r: sleeper(t)}})
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
		first := attach()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = r.Infer(t.Context(), &serve.Request{N: 1, Images: make([]float32, 4), Timeout: 200 * ms})
		})
		time.Sleep(ms)
		first.Lost()
		attach()
		wg.Wait()
		if retries, lost := counter(t, s, "weft_retries_total", "m"), counter(t, s, "weft_workers_lost_total", ""); retries != 1 || lost != 1 {
			t.Errorf("%v retries and %v lost workers, want 1 of each", retries, lost)
		}
		if got := counter(t, s, "weft_requests_total", "ok"); got != 1 {
			t.Errorf("%v answers, want 1", got)
		}
		if got := counter(t, s, "weft_pool_workers", "remote"); got != 1 {
			t.Errorf("%v remote workers, want 1", got)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
	})
}
