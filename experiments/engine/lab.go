package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"weft/bundle"
	"weft/experiments/kept"
	"weft/oip"
	"weft/sched"
	"weft/serve"
	"weft/supernet"
	"weft/workload"
)

// Machine is what was measured before the loads. Rates are of requests a second, with the
// smallest subnet in full batches.
type Machine struct {
	Kernel  float64  `json:"kernel_per_s"` // of computing alone
	Server  float64  `json:"server_per_s"` // of the whole server, with clients that wait for their answers
	Subnets []Timing `json:"subnets"`
}

// Timing is a subnet as it was measured.
type Timing struct {
	Name      string    `json:"name"`
	Accuracy  float64   `json:"accuracy"`
	LatencyUS []float64 `json:"latency_us"` // of 1, 2, 4, ... requests
}

// lab is where loads are run.
type lab struct {
	*Options
	machine Machine
	model   serve.Model
}

// modelName is that of the model on the servers.
const modelName = "model"

// newLab measures the machine, unless that was kept.
func newLab(ctx context.Context, o *Options, measured *kept.Store[string, Machine]) (*lab, error) {
	l := &lab{Options: o}
	m, ok, err := measured.Get(modelName)
	if err != nil {
		return nil, err
	}
	if !ok {
		if m.Subnets, err = l.latencies(ctx); err != nil {
			return nil, err
		}
	}
	if l.model, err = serve.Local(modelName, o.Bundle, l.profile(m.Subnets), []*supernet.Worker{o.Worker}); err != nil {
		return nil, err
	}
	l.machine = m
	if ok {
		return l, nil
	}
	p := l.model.Profile
	for i := range p.Subnets {
		l.machine.Kernel = max(l.machine.Kernel, float64(l.Batch)/p.Latency(i, p.MaxBatch).Seconds())
	}
	if l.machine.Server, err = l.capacity(ctx); err != nil {
		return nil, err
	}
	return l, measured.Put(modelName, l.machine)
}

// sizes returns the batches to measure, in requests: 1, 2, 4, ... and a full one.
func (l *lab) sizes() (all []int) {
	for b := 1; b < l.Batch; b *= 2 {
		all = append(all, b)
	}
	return append(all, l.Batch)
}

// rounds is how many times each latency is measured. The lower quartile counts: what
// disturbs the machine only makes it slower, and the scheduler learns by how much.
const rounds = 24

// latencies measures every subnet at every size. Rounds go over all of them in turn, so that
// a disturbance of the machine spreads over many.
func (l *lab) latencies(ctx context.Context) ([]Timing, error) {
	plans, err := serve.Plans(l.Bundle, l.Tuning)
	if err != nil {
		return nil, err
	}
	most := l.Query * l.Batch
	images := make([]float32, most*plans[0].Input.Size())
	logits := make([]float32, most*plans[0].Classes)
	took := make([][][]float64, len(plans))
	for range rounds {
		for i, p := range plans {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			l.Worker.Run(p, images, l.Query, logits) // brings the weights into the caches
			for k, b := range l.sizes() {
				start := time.Now()
				l.Worker.Run(p, images, b*l.Query, logits)
				if len(took[i]) <= k {
					took[i] = append(took[i], nil)
				}
				took[i][k] = append(took[i][k], float64(time.Since(start))/float64(time.Microsecond))
			}
		}
	}
	timings := make([]Timing, len(plans))
	for i, s := range l.Bundle.Points() {
		timings[i] = Timing{Name: s.Name(), Accuracy: s.Accuracy}
		for _, d := range took[i] {
			slices.Sort(d)
			timings[i].LatencyUS = append(timings[i].LatencyUS, d[len(d)/4])
		}
	}
	return timings, nil
}

// profile has a latency for every number of images: between the measured sizes they are
// interpolated, below the first they are that one's, as no batch is smaller.
func (l *lab) profile(timings []Timing) *bundle.Profile {
	p := &bundle.Profile{Tuning: l.Tuning}
	sizes := l.sizes()
	for _, t := range timings {
		s := bundle.SubnetTiming{Arch: t.Name}
		for n := 1; n <= l.Batch*l.Query; n++ {
			b := max(float64(n)/float64(l.Query), 1)
			k, _ := slices.BinarySearchFunc(sizes, b, func(size int, b float64) int {
				if float64(size) < b {
					return -1
				}
				return 1
			})
			us := t.LatencyUS[k]
			if k > 0 {
				from, to := float64(sizes[k-1]), float64(sizes[k])
				us = t.LatencyUS[k-1] + (us-t.LatencyUS[k-1])*(b-from)/(to-from)
			}
			s.LatencyUS = append(s.LatencyUS, us)
		}
		p.Subnets = append(p.Subnets, s)
	}
	return p
}

