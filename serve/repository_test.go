package serve_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/serve"
)

// shelf is a repository whose models answer with the number of their edition.
type shelf struct {
	t        testing.TB
	names    []string
	exec     serve.Executor // nil: one that answers with the number
	fail     error
	editions atomic.Int32
	closed   atomic.Int32
}

func (s *shelf) Names() []string { return s.names }

func (s *shelf) Open(context.Context, string) (serve.Model, error) {
	if s.fail != nil {
		return serve.Model{}, s.fail
	}
	edition := float32(s.editions.Add(1))
	m := model(s.t, constant(edition), constant(edition))
	if s.exec != nil {
		m.Executors = []serve.Executor{s.exec, s.exec}
	}
	m.Close = func() { s.closed.Add(1) }
	return m, nil
}

// constant is an executor whose logits are always the same.
type constant float32

func (c constant) Run(_ int, _ []float32, _ int, logits []float32) error {
	for i := range logits {
		logits[i] = float32(c)
	}
	return nil
}

// While a model is replaced again and again, each request is answered, by one
// of the editions, and never by one older than that in service when it came.
func TestReplaceUnderLoad(t *testing.T) {
	repo := &shelf{t: t, names: []string{"m"}}
	first, err := repo.Open(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, serve.Options{Repository: repo, SLO: 10 * time.Second}, first)
	var loaded, requests atomic.Int32
	loaded.Store(1)
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			req := &serve.Request{N: 1, Images: make([]float32, first.ImageSize())}
			for ctx.Err() == nil {
				least := loaded.Load()
				resp, err := inferSomewhere(s, "m", req)
				if err != nil {
					t.Errorf("a request met %v", err)
					return
				}
				if got := int32(resp.Logits[0]); got < least {
					t.Errorf("edition %d answered after %d was loaded", got, least)
				}
				requests.Add(1)
			}
		})
	}
	const editions = 20
	for i := range int32(editions) {
		for before := requests.Load(); requests.Load() < before+20; {
			time.Sleep(100 * time.Microsecond)
		}
		if err := s.Load(t.Context(), "m"); err != nil {
			t.Fatal(err)
		}
		loaded.Store(i + 2)
	}
	stop()
	wg.Wait()
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got := repo.closed.Load(); got != editions+1 {
		t.Errorf("%d of %d editions were closed", got, editions+1)
	}
}

// inferSomewhere asks the router that serves the model now, and its successor
// if it was replaced meanwhile, as package oip does.
func inferSomewhere(s *serve.Server, model string, req *serve.Request) (*serve.Response, error) {
	for {
		r := s.Router(model)
		resp, err := r.Infer(context.Background(), req)
		if serve.CodeOf(err) == serve.Draining && s.Router(model) != r {
			continue
		}
		return resp, err
	}
}

// start serves one model. Its workers are up.
func start(t *testing.T, opt serve.Options, m serve.Model) *serve.Server {
	t.Helper()
	s, err := serve.New([]serve.Model{m}, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	for !s.Ready() {
		time.Sleep(time.Microsecond)
	}
	return s
}

func TestLoadAndUnload(t *testing.T) {
	repo := &shelf{t: t, names: []string{"other", "m"}}
	first, err := repo.Open(t.Context(), "m")
	if err != nil {
		t.Fatal(err)
	}
	s := start(t, serve.Options{Repository: repo}, first)
	index := func(want ...serve.Entry) {
		t.Helper()
		if diff := cmp.Diff(want, s.Index()); diff != "" {
			t.Errorf("index (-want +got):\n%s", diff)
		}
	}
	other := serve.Entry{Name: "other", State: serve.StateUnavailable, Reason: "not loaded"}
	ready := serve.Entry{Name: "m", Version: "1", State: serve.StateReady}
	index(ready, other)
	if err := s.Load(t.Context(), "other"); err != nil {
		t.Fatal(err)
	}
	index(ready, serve.Entry{Name: "other", Version: "1", State: serve.StateReady})
	if err := s.Unload("m"); err != nil {
		t.Fatal(err)
	}
	if s.Router("m") != nil || !s.Ready() {
		t.Error("an unloaded model is served, or makes the server not ready")
	}
	gone := serve.Entry{Name: "m", State: serve.StateUnavailable, Reason: "unloaded"}
	for s.Index()[0] != gone {
		time.Sleep(time.Millisecond) // its state is UNLOADING until the workers have ended
	}
	if repo.closed.Load() != 1 {
		t.Error("the unloaded model is not closed")
	}
	if err := s.Unload("m"); err != nil {
		t.Errorf("unloaded again: %v", err)
	}
	// A model that can not be read is unavailable, unless an older one serves.
	repo.fail = errors.New("the file is damaged")
	for _, name := range []string{"m", "other"} {
		if err := s.Load(t.Context(), name); serve.CodeOf(err) != serve.Failed || !errors.Is(err, repo.fail) {
			t.Errorf("load %s: %v", name, err)
		}
	}
	index(serve.Entry{Name: "m", State: serve.StateUnavailable, Reason: "the file is damaged"},
		serve.Entry{Name: "other", Version: "1", State: serve.StateReady, Reason: "the file is damaged"})
	for _, err := range []error{s.Load(t.Context(), "none"), s.Unload("none")} {
		if !errors.Is(err, serve.ErrUnknown) {
			t.Errorf("an unknown model: %v", err)
		}
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	repo.fail = nil
	if err := s.Load(t.Context(), "m"); !errors.Is(err, serve.ErrDraining) {
		t.Errorf("load while draining: %v", err)
	}
}

// TestDrainBeforeWorkersAreUp: a server may be shut down while its workers prepare.
func TestDrainBeforeWorkersAreUp(t *testing.T) {
	hold := make(chan struct{})
	m := model(t, constant(1), constant(2))
	s, err := serve.New([]serve.Model{m}, serve.Options{Prepare: func() { <-hold }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := s.Shutdown(ctx); err == nil {
		t.Error("a drain that had no time reports no error")
	}
	close(hold)
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// A server may end with the requests that its first worker gives up as it comes up.
func TestEndsAsAWorkerStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hold := make(chan struct{})
		opt := serve.Options{Policy: "fixed:large", Prepare: func() { <-hold }}
		s, err := serve.New([]serve.Model{model(t, constant(1))}, opt)
		if err != nil {
			t.Fatal(err)
		}
		asked := make(chan error, 1)
		go func() {
			_, err := s.Router("m").Infer(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4), Timeout: 8 * ms})
			asked <- err
		}()
		synctest.Wait()
		ended := make(chan error, 1)
		go func() { ended <- s.Shutdown(t.Context()) }()
		synctest.Wait()
		close(hold)
		if err := <-asked; !errors.Is(err, serve.ErrLate) {
			t.Errorf("8 ms for a subnet of 10 ms: %v", err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// lateContext ends for those who look at it once the channel is closed.
type lateContext struct {
	context.Context
	look chan struct{}
}

func (c lateContext) Done() <-chan struct{} {
	<-c.look
	return c.look
}

func (lateContext) Err() error { return context.Canceled }

// Who withdraws a request that was answered changes nothing, also when its model is gone.
func TestWithdrawnAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := start(t, serve.Options{SLO: time.Second}, model(t, constant(1)))
		ctx := lateContext{t.Context(), make(chan struct{})}
		var wg sync.WaitGroup
		for range 20 { // each looks at the answer first, or at its context
			wg.Go(func() {
				if _, err := s.Router("m").Infer(ctx, &serve.Request{N: 1, Pixels: make([]byte, 4)}); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		if err := s.Unload("m"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		close(ctx.look)
		wg.Wait()
	})
}
