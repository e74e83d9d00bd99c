package serve_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weft/sched"
	"weft/serve"
)

// attach adds a worker that runs the models by the executor.
func attach(t testing.TB, s *serve.Server, exec serve.Executor, models ...string) *serve.Attached {
	t.Helper()
	execs := map[*serve.Router]serve.Executor{}
	for _, m := range models {
		execs[s.Router(m)] = exec
	}
	a, err := s.Attach(serve.WorkerSpec{Name: "w", Executors: execs})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// named returns models of these names, without workers of their own.
func named(t testing.TB, names ...string) []serve.Model {
	var models []serve.Model
	for _, name := range names {
		m := model(t)
		m.Name = name
		models = append(models, m)
	}
	return models
}

// frozen is an executor that does not come back before it is told to, and then with an
// answer that is wrong.
type frozen chan struct{}

func (f frozen) Run(_ int, _ []float32, _ int, logits []float32) error {
	<-f
	for i := range logits {
		logits[i] = 999
	}
	return nil
}

// A worker is lost in the middle of a batch and does not notice. Others answer, and what
// it computes in the end changes nothing.
func TestFrozenWorker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := serve.New(named(t, "m"), serve.Options{})
		if err != nil {
			t.Fatal(err)
		}
		hangs := make(frozen)
		stuck := attach(t, s, hangs, "m")
		var wg sync.WaitGroup
		ask := func() {
			wg.Go(func() {
				resp, err := s.Router("m").Infer(t.Context(), &serve.Request{N: 1, Images: []float32{1, 0, 0, 0}, Timeout: 100 * ms})
				if err != nil || !slices.Equal(resp.Logits, []float32{1, 1, 1}) || resp.Queue != 20*ms {
					t.Errorf("%+v, %v; want an answer after 20 ms", resp, err)
				}
			})
			synctest.Wait()
		}
		ask()
		ask()
		time.Sleep(20 * ms)
		stuck.Lost()
		stuck.Lost() // is lost only once
		attach(t, s, execFunc(linear), "m")
		wg.Wait()
		if st := s.Router("m").Status(); st.Workers != 1 || st.Free != 1 || st.InFlight != 0 {
			t.Errorf("after the loss: %+v", st)
		}

		// A server ends without the executor that hangs, but its model is not closed.
		ctx, stop := context.WithTimeout(t.Context(), 10*ms)
		defer stop()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a batch runs, but shutting down says %v", err)
		}
		select {
		case <-stuck.Done():
			t.Error("the lost worker is done before its executor")
		default:
		}
		close(hangs)
		<-stuck.Done()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Every worker that takes the request is lost: after MaxAttempts it fails.
func TestLostTooOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := serve.New(named(t, "m"), serve.Options{Sched: sched.Options{MaxAttempts: 2}})
		if err != nil {
			t.Fatal(err)
		}
		dies := execFunc(func(int, []float32, int, []float32) error { return fmt.Errorf("no power: %w", serve.ErrWorkerLost) })
		attach(t, s, dies, "m")
		attach(t, s, dies, "m")
		attach(t, s, dies, "m")
		_, err = s.Router("m").Infer(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4)})
		if serve.CodeOf(err) != serve.Failed || !strings.Contains(err.Error(), "workers were lost") {
			t.Errorf("lost twice: %v", err)
		}
		if st := s.Router("m").Status(); st.Workers != 1 {
			t.Errorf("%d workers are left of 3, of which 2 were lost", st.Workers)
		}
		// With no worker at all a request waits until it is hopeless, and shutting down waits for it.
		attach(t, s, dies, "m").Lost()
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A worker that leaves finishes its batch, in which others are not put any more.
func TestWorkerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := serve.New(named(t, "a", "b"), serve.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Shutdown(t.Context())
		w := attach(t, s, sleeper(t), "a", "b")
		var wg sync.WaitGroup
		infer := func(model string, timeout time.Duration, check func(error) bool) {
			wg.Go(func() {
				_, err := s.Router(model).Infer(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4), Subnet: "large", Timeout: timeout})
				if !check(err) {
					t.Errorf("model %s: %v", model, err)
				}
			})
			synctest.Wait()
		}
		infer("a", 50*ms, func(err error) bool { return err == nil })
		infer("b", 30*ms, func(err error) bool { return errors.Is(err, serve.ErrLate) })
		start := time.Now()
		ctx, stop := context.WithTimeout(t.Context(), ms)
		defer stop()
		if err := w.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("left in the middle of a batch: %v", err)
		}
		if err := w.Leave(t.Context()); err != nil || time.Since(start) != 10*ms {
			t.Errorf("left after %v: %v", time.Since(start), err)
		}
		w.Lost() // makes no difference
		wg.Wait()
		if s.Ready() {
			t.Error("ready without a worker")
		}
	})
}

// Models are replaced while workers join, leave, die and freeze: every request is
// answered, once, by what it asked for.
func TestChurn(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Run("storm", churn)
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * ms)
	}
	buf := make([]byte, 1<<16)
	t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
}

