package search

import (
	"cmp"
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat"

	"weft/kernel"
	"weft/nn"
	"weft/supernet"
)

// LatencyTable foretells how long a batch takes in any subnet on this machine, as the sum of
// its operations' times, each of which was measured within some subnet: where it finds its
// inputs, and the caches, as it would in others of about that size.
type LatencyTable struct {
	Batch int
	space *supernet.Space
	first time.Duration              // normalisation of the pixels
	times map[operation][]timeWithin // rising in size
	scale float64                    // of the sum
	// Subnets is how many were run to see every operation.
	Subnets int
}

// timeWithin is what an operation takes in subnets of about a size, which is the logarithm to the base of 2 of the number of
// parameters: the weights of small subnets stay in caches that those of large ones do not fit.
type timeWithin struct {
	size float64
	time time.Duration
	seen int // in so many subnets, of which these are the means
}

func size(g *nn.Graph) float64 { return math.Log2(float64(g.Params())) }

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

// Measuring a table: subnets are drawn until so many in a row have brought nothing new. Those that did
// take turns, so that what disturbs the machine for a moment hits a few runs of each and not all of one.
const (
	tablePatience = 2000
	tableTurns    = 12                   // at most,
	leastTurns    = 2                    // at least, and then
	tableLongest  = 40 * time.Second     // until so much time has passed
	tableTime     = 5 * time.Millisecond // of a subnet in its turn, and one run at least
)

// MeasureLatencies makes the table for batches of so many images on the pool's threads. An operation's time in a subnet is
// its shortest, and the table has the means of those in subnets of a size. All operations are seldom at their best
// at once, so sums are scaled to what the subnets took whole.
func MeasureLatencies(ctx context.Context, net *supernet.Supernet, pool *kernel.Pool, batch int, seed uint64, now func() time.Time) (*LatencyTable, error) {
	archs, err := covering(ctx, net.Space, seed)
	if err != nil {
		return nil, err
	}
	lab, err := newBench(net, pool, batch, archs, now)
	if err != nil {
		return nil, err
	}
	took, layers, err := lab.shortest(ctx, true)
	if err != nil {
		return nil, err
	}
	t := &LatencyTable{Batch: batch, Subnets: len(archs), space: net.Space, scale: 1}
	graphs := make([]*nn.Graph, len(archs))
	for i, a := range archs {
		if graphs[i], err = net.Space.Lower(a); err != nil {
			return nil, err
		}
	}
	t.average(graphs, layers, clockTime(now))
	var ratios []float64
	for i, g := range graphs {
		if sum, ok := t.Latency(g); ok && sum > 0 {
			ratios = append(ratios, float64(took[i])/float64(sum))
		}
	}
	slices.Sort(ratios)
	t.scale = stat.Quantile(0.5, stat.LinInterp, ratios, nil)
	return t, nil
}

// average fills the table with the means of what the operations of subnets took, less what reading the clock takes.
func (t *LatencyTable) average(graphs []*nn.Graph, took [][]time.Duration, clock time.Duration) {
	t.times = map[operation][]timeWithin{}
	for n, g := range graphs {
		t.first += max(took[n][0]-clock, 0)
		size := size(g)
		for i := range g.Ops {
			id := describe(g, &g.Ops[i])
			t.times[id] = merged(t.times[id], timeWithin{size, max(took[n][i+1]-clock, 1), 1})
		}
	}
	t.first /= time.Duration(len(graphs))
}

// merged adds a time to those of an operation: to the one whose size is the same but for the fraction, if there is one.
func merged(times []timeWithin, t timeWithin) []timeWithin {
	at, found := slices.BinarySearchFunc(times, t, func(a, b timeWithin) int {
		return cmp.Compare(math.Floor(a.size), math.Floor(b.size))
	})
	if !found {
		return slices.Insert(times, at, t)
	}
	m := &times[at]
	m.seen++
	m.size += (t.size - m.size) / float64(m.seen)
	m.time += (t.time - m.time) / time.Duration(m.seen)
	return times
}

// covering draws subnets that have every operation of the space between them, the ends of the
// space first, and most operations in subnets of every size that have them.
func covering(ctx context.Context, space *supernet.Space, seed uint64) ([]supernet.Arch, error) {
	rng := rand.New(rand.NewPCG(seed, 0x1a7e))
	seen := map[operation]map[int]bool{}
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
		size := int(size(g))
		unknown, elsewhere := 0, 0
		for i := range g.Ops {
			switch known := seen[describe(g, &g.Ops[i])]; {
			case known == nil:
				unknown++
			case !known[size]:
				elsewhere++
			}
		}
		if unknown == 0 && elsewhere < len(g.Ops)/4 {
			continue
		}
		archs, idle = append(archs, a), -1
		for i := range g.Ops {
			id := describe(g, &g.Ops[i])
			if seen[id] == nil {
				seen[id] = map[int]bool{}
			}
			seen[id][size] = true
		}
	}
	return archs, nil
}

