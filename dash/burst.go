package dash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"weft/serve"
	"weft/workload"
)

// Order asks for a demonstration burst: requests of one random image each,
// generated in the server's process and handed to the model's router.
type Order struct {
	Model string `json:"model"`
	// Shape is steady, gamma gaps of mean 1/Rate, or ramp, where the rate climbs
	// from a tenth of Rate in the first quarter to Rate in the last one.
	Shape   string  `json:"shape"`
	Rate    float64 `json:"rate"` // requests a second
	CV2     float64 `json:"cv2"`  // squared coefficient of variation of the gaps; 1: Poisson
	Seconds float64 `json:"seconds"`
	SLOMS   float64 `json:"slo_ms"` // deadline of each request
	Seed    uint64  `json:"seed"`
}

// Limits of an Order.
const (
	maxBurst   = 2 * time.Minute
	maxOrdered = 300_000 // requests
	maxCV2     = 100
)

// validate returns what is wrong with the order.
func (o *Order) validate() error {
	switch {
	case o.Shape != "steady" && o.Shape != "ramp":
		return fmt.Errorf("shape %q: choose steady or ramp", o.Shape)
	case !(o.Seconds > 0 && o.Seconds <= maxBurst.Seconds()):
		return fmt.Errorf("seconds %v: choose more than 0 and at most %v", o.Seconds, maxBurst.Seconds())
	case !(o.Rate >= 1 && o.Rate*o.Seconds <= maxOrdered):
		return fmt.Errorf("rate %v: choose at least 1 and at most %.0f, so that a burst has no more than %d requests", o.Rate, maxOrdered/o.Seconds, maxOrdered)
	case !(o.CV2 >= 0 && o.CV2 <= maxCV2):
		return fmt.Errorf("cv2 %v: choose 0 to %d", o.CV2, maxCV2)
	case !(o.SLOMS >= 0.1 && o.SLOMS <= float64(serve.MaxTimeout.Milliseconds())):
		return fmt.Errorf("slo_ms %v: choose 0.1 to %d", o.SLOMS, serve.MaxTimeout.Milliseconds())
	}
	return nil
}

// arrivals are those that the order asks for.
func (o *Order) arrivals() []time.Duration {
	length := seconds(o.Seconds)
	if o.Shape == "steady" {
		return workload.Gamma(o.Rate, o.CV2, length, o.Seed)
	}
	from := o.Rate / 10
	return workload.Ramp(from, o.Rate, (o.Rate-from)/(o.Seconds/2), o.CV2, length/4, length, o.Seed)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// Burst is how far a burst has come.
type Burst struct {
	Order
	Running bool `json:"running"`
	Planned int  `json:"planned"` // requests
	Sent    int  `json:"sent"`
	// Of those sent, the others being under way: answered in time, answered late,
	// refused by the server, failed or not sent for want of room.
	Met     int `json:"met"`
	Late    int `json:"late"`
	Refused int `json:"refused"`
	Failed  int `json:"failed"`
	// Accuracy is the mean profiled accuracy of the subnets that answered in time.
	Accuracy  float64   `json:"accuracy"`
	ElapsedS  float64   `json:"elapsed_s"`
	LatencyMS Quantiles `json:"latency_ms"` // once it has ended; P1 is 0
	Error     string    `json:"error,omitempty"`
}

// burster runs one burst at a time.
type burster struct {
	running sync.WaitGroup

	mu     sync.Mutex
	latest *run // nil: none yet
	cancel context.CancelFunc
	closed bool
}

// errBusy refuses a second burst.
var errBusy = errors.New("a burst is running: stop it or wait for its end")

// start runs the order on the router.
func (b *burster) start(ctx context.Context, o Order, r *serve.Router) (*Burst, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, serve.ErrDraining
	case b.latest != nil && b.latest.status().Running:
		return nil, errBusy
	}
	arrivals := o.arrivals()
	b.latest = newRun(o, r, len(arrivals))
	ctx, b.cancel = context.WithCancel(ctx)
	b.running.Go(func() { b.latest.send(ctx, arrivals) })
	return b.latest.status(), nil
}

