package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"weft/remote/wire"
	"weft/serve"
)

// A batch that hangs is run by another worker, the answer that comes at last is dropped, and
// the worker is used again.
func TestOverdueBatchIsRunElsewhere(t *testing.T) {
	c := newCluster(t, "bundle")
	var hung, runs atomic.Int64
	goOn := make(chan struct{})
	hang := &process{run: func(_ int, _ []float32, _ int, logits []float32) error {
		if runs.Add(1) == 1 {
			hung.Add(1)
			<-goOn
			clear(logits) // a wrong answer, which nobody may see
		}
		return nil
	}}
	c.work("hangs", 1, hang)
	c.awaitWorkers(1)
	answer := make(chan error, 1)
	start := time.Now()
	go func() {
		_, err := c.infer(1, 5*time.Second)
		answer <- err
	}()
	for hung.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	c.work("helps", 1, &process{})
	if err := <-answer; err != nil {
		t.Fatal(err)
	}
	t.Logf("answered after %v", time.Since(start))
	c.awaitWorkers(1)
	close(goOn)
	c.awaitWorkers(2)
	stop := c.load(4)
	deadline := time.Now().Add(5 * time.Second)
	for runs.Load() < 3 && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	stop()
	if runs.Load() < 3 {
		t.Error("the worker that hung is not used again")
	}
}

