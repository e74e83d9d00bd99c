package serve_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weft/serve"
)

// A model without workers takes requests, which a worker that joins answers; when it
// is lost in the middle of a batch, the next one runs the batch again.
func TestWorkersJoinAndAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := serve.New([]serve.Model{model(t)}, serve.Options{})
		if err != nil {
			t.Fatal(err)
		}
		r := s.Router("m")
		if s.Ready() || r.Unready() != "no worker runs it: wait for one to join" {
			t.Errorf("a model without workers is ready: %q", r.Unready())
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			resp, err := r.Infer(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4), Timeout: 100 * ms})
			if err != nil || !resp.DeadlineMet || resp.Queue != 10*ms {
				t.Errorf("%+v, %v; want an answer after 10 ms in the queue", resp, err)
			}
		})
		synctest.Wait()
		changed := s.Changes()
		first, err := s.Attach(serve.WorkerSpec{Name: "first", Executors: map[*serve.Router]serve.Executor{r: execFunc(func(int, []float32, int, []float32) error {
			time.Sleep(10 * ms)
			return fmt.Errorf("cable cut: %w", serve.ErrWorkerLost)
		})}})
		if err != nil {
			t.Fatal(err)
		}
		<-changed
		if !s.Ready() {
			t.Errorf("not ready with a worker: %s", r.Unready())
		}
		<-first.Done()
		if s.Ready() {
			t.Error("ready when its worker is lost")
		}
		second, err := s.Attach(serve.WorkerSpec{Name: "second", Executors: map[*serve.Router]serve.Executor{r: sleeper(t)}})
		if err != nil {
			t.Fatal(err)
		}
		wg.Wait()
		if err := second.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := s.Attach(serve.WorkerSpec{}); !errors.Is(err, serve.ErrDraining) {
			t.Errorf("a worker joins a server that has ended: %v", err)
		}
	})
}

// A worker that computes here takes its time to start. Meanwhile the others go on, and if
// it is lost before, nothing was.
func TestComputingWorkerJoins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold, prepared := make(chan struct{}), 0
		s, err := serve.New([]serve.Model{model(t, sleeper(t))}, serve.Options{Prepare: func() {
			if prepared++; prepared > 1 {
				<-hold
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r := s.Router("m")
		join := func() *serve.Attached {
			a, err := s.Attach(serve.WorkerSpec{Name: "thread", Compute: true, Executors: map[*serve.Router]serve.Executor{r: sleeper(t)}})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return a
		}
		lost := join()
		if st := r.Status(); !st.Ready || st.Workers != 1 {
			t.Errorf("while a worker starts beside one that runs: %+v", st)
		}
		lost.Lost()
		close(hold)
		<-lost.Done()
		join()
		if st := r.Status(); !st.Ready || st.Workers != 2 {
			t.Errorf("with both workers: %+v", st)
		}
		if err := s.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
