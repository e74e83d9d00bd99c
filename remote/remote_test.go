package remote

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weft/bundle"
	"weft/bus"
	"weft/sched"
	"weft/serve"
)

const (
	testImage   = 4 // values
	testClasses = 2
	testBatch   = 4 // images
)

// testTimings are the latencies that workers report: the subnets small and large take 20 and
// 40 ms whatever the batch; the executors take none of it, so that a slow machine is not late.
func testTimings() []bundle.SubnetTiming {
	ms := func(v float64) []float64 { return slices.Repeat([]float64{v * 1000}, testBatch) }
	return []bundle.SubnetTiming{{Arch: "small", LatencyUS: ms(20)}, {Arch: "large", LatencyUS: ms(40)}}
}

func testProfile(t testing.TB) *sched.Profile {
	t.Helper()
	var subnets []sched.Subnet
	for i, s := range testTimings() {
		sub := sched.Subnet{Name: s.Arch, Accuracy: 0.8 + 0.1*float64(i)}
		for _, us := range s.LatencyUS {
			sub.Latency = append(sub.Latency, time.Duration(us*1000))
		}
		subnets = append(subnets, sub)
	}
	p, err := sched.NewProfile(subnets, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// cluster is a router with workers in this process.
type cluster struct {
	t      testing.TB
	bus    bus.Bus
	server *serve.Server
	digest string
	log    *slog.Logger
}

// newCluster serves a model without workers of its own, published as these bytes.
func newCluster(t testing.TB, raw string) *cluster {
	t.Helper()
	c := &cluster{t: t, bus: bus.NewMemory(), log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	var err error
	if c.digest, err = Publish(t.Context(), c.bus, "m", []byte(raw)); err != nil {
		t.Fatal(err)
	}
	c.server, err = serve.New([]serve.Model{{
		Name: "m", Digest: c.digest, H: 2, W: 2, C: 1, Classes: testClasses, Profile: testProfile(t),
	}}, serve.Options{SLO: time.Second, Log: c.log})
	if err != nil {
		t.Fatal(err)
	}
	var following sync.WaitGroup
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	following.Go(func() {
		if err := Follow(ctx, c.bus, c.server, FleetOptions{Lease: 300 * time.Millisecond, Log: c.log}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := c.server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		stop()
		following.Wait()
		c.bus.Close()
	})
	return c
}

// process is a worker in this process.
type process struct {
	stop  context.CancelFunc
	ended chan error
	load  func(name string, raw []byte) error // may be nil
	run   funcExecutor
}

// work starts a worker with so many slots, whose executors sum each image up.
func (c *cluster) work(id string, slots int, p *process) *process {
	c.t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(c.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(c.t.Context()))
	p.stop, p.ended = stop, make(chan error, 1)
	o := WorkerOptions{
		ID: id, Listener: ln, Slots: slots, Cache: c.t.TempDir(), Log: c.log.With("at", id),
		Load: func(_ context.Context, name, _ string, raw []byte) (*Model, []bundle.SubnetTiming, error) {
			if p.load != nil {
				if err := p.load(name, raw); err != nil {
					return nil, nil, err
				}
			}
			m := &Model{
				Name: name, Subnets: []string{"large", "small"}, Image: testImage, Classes: testClasses, MaxBatch: testBatch,
				Latency: func(int, int) time.Duration { return time.Millisecond },
			}
			for range slots {
				m.Executors = append(m.Executors, p)
			}
			return m, testTimings(), nil
		},
	}
	go func() { p.ended <- Work(ctx, c.bus, o) }()
	c.t.Cleanup(func() {
		stop()
		select {
		case <-p.ended:
		default:
			<-p.ended
		}
	})
	return p
}

// Run implements serve.Executor: class 0 is the sum of the image, class 1 the subnet.
func (p *process) Run(s int, images []float32, n int, logits []float32) error {
	for i := range n {
		sum := float32(0)
		for _, v := range images[i*testImage:][:testImage] {
			sum += v
		}
		logits[i*testClasses], logits[i*testClasses+1] = sum, float32(s)
	}
	if p.run != nil {
		return p.run(s, images, n, logits)
	}
	return nil
}

// awaitReady waits until so many workers are attached.
func (c *cluster) awaitWorkers(n int) {
	c.t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		changed := c.server.Changes()
		if up := c.server.Router("m").Status().Workers; up == n {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.t.Fatalf("%d workers, want %d", c.server.Router("m").Status().Workers, n)
		}
	}
}

// infer sends a request whose sum of values is known and checks the answer.
func (c *cluster) infer(i int, timeout time.Duration) (*serve.Response, error) {
	v := float32(i%100) + 0.25
	if i%2 == 0 {
		v = pixelValue[i%256]
	}
	resp, err := c.server.Router("m").Infer(c.t.Context(), &serve.Request{N: 1, Images: []float32{v, v, 0, 0}, Timeout: timeout})
	if err != nil {
		return nil, err
	}
	want := []float32{v + v, 0}
	if resp.Subnet == "small" {
		want[1] = 1 // the worker has it in second place
	}
	if !slices.Equal(resp.Logits, want) {
		return nil, fmt.Errorf("request %d by %s has logits %v, want %v", i, resp.Subnet, resp.Logits, want)
	}
	return resp, nil
}

// load sends requests from so many clients until stop is called, which returns how many
// were answered. Errors fail the test.
func (c *cluster) load(clients int) (stop func() int64) {
	var all sync.WaitGroup
	var answered atomic.Int64
	done := make(chan struct{})
	for k := range clients {
		all.Go(func() {
			for i := k; ; i += clients {
				select {
				case <-done:
					return
				default:
				}
				if _, err := c.infer(i, 5*time.Second); err != nil {
					c.t.Errorf("request %d: %v", i, err)
					return
				}
				answered.Add(1)
			}
		})
	}
	return func() int64 {
		close(done)
		all.Wait()
		return answered.Load()
	}
}

func TestWorkersAnswer(t *testing.T) {
	c := newCluster(t, "bundle")
	c.work("w1", 2, &process{})
	c.awaitWorkers(2)
	stop := c.load(4)
	c.work("w2", 1, &process{})
	c.awaitWorkers(3)
	time.Sleep(50 * time.Millisecond)
	if n := stop(); n == 0 {
		t.Error("nothing was answered")
	}
}

func TestLeavingWorkerFinishesItsBatch(t *testing.T) {
	c := newCluster(t, "bundle")
	began, goOn := make(chan struct{}), make(chan struct{})
	var runs atomic.Int64
	p := c.work("w1", 1, &process{run: func(int, []float32, int, []float32) error {
		if runs.Add(1) == 1 {
			close(began)
			<-goOn
		}
		return nil
	}})
	c.awaitWorkers(1)
	answer := make(chan error, 1)
	go func() {
		_, err := c.infer(1, 5*time.Second)
		answer <- err
	}()
	<-began
	p.stop()
	select {
	case err := <-p.ended:
		t.Fatalf("the worker left with a batch in it: %v", err)
	case <-time.After(5 * time.Millisecond):
	}
	close(goOn)
	if err := <-answer; err != nil {
		t.Error(err)
	}
	if err := <-p.ended; err != nil {
		t.Error(err)
	}
	p.ended <- nil
	c.awaitWorkers(0)
	if n := runs.Load(); n != 1 {
		t.Errorf("the batch ran %d times", n)
	}
	bucket, err := workers(t.Context(), c.bus)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bucket.Get(t.Context(), "w1"); !errors.Is(err, bus.ErrNotFound) {
		t.Errorf("the registry still has the worker: %v", err)
	}
}