// A model that fails or panics fails its batch alone.
func TestFailureOfAModelIsNoLossOfItsWorker(t *testing.T) {
	c := newCluster(t, "bundle")
	fail := atomic.Int64{}
	c.work("w", 1, &process{run: func(int, []float32, int, []float32) error {
		switch fail.Add(1) {
		case 1:
			return errors.New("out of paper")
		case 2:
			panic("on fire")
		}
		return nil
	}})
	c.awaitWorkers(1)
	for _, want := range []string{"out of paper", "on fire"} {
		if _, err := c.infer(1, time.Second); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := c.infer(1, time.Second); err != nil {
		t.Error(err)
	}
}

// The router finds a worker again that comes back under its old name at another address.
func TestWorkerComesBack(t *testing.T) {
	c := newCluster(t, "bundle")
	stop := c.load(2)
	for range 3 {
		p := c.work("w", 1, &process{})
		c.awaitWorkers(1)
		p.stop()
		if err := <-p.ended; err != nil {
			t.Error(err)
		}
		p.ended <- nil
		c.awaitWorkers(0)
	}
	c.work("w", 1, &process{})
	c.awaitWorkers(1)
	if n := stop(); n == 0 {
		t.Error("nothing was answered")
	}
}

// A worker that vanishes from the registry, say as the bus was away for long, runs on.
func TestRegistryForgetsAWorker(t *testing.T) {
	c := newCluster(t, "bundle")
	p := c.work("w", 1, &process{})
	c.awaitWorkers(1)
	bucket, err := workers(t.Context(), c.bus)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		e, err := bucket.Get(t.Context(), "w")
		if err != nil {
			t.Fatal(err)
		}
		if err := bucket.Delete(t.Context(), "w"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
		c.awaitWorkers(1)
		if _, err := c.infer(1, time.Second); err != nil {
			t.Error(err)
		}
		if _, err := bucket.Put(t.Context(), "w", e.Value); err != nil {
			t.Fatal(err)
		}
	}
	p.stop()
	if err := <-p.ended; err != nil {
		t.Error(err)
	}
	p.ended <- nil
	c.awaitWorkers(0)
	c.work("w", 1, &process{})
	c.awaitWorkers(1)
}

// Of two workers of one name the later one stays.
func TestTwoOfOneName(t *testing.T) {
	if testing.Short() {
		t.Skip("waits until the first renews its entry")
	}
	c := newCluster(t, "bundle")
	first := c.work("w", 1, &process{})
	c.awaitWorkers(1)
	c.work("w", 1, &process{})
	select {
	case err := <-first.ended:
		if err == nil || !strings.Contains(err.Error(), "another worker goes by the name w") {
			t.Errorf("the first ends with %v", err)
		}
		first.ended <- nil
	case <-time.After(2 * Registration):
		t.Fatal("both stay")
	}
	c.awaitWorkers(1)
	if _, err := c.infer(1, time.Second); err != nil {
		t.Error(err)
	}
}

func TestDamagedBundleIsNotRun(t *testing.T) {
	c := newCluster(t, "bundle")
	cache := t.TempDir()
	path := filepath.Join(cache, c.digest+".weft")
	if err := os.WriteFile(path, []byte("bundlX"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, raw, err := fetch(t.Context(), c.bus, cache, c.digest); err != nil || string(raw) != "bundle" {
		t.Errorf("a damaged file in the cache: %q, %v; want it fetched again", raw, err)
	}
	if raw, err := os.ReadFile(path); err != nil || string(raw) != "bundle" {
		t.Errorf("the cache holds %q, %v", raw, err)
	}
	missing := digestOf([]byte("another bundle"))
	if _, _, err := fetch(t.Context(), c.bus, cache, missing); err == nil {
		t.Error("a bundle that is nowhere was fetched")
	}
	if _, _, err := fetch(t.Context(), c.bus, cache, "../../etc/passwd"); err == nil {
		t.Error("a digest that is a path was taken")
	}
}

// A worker whose model has another digest than the router's gets no batch of it.
func TestOtherEditionIsNotRun(t *testing.T) {
	c := newCluster(t, "bundle")
	if _, err := Publish(t.Context(), c.bus, "m", []byte("newer bundle")); err != nil {
		t.Fatal(err)
	}
	loaded := make(chan struct{})
	c.work("w", 1, &process{load: func(_ string, raw []byte) error {
		if string(raw) == "newer bundle" {
			close(loaded)
		}
		return nil
	}})
	<-loaded
	if _, err := AwaitProfile(t.Context(), c.bus, digestOf([]byte("newer bundle")), nil); err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	c.awaitWorkers(0)
	if _, err := Publish(t.Context(), c.bus, "m", []byte("bundle")); err != nil {
		t.Fatal(err)
	}
	c.awaitWorkers(1)
	if _, err := c.infer(1, time.Second); err != nil {
		t.Error(err)
	}
}

// A worker says why it does not run a model, and tries again.
func TestModelThatDoesNotLoad(t *testing.T) {
	c := newCluster(t, "bundle")
	var tries atomic.Int64
	c.work("w", 1, &process{load: func(string, []byte) error {
		if tries.Add(1) == 1 {
			return errors.New("no memory")
		}
		return nil
	}})
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	var why string
	p, err := AwaitProfile(ctx, c.bus, c.digest, func(worker, text string) { why = worker + ": " + text })
	if err != nil || len(p.Subnets) != 2 {
		t.Errorf("profile %v, %v", p, err)
	}
	if want := "w: no memory"; why != want {
		t.Errorf("explained %q, want %q", why, want)
	}
	c.awaitWorkers(1)
}

// Who does not know the token, speaks another version or means another worker gets no slot,
// and neither does a second router.
func TestStrangersAreRefused(t *testing.T) {
	exec := funcExecutor(func(int, []float32, int, []float32) error { return nil })
	addr := serveStation(t, testModel(4, 2, exec))
	conn, err := grpc.NewClient("passthrough:///"+addr, dialOptions(insecure.NewCredentials())...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, c := range []struct {
		name, token string
		change      func(*wire.Open)
		code        codes.Code
	}{
		{"token", rand.Text(), func(*wire.Open) {}, codes.Unauthenticated},
		{"no token", "", func(*wire.Open) {}, codes.Unauthenticated},
		{"version", testToken, func(o *wire.Open) { o.Version++ }, codes.FailedPrecondition},
		{"worker", testToken, func(o *wire.Open) { o.Worker = "other" }, codes.NotFound},
		{"slot", testToken, func(o *wire.Open) { o.Slot = 1 }, codes.OutOfRange},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := testOpen()
			c.change(o)
			_, err := newLink(metadata.AppendToOutgoingContext(t.Context(), tokenKey, c.token), conn, o)
			if got := status.Code(err); got != c.code {
				t.Errorf("%v (%v), want %v", got, err, c.code)
			}
		})
	}
	ctx := metadata.AppendToOutgoingContext(t.Context(), tokenKey, testToken)
	first, err := newLink(ctx, conn, testOpen())
	if err != nil {
		t.Fatal(err)
	}
	other := testOpen()
	other.Router = "other"
	if _, err := newLink(ctx, conn, other); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("a second router gets %v", err)
	}
	again, err := newLink(ctx, conn, testOpen())
	if err != nil {
		t.Fatalf("the router that comes back: %v", err)
	}
	<-first.ctx.Done()
	again.close(errGone)
}

// A router that stops reading and writing loses its slot after the lease.
func TestSilenceEndsASession(t *testing.T) {
	m := testModel(4, 2, funcExecutor(func(int, []float32, int, []float32) error { return nil }))
	addr := serveStation(t, m)
	conn, err := grpc.NewClient("passthrough:///"+addr, dialOptions(insecure.NewCredentials())...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx := metadata.AppendToOutgoingContext(t.Context(), tokenKey, testToken)
	stream, err := wire.NewWorkerClient(conn).Work(ctx)
	if err != nil {
		t.Fatal(err)
	}
	o := testOpen()
	o.LeaseMs = 50
	if err := stream.SendMsg(&frame{Frame: wire.Frame{Kind: wire.Kind_OPEN, Open: o}}); err != nil {
		t.Fatal(err)
	}
	var in frame
	if err := stream.RecvMsg(&in); err != nil || in.Kind != wire.Kind_READY {
		t.Fatal(in.Kind, err)
	}
	start := time.Now()
	if err := stream.RecvMsg(&in); status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "silent") {
		t.Errorf("the silent router is told %v", err)
	}
	if took := time.Since(start); took < 40*time.Millisecond {
		t.Errorf("it took %v, less than the lease", took)
	}
	other := testOpen()
	other.Router = "other"
	l, err := newLink(ctx, conn, other)
	if err != nil {
		t.Fatalf("the slot is not free: %v", err)
	}
	l.close(errGone)
}

// muteWorker lends its slot and says nothing more.
type muteWorker struct{ wire.UnimplementedWorkerServer }

func (muteWorker) Work(stream grpc.BidiStreamingServer[wire.Frame, wire.Frame]) error {
	if err := stream.SendMsg(&frame{Frame: wire.Frame{Kind: wire.Kind_READY}}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

// A worker that says nothing is given up after the lease, and its batch with it.
func TestSilentWorkerIsLost(t *testing.T) {
	srv := grpc.NewServer(grpc.ForceServerCodecV2(codec{}))
	wire.RegisterWorkerServer(srv, muteWorker{})
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go srv.Serve(ln)
	defer srv.Stop()
	conn, err := grpc.NewClient("passthrough:///"+ln.Addr().String(), dialOptions(insecure.NewCredentials())...)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l, err := newLink(t.Context(), conn, testOpen())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if failed, lost := l.run(1, 0, 1, make([]float32, 4), make([]float32, 2), time.Hour); failed != nil || !errors.Is(lost, errSilent) {
		t.Errorf("the batch ended with %v, %v", failed, lost)
	}
	if took := time.Since(start); took < 300*time.Millisecond {
		t.Errorf("it took %v and the lease is 500 ms", took)
	}
}

func TestLossIsSaid(t *testing.T) {
	m := testModel(4, 2, funcExecutor(func(int, []float32, int, []float32) error {
		time.Sleep(200 * time.Millisecond)
		return nil
	}))
	l := connect(t, serveStation(t, m), m)
	x := &executor{link: l, worker: "w", model: 1, latencyUS: [][]float64{{1000}}}
	start := time.Now()
	err := x.Run(0, make([]float32, 4), 1, make([]float32, 2))
	took := time.Since(start)
	if !errors.Is(err, serve.ErrWorkerLost) || !errors.Is(err, errOverdue) {
		t.Errorf("error %v", err)
	}
	if want := Patience(time.Millisecond, 16, 1); took < want || took > 100*time.Millisecond+want {
		t.Errorf("given up after %v, want %v", took, want)
	}
	select {
	case <-l.back:
	case <-time.After(5 * time.Second):
		t.Error("the late answer is not noticed")
	}
	if l.speed <= 1 {
		t.Errorf("speed %v after a batch that was late", l.speed)
	}
}
