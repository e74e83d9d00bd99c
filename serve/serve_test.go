package serve_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/sched"
	"weft/serve"
)

const ms = time.Millisecond

// execFunc makes a function an executor.
type execFunc func(s int, images []float32, n int, logits []float32) error

func (f execFunc) Run(s int, images []float32, n int, logits []float32) error {
	return f(s, images, n, logits)
}

// profile has a small, a medium and a large subnet: 2, 5 and 10 ms for one
// image and a tenth of that for each further one.
func profile(t testing.TB) *sched.Profile {
	t.Helper()
	subnet := func(name string, accuracy float64, first time.Duration) sched.Subnet {
		s := sched.Subnet{Name: name, Accuracy: accuracy}
		for b := range 8 {
			s.Latency = append(s.Latency, first+time.Duration(b)*first/10)
		}
		return s
	}
	p, err := sched.NewProfile([]sched.Subnet{subnet("small", 0.7, 2*ms), subnet("medium", 0.8, 5*ms), subnet("large", 0.9, 10*ms)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// model has images of 2x2x1 and 3 classes.
func model(t testing.TB, execs ...serve.Executor) serve.Model {
	return serve.Model{Name: "m", H: 2, W: 2, C: 1, Classes: 3, Profile: profile(t), Executors: execs}
}

func sleeper(t testing.TB) *serve.SleepExecutor {
	return &serve.SleepExecutor{Profile: profile(t), Classes: 3}
}

// newServer serves one model and returns its router. The workers are up.
func newServer(t testing.TB, opt serve.Options, execs ...serve.Executor) (*serve.Server, *serve.Router) {
	t.Helper()
	s, err := serve.New([]serve.Model{model(t, execs...)}, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	for !s.Ready() {
		time.Sleep(time.Microsecond)
	}
	return s, s.Router("m")
}

// linear gives class j of an image the dot product of its values with 1, 1+j, 1+2j, 1+3j.
func linear(_ int, images []float32, n int, logits []float32) error {
	for i := range n {
		for j := range 3 {
			sum := float32(0)
			for k, v := range images[4*i:][:4] {
				sum += v * float32(1+j*k)
			}
			logits[3*i+j] = sum
		}
	}
	return nil
}

func TestInferComputesEachImage(t *testing.T) {
	_, r := newServer(t, serve.Options{SLO: time.Second}, execFunc(linear))
	pixels := []byte{0, 51, 102, 255, 255, 0, 0, 0}
	floats := make([]float32, len(pixels))
	for i, p := range pixels {
		floats[i] = float32(p) / 255
	}
	want := make([]float32, 6)
	linear(0, floats, 2, want)
	for name, req := range map[string]*serve.Request{
		"floats": {N: 2, Images: floats},
		"pixels": {N: 2, Pixels: pixels},
	} {
		resp, err := r.Infer(t.Context(), req)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, resp.Logits); diff != "" {
			t.Errorf("%s: logits (-want +got):\n%s", name, diff)
		}
		// The second image's logits are all equal: the first class counts.
		if diff := cmp.Diff([]int64{2, 0}, resp.Labels); diff != "" {
			t.Errorf("%s: labels (-want +got):\n%s", name, diff)
		}
		if resp.Subnet != "large" || resp.Accuracy != 0.9 || resp.Batch != 2 || !resp.DeadlineMet {
			t.Errorf("%s: answered by %+v", name, resp)
		}
	}
}

func TestDeadlineChoosesTheSubnet(t *testing.T) {
	for _, c := range []struct {
		timeout time.Duration
		req     serve.Request
		want    string
	}{
		{timeout: 30 * ms, want: "large"},
		{timeout: 7 * ms, want: "medium"},
		{timeout: 3 * ms, want: "small"},
		{timeout: 30 * ms, req: serve.Request{Subnet: "small"}, want: "small"},
		{timeout: 30 * ms, req: serve.Request{Subnet: "medium", MinAccuracy: 0.75}, want: "medium"},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, r := newServer(t, serve.Options{Policy: "maxacc"}, sleeper(t))
			c.req.N, c.req.Timeout, c.req.Pixels = 1, c.timeout, make([]byte, 4)
			resp, err := r.Infer(t.Context(), &c.req)
			if err != nil {
				t.Fatal(err)
			}
			compute := r.Model().Profile.Latency(r.Model().Profile.Index(c.want), 1)
			if resp.Subnet != c.want || resp.Compute != compute || resp.Queue != 0 || !resp.DeadlineMet {
				t.Errorf("timeout %v: %+v, want subnet %s in %v", c.timeout, resp, c.want, compute)
			}
		})
	}
}

func TestHopelessRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newServer(t, serve.Options{}, sleeper(t))
		req := &serve.Request{N: 1, Pixels: make([]byte, 4), Timeout: ms}
		if _, err := r.Infer(t.Context(), req); !errors.Is(err, serve.ErrLate) {
			t.Errorf("rejecting: %v, want ErrLate", err)
		}
		req.Late = sched.Serve
		resp, err := r.Infer(t.Context(), req)
		if err != nil || resp.DeadlineMet || resp.Subnet != "small" {
			t.Errorf("serving late: %+v, %v; want a late answer by small", resp, err)
		}
		// What the client spent before counts.
		req = &serve.Request{N: 1, Pixels: make([]byte, 4), Timeout: 10 * ms, Start: time.Now()}
		time.Sleep(9 * ms)
		if _, err := r.Infer(t.Context(), req); !errors.Is(err, serve.ErrLate) {
			t.Errorf("started long ago: %v, want ErrLate", err)
		}
	})
}