func churn(t *testing.T) {
	length := 2 * time.Second
	if testing.Short() {
		length = 500 * ms
	}
	repo := &shelf{t: t, names: []string{"a", "b"}, exec: execFunc(echo)}
	models := named(t, "a", "b")
	for i := range models {
		models[i].Executors = []serve.Executor{execFunc(echo), execFunc(echo)}
	}
	s, err := serve.New(models, serve.Options{Repository: repo, SLO: 20 * time.Second, Sched: sched.Options{MaxAttempts: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), length)
	defer stop()
	var answered, lost atomic.Int64
	var clients, others sync.WaitGroup
	for c := range 8 {
		clients.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(c)))
			for ctx.Err() == nil {
				value := float32(rng.IntN(1 << 20))
				resp, err := inferSomewhere(s, []string{"a", "b"}[rng.IntN(2)], &serve.Request{N: 2, Images: []float32{value, 0, 0, 0, -value, 0, 0, 0}})
				if err != nil || !slices.Equal(resp.Logits, []float32{value, value, value, -value, -value, -value}) {
					t.Errorf("asked with %v: %+v, %v", value, resp, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	for c := range 6 {
		others.Go(func() {
			rng := rand.New(rand.NewPCG(8, uint64(c)))
			for ctx.Err() == nil {
				if comesAndGoes(t, s, rng) {
					lost.Add(1)
				}
			}
		})
	}
	others.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			if err := s.Load(context.Background(), repo.names[i%2]); err != nil {
				t.Error(err)
			}
			time.Sleep(ms)
		}
	})
	clients.Wait()
	others.Wait()
	if err := s.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if answered.Load() < 500 || lost.Load() < 10 {
		t.Errorf("only %d requests and %d lost workers", answered.Load(), lost.Load())
	}
	t.Logf("%d requests were answered, %d workers lost, %d models loaded", answered.Load(), lost.Load(), repo.editions.Load())
}

// echo gives every class the image's first value.
func echo(_ int, images []float32, n int, logits []float32) error {
	for i := range logits {
		logits[i] = images[i/(len(logits)/n)*4]
	}
	return nil
}

// comesAndGoes has a worker join, run some batches, and go in one way or another.
func comesAndGoes(t *testing.T, s *serve.Server, rng *rand.Rand) (lost bool) {
	batches := 1 + rng.IntN(20)
	end, thaw, stuck, calm := rng.IntN(4), make(frozen), make(chan struct{}), make(chan struct{})
	exec := execFunc(func(subnet int, images []float32, n int, logits []float32) error {
		batches--
		switch {
		case batches == 0 && end == 0:
			return serve.ErrWorkerLost
		case batches == 0 && end == 1:
			close(stuck)
			select {
			case <-calm: // it is not lost: its answer counts
			case <-thaw:
				return thaw.Run(subnet, images, n, logits)
			}
		}
		return echo(subnet, images, n, logits)
	})
	execs := map[*serve.Router]serve.Executor{}
	if r := s.Router("a"); rng.IntN(2) == 0 {
		execs[r] = exec
	}
	a, err := s.Attach(serve.WorkerSpec{Name: "guest", Compute: rng.IntN(2) == 0, Executors: execs})
	if err != nil {
		t.Error(err)
		return
	}
	defer func() { <-a.Done() }()
	a.Offer(s.Router("b"), exec)
	select {
	case <-stuck:
		a.Lost()
		time.Sleep(time.Duration(rng.IntN(3)) * ms)
		close(thaw)
		return true
	case <-a.Done():
		return true
	case <-time.After(time.Duration(rng.IntN(5)) * ms):
	}
	close(calm)
	if end == 3 {
		a.Lost()
	} else if err := a.Leave(context.Background()); err != nil {
		t.Error(err)
	}
	return false
}

// One tenant floods the server, another asks for half of its share and gets it.
func TestSharesHoldUnderAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newServer(t, serve.Options{SLO: 60 * ms, Policy: "fixed:small", Sched: sched.Options{Shares: map[string]float64{"modest": 1, "greedy": 1}}}, sleeper(t))
		met, sent := map[string]int{}, map[string]int{}
		var mu sync.Mutex
		var wg sync.WaitGroup
		ask := func(tenant string) {
			wg.Go(func() {
				resp, err := r.Infer(t.Context(), &serve.Request{N: 8, Pixels: make([]byte, 32), Tenant: tenant})
				mu.Lock()
				defer mu.Unlock()
				sent[tenant]++
				if err == nil && resp.DeadlineMet {
					met[tenant]++
				}
			})
		}
		// A batch of 8 takes 3.4 ms. One tenant asks for 25 %, the other for 300 % of the time.
		for i := range 3000 {
			if i%12 == 0 {
				ask("modest")
			}
			ask("greedy")
			time.Sleep(3400 * time.Microsecond / 3)
		}
		wg.Wait()
		modest, greedy := float64(met["modest"])/float64(sent["modest"]), float64(met["greedy"])/float64(sent["greedy"])
		t.Logf("modest %.3f of %d, greedy %.3f of %d", modest, sent["modest"], greedy, sent["greedy"])
		if modest < 0.9 || greedy < 0.2 || greedy > 0.26 {
			t.Errorf("the modest tenant attains %.3f, the greedy %.3f", modest, greedy)
		}
	})
}