// stop ends the burst that runs, if one does.
func (b *burster) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.cancel != nil {
		b.cancel()
	}
}

// close ends the burst and takes no other.
func (b *burster) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.stop()
	b.running.Wait()
}

// status returns how far the latest burst has come, or nil.
func (b *burster) status() *Burst {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.latest == nil {
		return nil
	}
	return b.latest.status()
}

// run is one burst; it implements workload.Sender.
type run struct {
	router    *serve.Router
	slo       time.Duration
	pixels    []byte    // images, one after the other
	size      int       // bytes of an image
	began     time.Time // all since then
	responses sync.Pool // of *serve.Response

	mu       sync.Mutex
	state    Burst
	accuracy float64 // sum over state.Met
}

var _ workload.Sender = (*run)(nil)

// differentImages is the number of images that a burst sends in turns.
const differentImages = 16

func newRun(o Order, r *serve.Router, planned int) *run {
	x := &run{
		router: r, slo: time.Duration(o.SLOMS * float64(time.Millisecond)), size: r.Model().ImageSize(),
		began: time.Now(), state: Burst{Order: o, Running: true, Planned: planned},
	}
	x.responses.New = func() any { return new(serve.Response) }
	x.pixels = make([]byte, differentImages*x.size)
	random := rand.New(rand.NewPCG(o.Seed, 0))
	for i := range x.pixels {
		x.pixels[i] = byte(random.Uint32())
	}
	return x
}

// send puts the load on the router and keeps what came of it.
func (x *run) send(ctx context.Context, arrivals []time.Duration) {
	outcomes, err := workload.Run(ctx, workload.Config{Arrivals: arrivals, SLO: x.slo, Sender: x})
	sum := workload.Account(outcomes, 0)
	x.mu.Lock()
	defer x.mu.Unlock()
	s := &x.state
	s.Running, s.ElapsedS = false, time.Since(x.began).Seconds()
	s.Sent, s.Met, s.Late, s.Refused, s.Failed = sum.Sent, sum.Met, sum.Late, sum.Dropped, sum.Failed
	s.Accuracy = sum.MeanAccuracy
	s.LatencyMS = Quantiles{P50: sum.LatencyMS.P50, P99: sum.LatencyMS.P99}
	switch {
	case errors.Is(err, context.Canceled):
		s.Error = "stopped"
	case err != nil:
		s.Error = err.Error()
	case len(sum.Errors) > 0:
		s.Error = sum.Errors[0].Message
	}
}

func (x *run) status() *Burst {
	x.mu.Lock()
	defer x.mu.Unlock()
	s := x.state
	if s.Running {
		s.ElapsedS = time.Since(x.began).Seconds()
		s.Accuracy = x.accuracy / float64(max(s.Met, 1))
	}
	return &s
}

// Send implements workload.Sender.
func (x *run) Send(ctx context.Context, i int, left time.Duration) (workload.Reply, error) {
	x.mu.Lock()
	x.state.Sent++
	x.mu.Unlock()
	first := i % differentImages * x.size
	req := serve.Request{N: 1, Pixels: x.pixels[first : first+x.size], Timeout: max(left, time.Microsecond)}
	resp := x.responses.Get().(*serve.Response)
	defer x.responses.Put(resp)
	err := x.router.InferInto(ctx, &req, resp)
	x.count(resp, err)
	reply := workload.Reply{Images: 1, Correct: -1}
	switch serve.CodeOf(err) {
	case serve.OK:
		reply.Subnet, reply.Accuracy, reply.BatchSize = resp.Subnet, resp.Accuracy, resp.Batch
		reply.Queue, reply.Compute = resp.Queue, resp.Compute
	case serve.Late, serve.Full:
		reply.Status = workload.Dropped
		err = nil
	}
	return reply, err
}

// count adds an answer to the live counts.
func (x *run) count(resp *serve.Response, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch code := serve.CodeOf(err); {
	case code == serve.OK && resp.DeadlineMet:
		x.state.Met++
		x.accuracy += resp.Accuracy
	case code == serve.OK:
		x.state.Late++
	case code == serve.Late || code == serve.Full:
		x.state.Refused++
	default:
		x.state.Failed++
	}
}