// A request that waits behind a busy worker until it is hopeless is told so then.
func TestDroppedWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newServer(t, serve.Options{}, sleeper(t))
		var wg sync.WaitGroup
		wg.Go(func() {
			if _, err := r.Infer(t.Context(), &serve.Request{N: 8, Pixels: make([]byte, 32), Subnet: "large"}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		start := time.Now()
		_, err := r.Infer(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4), Timeout: 5 * ms})
		if took := time.Since(start); !errors.Is(err, serve.ErrLate) || took < 3*ms || took > 3*ms+time.Microsecond {
			t.Errorf("after %v: %v; want ErrLate after 3 ms", took, err)
		}
		wg.Wait()
	})
}

func TestRequestsShareABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newServer(t, serve.Options{}, execFunc(func(s int, images []float32, n int, logits []float32) error {
			time.Sleep(5 * ms)
			return linear(s, images, n, logits)
		}))
		var wg sync.WaitGroup
		infer := func(n int, value byte, batch int) {
			req := &serve.Request{N: n, Pixels: make([]byte, 4*n), Timeout: 100 * ms}
			for i := range req.Pixels {
				req.Pixels[i] = value
			}
			resp, err := r.Infer(t.Context(), req)
			if err != nil {
				t.Error(err)
				return
			}
			if want := float32(value) / 255 * 4; math.Abs(float64(resp.Logits[3*(n-1)]-want)) > 1e-6 || resp.Batch != batch {
				t.Errorf("value %d: batch of %d with logits %v, want a batch of %d and %v", value, resp.Batch, resp.Logits, batch, want)
			}
		}
		wg.Go(func() { infer(1, 10, 1) })
		synctest.Wait()
		wg.Go(func() { infer(2, 20, 6) })
		wg.Go(func() { infer(1, 30, 6) })
		wg.Go(func() { infer(3, 40, 6) })
		wg.Wait()
		decisions, total := r.Timeline(nil)
		if total != 2 || len(decisions) != 2 || decisions[1].Requests != 3 || decisions[1].Images != 6 || decisions[1].At-decisions[0].At != 5*ms || decisions[1].Slack != 95*ms {
			t.Errorf("timeline %+v of %d", decisions, total)
		}
	})
}

func TestCancelWithdrawsWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batches atomic.Int64
		_, r := newServer(t, serve.Options{}, execFunc(func(int, []float32, int, []float32) error {
			batches.Add(1)
			time.Sleep(10 * ms)
			return nil
		}))
		var wg sync.WaitGroup
		running, cancelRunning := context.WithCancelCause(t.Context())
		waiting, cancelWaiting := context.WithCancelCause(t.Context())
		infer := func(ctx context.Context) (time.Duration, error) {
			start := time.Now()
			_, err := r.Infer(ctx, &serve.Request{N: 1, Pixels: make([]byte, 4), Timeout: time.Second})
			return time.Since(start), err
		}
		wg.Go(func() {
			// It runs already: the answer is there when the batch ends.
			if took, err := infer(running); took != 10*ms || err != nil {
				t.Errorf("running: %v after %v", err, took)
			}
		})
		synctest.Wait()
		wg.Go(func() {
			if took, err := infer(waiting); took != ms || !errors.Is(err, context.Canceled) || serve.CodeOf(err) != serve.Cancelled {
				t.Errorf("waiting: %v after %v", err, took)
			}
		})
		synctest.Wait()
		if st := r.Status(); st.WaitingRequests != 1 {
			t.Errorf("%d requests wait, want 1", st.WaitingRequests)
		}
		time.Sleep(ms)
		cancelWaiting(nil)
		cancelRunning(nil)
		synctest.Wait()
		if st := r.Status(); st.WaitingRequests != 0 {
			t.Errorf("%d requests wait after the cancellation", st.WaitingRequests)
		}
		wg.Wait()
		if n := batches.Load(); n != 1 {
			t.Errorf("%d batches ran, want 1", n)
		}
	})
}

func TestQueueIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newServer(t, serve.Options{Sched: sched.Options{MaxQueue: 2}}, sleeper(t))
		var full, ok atomic.Int64
		var wg sync.WaitGroup
		for range 5 { // one runs, two wait
			wg.Go(func() {
				_, err := r.Infer(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4), Timeout: time.Second})
				switch {
				case err == nil:
					ok.Add(1)
				case errors.Is(err, serve.ErrFull):
					full.Add(1)
				default:
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		if ok.Load() != 3 || full.Load() != 2 {
			t.Errorf("%d answered and %d refused, want 3 and 2", ok.Load(), full.Load())
		}
		if st := r.Status(); st.Accounted != 5 || st.Attainment != 0.6 {
			t.Errorf("attainment %v of %d, want 0.6 of 5", st.Attainment, st.Accounted)
		}
	})
}

func TestBadRequests(t *testing.T) {
	_, r := newServer(t, serve.Options{}, sleeper(t))
	pixels := make([]byte, 40)
	for _, c := range []struct {
		req  serve.Request
		want string
	}{
		{serve.Request{}, "at least one"},
		{serve.Request{N: -1, Pixels: pixels[:4]}, "at least one"},
		{serve.Request{N: 9, Pixels: pixels[:36]}, "at most 8"},
		{serve.Request{N: 2, Pixels: pixels[:7]}, "exactly 8"},
		{serve.Request{N: 1, Pixels: pixels[:4], Images: make([]float32, 4)}, "exactly 4"},
		{serve.Request{N: 1, Pixels: pixels[:4], Timeout: -1}, "timeout"},
		{serve.Request{N: 1, Pixels: pixels[:4], Timeout: time.Hour}, "at most 1m0s"},
		{serve.Request{N: 1, Pixels: pixels[:4], MinAccuracy: math.NaN()}, "fraction"},
		{serve.Request{N: 1, Pixels: pixels[:4], MinAccuracy: 0.95}, "the best has 0.9"},
		{serve.Request{N: 1, Pixels: pixels[:4], Subnet: "huge"}, "GET /v2/models/m/subnets"},
		{serve.Request{N: 1, Pixels: pixels[:4], Subnet: "small", MinAccuracy: 0.75}, "below the minimum"},
	} {
		_, err := r.Infer(t.Context(), &c.req)
		if serve.CodeOf(err) != serve.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want Invalid with %q", c.req, err, c.want)
		}
	}
}

func TestBadModels(t *testing.T) {
	exec := []serve.Executor{sleeper(t)}
	good := model(t, exec...)
	for want, change := range map[string]func(m *serve.Model){
		"no name":    func(m *serve.Model) { m.Name = "" },
		"images of":  func(m *serve.Model) { m.W = 0 },
		"classes":    func(m *serve.Model) { m.Classes = 0 },
		"names":      func(m *serve.Model) { m.ClassNames = []string{"one"} },
		"no profile": func(m *serve.Model) { m.Profile = nil },
	} {
		m := good
		change(&m)
		if _, err := serve.New([]serve.Model{m}, serve.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want an error about %q", err, want)
		}
	}
	if _, err := serve.New([]serve.Model{good, good}, serve.Options{}); err == nil || !strings.Contains(err.Error(), "twice") {
		t.Errorf("two models of one name: %v", err)
	}
	if _, err := serve.New([]serve.Model{good}, serve.Options{Policy: "nonsense"}); err == nil {
		t.Error("an unknown policy is accepted")
	}
}
