package search

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"weft/kernel"
	"weft/nn"
	"weft/supernet"
)

// LatencyTable foretells how long a batch takes in any subnet on this machine, as the sum of
// its operations' times, each of which was measured within some subnet: where it finds its
// inputs, and the caches, as it would in others.
type LatencyTable struct {
	Batch int
	space *supernet.Space
	first time.Duration // normalisation of the pixels
	times map[operation]time.Duration
	// Subnets is how many were run to see every operation.
	Subnets int
}

// operation is what the time of an operation depends on.
type operation struct {
	kind           nn.Kind
	layer          int
	in, out        int // channels
	k, hidden      int
	residual       bool
	height, stride int
}

func describe(g *nn.Graph, op *nn.Op) operation {
	in, out := g.Values[op.In], g.Values[op.Out]
	return operation{op.Kind, op.Layer, in.C, out.C, op.K, op.Hidden, op.Res >= 0, in.H, op.Stride}
}

// Measuring a table: subnets are drawn until so many in a row have brought no operation that was not seen, and each of those
// that did is run for so long, at least so often.
const (
	tablePatience = 2000
	tableTime     = 30 * time.Millisecond
	tableRounds   = 5
)

// MeasureLatencies makes the table for batches of so many images on the pool's threads.
func MeasureLatencies(ctx context.Context, net *supernet.Supernet, pool *kernel.Pool, batch int, seed uint64, now func() time.Time) (*LatencyTable, error) {
	archs, err := covering(ctx, net.Space, seed)
	if err != nil {
		return nil, err
	}
	t := &LatencyTable{Batch: batch, Subnets: len(archs), space: net.Space, times: map[operation]time.Duration{}}
	clock := clockTime(now)
	lab := newBench(net, pool, batch, now)
	for n, a := range archs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g, err := net.Space.Lower(a)
		if err != nil {
			return nil, err
		}
		layers, err := lab.layers(a)
		if err != nil {
			return nil, err
		}
		if first := max(layers[0]-clock, 0); n == 0 || first < t.first {
			t.first = first
		}
		for i := range g.Ops {
			id, took := describe(g, &g.Ops[i]), max(layers[i+1]-clock, 0)
			if old, ok := t.times[id]; !ok || took < old {
				t.times[id] = took
			}
		}
	}
	return t, nil
}

// covering draws subnets that have every operation of the space between them, the ends of the
// space first.
func covering(ctx context.Context, space *supernet.Space, seed uint64) ([]supernet.Arch, error) {
	rng := rand.New(rand.NewPCG(seed, 0x1a7e))
	seen := map[operation]bool{}
	var archs []supernet.Arch
	draw := []supernet.Arch{space.Min(), space.Max()}
	for idle := 0; idle < tablePatience; idle++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		a := space.Sample(rng, supernet.Sampling{ElasticKernel: true})
		if len(draw) > 0 {
			a, draw = draw[0], draw[1:]
		}
		g, err := space.Lower(a)
		if err != nil {
			return nil, err
		}
		known := len(seen)
		for i := range g.Ops {
			seen[describe(g, &g.Ops[i])] = true
		}
		if len(seen) > known {
			archs, idle = append(archs, a), -1
		}
	}
	return archs, nil
}

// Operations is how many the table holds.
func (t *LatencyTable) Operations() int { return len(t.times) }

// Latency foretells the time of a batch in the subnet of that graph. It reports false if
// some operation was never seen.
func (t *LatencyTable) Latency(g *nn.Graph) (time.Duration, bool) {
	sum := t.first
	for i := range g.Ops {
		took, ok := t.times[describe(g, &g.Ops[i])]
		if !ok {
			return 0, false
		}
		sum += took
	}
	return sum, true
}

// Errors compares the table with n random subnets that are run whole, and returns by what part
// of the measured time each was foretold too long.
func (t *LatencyTable) Errors(ctx context.Context, net *supernet.Supernet, pool *kernel.Pool, n int, seed uint64, now func() time.Time) ([]float64, error) {
	rng := rand.New(rand.NewPCG(seed, 0xc4ec))
	lab := newBench(net, pool, t.Batch, now)
	var errs []float64
	for len(errs) < n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		a := t.space.Sample(rng, supernet.Sampling{ElasticKernel: true, Coupled: len(errs)%2 == 1})
		g, err := t.space.Lower(a)
		if err != nil {
			return nil, err
		}
		took, err := lab.whole(a)
		if err != nil {
			return nil, err
		}
		foretold, ok := t.Latency(g)
		if !ok {
			continue
		}
		errs = append(errs, float64(foretold)/float64(took)-1)
	}
	return errs, nil
}

// bench runs subnets of a supernet, whose statistics do not matter to their speed.
type bench struct {
	net    *supernet.Supernet
	worker *supernet.Worker
	batch  int
	now    func() time.Time
	images []float32
}

func newBench(net *supernet.Supernet, pool *kernel.Pool, batch int, now func() time.Time) *bench {
	b := &bench{net: net, worker: supernet.NewWorker(pool), batch: batch, now: now}
	b.images = make([]float32, batch*net.Space.Input.Size())
	for i := range b.images {
		b.images[i] = float32(i%251) / 250
	}
	return b
}

func (b *bench) plan(a supernet.Arch) (*supernet.Plan, error) {
	return supernet.NewTable(b.net, b.net.Neutral(a)).Plan(a)
}

// layers returns the shortest time of each operation of the subnet, the normalisation of the
// pixels first.
func (b *bench) layers(a supernet.Arch) ([]time.Duration, error) {
	p, err := b.plan(a)
	if err != nil {
		return nil, err
	}
	start := b.now()
	b.worker.Layers(p, b.images, b.batch, 1, b.now)
	var times []time.Duration
	for _, l := range b.worker.Layers(p, b.images, b.batch, rounds(b.now().Sub(start)), b.now) {
		times = append(times, l.Time)
	}
	return times, nil
}

// rounds is how often something that took so long is to be repeated.
func rounds(took time.Duration) int {
	return min(max(int(tableTime/max(took, 1)), tableRounds), 500)
}

// whole returns the shortest time of the subnet.
func (b *bench) whole(a supernet.Arch) (time.Duration, error) {
	p, err := b.plan(a)
	if err != nil {
		return 0, err
	}
	b.worker.Reserve(p, b.batch)
	logits := make([]float32, b.batch*p.Classes)
	run := func() time.Duration {
		start := b.now()
		b.worker.Run(p, b.images, b.batch, logits)
		return b.now().Sub(start)
	}
	best := run()
	for range rounds(best) {
		best = min(best, run())
	}
	return best, nil
}

// clockTime is how long it takes to read the clock, which is read after every operation.
func clockTime(now func() time.Time) time.Duration {
	var took []time.Duration
	for range 9 {
		start := now()
		for range 999 {
			now()
		}
		took = append(took, now().Sub(start)/1000)
	}
	slices.Sort(took)
	return took[len(took)/2]
}