// Operations is how many the table holds.
func (t *LatencyTable) Operations() int { return len(t.times) }

// Latency foretells the time of a batch in the subnet of that graph. It reports false if
// some operation was never seen.
func (t *LatencyTable) Latency(g *nn.Graph) (time.Duration, bool) {
	sum, size := t.first, size(g)
	for i := range g.Ops {
		times, ok := t.times[describe(g, &g.Ops[i])]
		if !ok {
			return 0, false
		}
		sum += within(times, size)
	}
	return time.Duration(t.scale * float64(sum)), true
}

// within returns the time in a subnet of that size, between those of the sizes below and above it.
func within(times []timeWithin, size float64) time.Duration {
	above, _ := slices.BinarySearchFunc(times, size, func(t timeWithin, size float64) int { return cmp.Compare(t.size, size) })
	if above == 0 || above == len(times) {
		return times[min(above, len(times)-1)].time
	}
	a, b := times[above-1], times[above]
	return a.time + time.Duration((size-a.size)/(b.size-a.size)*float64(b.time-a.time))
}

// Errors compares the table with n random subnets that are run whole, and returns by what part
// of the measured time each was foretold too long.
func (t *LatencyTable) Errors(ctx context.Context, net *supernet.Supernet, pool *kernel.Pool, n int, seed uint64, now func() time.Time) ([]float64, error) {
	rng := rand.New(rand.NewPCG(seed, 0xc4ec))
	var archs []supernet.Arch
	var foretold []time.Duration
	for len(archs) < n {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		a := t.space.Sample(rng, supernet.Sampling{ElasticKernel: true, Coupled: len(archs)%2 == 1})
		g, err := t.space.Lower(a)
		if err != nil {
			return nil, err
		}
		if d, ok := t.Latency(g); ok {
			archs, foretold = append(archs, a), append(foretold, d)
		}
	}
	lab, err := newBench(net, pool, t.Batch, archs, now)
	if err != nil {
		return nil, err
	}
	took, _, err := lab.shortest(ctx, false)
	if err != nil {
		return nil, err
	}
	errs := make([]float64, n)
	for i := range errs {
		errs[i] = float64(foretold[i])/float64(took[i]) - 1
	}
	return errs, nil
}

// bench runs subnets of a supernet in turns. Their statistics do not matter to their speed.
type bench struct {
	plans  []*supernet.Plan
	worker *supernet.Worker
	batch  int
	now    func() time.Time
	images []float32
	logits []float32
}

func newBench(net *supernet.Supernet, pool *kernel.Pool, batch int, archs []supernet.Arch, now func() time.Time) (*bench, error) {
	b := &bench{worker: supernet.NewWorker(pool), batch: batch, now: now}
	norms := supernet.Norms{}
	for _, a := range archs {
		maps.Copy(norms, net.Neutral(a))
	}
	table := supernet.NewTable(net, norms)
	for _, a := range archs {
		p, err := table.Plan(a)
		if err != nil {
			return nil, err
		}
		b.plans = append(b.plans, p)
		b.worker.Reserve(p, batch)
	}
	b.logits = make([]float32, batch*b.plans[0].Classes)
	b.images = make([]float32, batch*net.Space.Input.Size())
	for i := range b.images {
		b.images[i] = float32(i%251) / 250
	}
	return b, nil
}

// shortest returns the shortest time of each subnet and, if these are wanted, of the normalisation of its pixels and each of
// its operations. Both are measured in the same turns, so that what slows the machine for a while slows both.
func (b *bench) shortest(ctx context.Context, withLayers bool) (whole []time.Duration, layers [][]time.Duration, err error) {
	whole, layers = make([]time.Duration, len(b.plans)), make([][]time.Duration, len(b.plans))
	runs, start := make([]int, len(b.plans)), b.now()
	for turn := range tableTurns {
		if turn >= leastTurns && b.now().Sub(start) > tableLongest {
			break
		}
		for i, p := range b.plans {
			if err := ctx.Err(); err != nil {
				return nil, nil, err
			}
			b.run(i) // transforms weights the first time, and brings them into the caches
			if turn == 0 {
				whole[i] = b.run(i)
				runs[i] = min(max(int(tableTime/max(whole[i], 1)), 1), 100)
			}
			for range runs[i] {
				whole[i] = min(whole[i], b.run(i))
			}
			if !withLayers {
				continue
			}
			times := b.worker.Layers(p, b.images, b.batch, runs[i], b.now)
			if layers[i] == nil {
				layers[i] = make([]time.Duration, len(times))
			}
			for k, l := range times {
				if turn == 0 || l.Time < layers[i][k] {
					layers[i][k] = l.Time
				}
			}
		}
	}
	return whole, layers, nil
}

// run returns how long a batch takes in a subnet.
func (b *bench) run(i int) time.Duration {
	start := b.now()
	b.worker.Run(b.plans[i], b.images, b.batch, b.logits)
	return b.now().Sub(start)
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