// with calls f with a client of a server that runs until f returns.
func (l *lab) with(ctx context.Context, policy string, f func(*oip.ClientModel) error) error {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	s, err := serve.New([]serve.Model{l.model}, serve.Options{
		Policy: policy, SLO: l.SLO, Sched: sched.Options{Margin: l.Margin}, Prepare: l.Prepare,
	})
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	h := oip.NewHandler(s, oip.Options{FixedModels: true})
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(serving, ln, h) }()
	client, err := oip.Dial("http://"+ln.Addr().String(), oip.ClientOptions{})
	if err != nil {
		return errors.Join(err, h.Serve(serving, ln, h))
	}
	defer client.Close()
	m, err := client.Model(ctx, modelName)
	if err == nil {
		err = f(m)
	}
	stop()
	return errors.Join(err, <-ended)
}

// closedLoop has so many clients send one request after the other for a time, and returns
// the rate of answers, the first quarter of the time left out.
func (l *lab) closedLoop(ctx context.Context, m *oip.ClientModel, clients int, length time.Duration) (float64, error) {
	var answers atomic.Int64
	var failed error
	var once sync.Once
	var all sync.WaitGroup
	start := time.Now()
	for range clients {
		all.Go(func() {
			s := sender{l, m}
			for i := 0; time.Since(start) < length && ctx.Err() == nil; i++ {
				reply, err := s.Send(ctx, i, serve.MaxTimeout)
				if err != nil {
					once.Do(func() { failed = err })
					return
				}
				if reply.Status == workload.Answered && time.Since(start) > length/4 {
					answers.Add(1)
				}
			}
		})
	}
	all.Wait()
	if failed == nil {
		failed = ctx.Err()
	}
	return float64(answers.Load()) / (0.75 * length.Seconds()), failed
}

// capacity returns how many requests a second the server gets through with the smallest
// subnet: the least of five tries of a second each, or of the length of the loads, as the
// speed of a shared machine changes by a quarter from one second to the next.
func (l *lab) capacity(ctx context.Context) (float64, error) {
	var rates [5]float64
	for i := range rates {
		err := l.with(ctx, smallest, func(m *oip.ClientModel) (err error) {
			rates[i], err = l.closedLoop(ctx, m, 4*l.Batch, min(l.Length, time.Second))
			return err
		})
		if err != nil {
			return 0, err
		}
	}
	least := slices.Min(rates[:])
	if least == 0 {
		return 0, errors.New("the server answered nothing in that time: the machine is too busy")
	}
	return least, nil
}

// warmUp is for how long a server is called before the load comes: connections are made, and
// the scheduler learns how latencies compare to those measured.
const warmUp = 500 * time.Millisecond

// run puts a load on a server of its own.
func (l *lab) run(ctx context.Context, policy string, arrivals []time.Duration) (row Row, err error) {
	runtime.GC()
	err = l.with(ctx, policy, func(m *oip.ClientModel) error {
		if _, err := l.closedLoop(ctx, m, 4*l.Batch, min(l.Length/2, warmUp)); err != nil {
			return fmt.Errorf("warm up: %w", err)
		}
		outcomes, err := workload.Run(ctx, workload.Config{Arrivals: arrivals, SLO: l.SLO, Sender: sender{l, m}})
		if err != nil {
			return err
		}
		s := workload.Account(outcomes, 0)
		row = Row{
			Requests: s.Sent, Attainment: s.Attainment, Accuracy: s.MeanAccuracy, Effective: s.MeanAccuracyAll,
			Dropped: s.Dropped, Late: s.Late, Failed: s.Failed, P50: s.LatencyMS.P50, P99: s.LatencyMS.P99, LagP99: s.LagMS.P99,
		}
		return nil
	})
	return row, err
}

// sender sends the images in turns; it implements workload.Sender.
type sender struct {
	*lab
	model *oip.ClientModel
}

// Send sends request i.
func (s sender) Send(ctx context.Context, i int, left time.Duration) (workload.Reply, error) {
	size := s.lab.model.ImageSize()
	first := i * s.Query % (len(s.Images)/size - s.Query + 1)
	req := serve.Request{
		N: s.Query, Pixels: s.Images[first*size : (first+s.Query)*size], Timeout: min(max(left, time.Microsecond), serve.MaxTimeout),
	}
	reply := workload.Reply{Images: s.Query, Correct: -1}
	var resp serve.Response
	if err := s.model.InferInto(ctx, &req, &resp); err != nil {
		if code := serve.CodeOf(err); code == serve.Late || code == serve.Full {
			reply.Status = workload.Dropped
			return reply, nil
		}
		return reply, err
	}
	reply.Subnet, reply.Accuracy, reply.BatchSize = resp.Subnet, resp.Accuracy, resp.Batch
	reply.Queue, reply.Compute = resp.Queue, resp.Compute
	return reply, nil
}
