package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"weft/kernel"
	"weft/nn"
	"weft/search"
	"weft/supernet"
)

// Ways to search.
const (
	bySample     = "sample"     // measured subnets alone
	exhaustively = "exhaustive" // every subnet, as foretold
	byEvolution  = "evolution"
	byNSGA2      = "nsga2"
	automatic    = "auto"
)

var searchMethods = []string{automatic, bySample, exhaustively, byEvolution, byNSGA2}

// exhaustible is up to how many subnets are all looked at by automatic choice.
const exhaustible = 200_000

// enumerable is up to how many subnets are all looked at where that is asked for.
const enumerable = 20_000_000

// What nobody could wait for is a mistake.
const (
	mostBatch    = 1024
	mostPeople   = 10_000
	mostMeasured = 1_000_000
	mostFitted   = 4000 // a predictor takes time that grows with the cube of what it is made from
)

// hunt says how subnets beyond the measured sample are looked for.
type hunt struct {
	method        string
	predictor     string // file to read, "": train one from the sample
	keepPredictor string // file to write
	cost          string
	batch         int // of latencies
	population    int
	generations   int
	confirm       int // subnets of the front that are measured
	plot          string
	limits        search.Limits
	seed          uint64
	trained       supernet.Sampling // subnets that there are to look for

	given    *search.Predictor // that of the file
	table    *search.LatencyTable
	foretold []search.Result // front
}

func defaultHunt() hunt {
	return hunt{method: bySample, cost: "macs", batch: 1, population: 100, generations: 100, confirm: 40}
}

func (h *hunt) flags(f *pflag.FlagSet) {
	f.StringVar(&h.method, "method", h.method, fmt.Sprintf("how to search: %s. Other than sample look at subnets that were not measured, with a predictor made from the sample", strings.Join(searchMethods, ", ")))
	f.StringVar(&h.predictor, "predictor", "", "predictor of accuracy to use (default: make one from the sample)")
	f.StringVar(&h.keepPredictor, "predictor-out", "", "keep the predictor in this file")
	f.StringVar(&h.cost, "cost", h.cost, "what accuracy is weighed against: "+strings.Join(slices.Sorted(maps.Keys(search.Costs)), ", "))
	f.IntVar(&h.batch, "latency-batch", h.batch, "images a batch whose latency counts")
	f.IntVar(&h.population, "population", h.population, "evolution, nsga2: subnets of a generation")
	f.IntVar(&h.generations, "generations", h.generations, "evolution, nsga2: generations")
	f.IntVar(&h.confirm, "confirm", h.confirm, "subnets of the front that was foretold to measure")
	f.StringVar(&h.plot, "plot", "", "draw the front into this SVG file: as it is foretold while it is looked for, and as measured in the end")
	f.IntVar(&h.limits.MACs, "max-macs", 0, "most multiply-accumulates of a subnet (0: any)")
	f.IntVar(&h.limits.Params, "max-params", 0, "most parameters (0: any)")
	f.IntVar(&h.limits.Memory, "max-memory", 0, "most bytes of parameters and activations of an image (0: any)")
	f.DurationVar(&h.limits.Latency, "max-latency", 0, "longest latency of a batch of --latency-batch images on this machine (0: any)")
	f.Float64Var(&h.limits.Accuracy, "min-accuracy", 0, "least validation accuracy, 0..1")
}

func (h *hunt) validate() error {
	switch {
	case !slices.Contains(searchMethods, h.method):
		return usagef("--method %s: choose one of %s", h.method, strings.Join(searchMethods, ", "))
	case search.Costs[h.cost] == nil:
		return usagef("--cost %s: choose one of %s", h.cost, strings.Join(slices.Sorted(maps.Keys(search.Costs)), ", "))
	case h.batch < 1 || h.batch > mostBatch:
		return usagef("--latency-batch %d: choose 1 to %d", h.batch, mostBatch)
	case h.population < 4 || h.population > mostPeople:
		return usagef("--population %d: choose 4 to %d", h.population, mostPeople)
	case h.generations < 1 || h.generations > mostPeople:
		return usagef("--generations %d: choose 1 to %d", h.generations, mostPeople)
	case h.confirm < 0 || h.confirm > mostMeasured:
		return usagef("--confirm %d: choose 0 to %d", h.confirm, mostMeasured)
	case h.limits.MACs < 0 || h.limits.Params < 0 || h.limits.Memory < 0 || h.limits.Latency < 0:
		return usagef("limits are not negative: 0 leaves one out")
	case !(h.limits.Accuracy >= 0 && h.limits.Accuracy <= 1):
		return usagef("--min-accuracy %g: give a fraction in 0..1", h.limits.Accuracy)
	}
	if err := h.unused(); err != nil {
		return err
	}
	for _, path := range []string{h.keepPredictor, h.plot} {
		if path == "" {
			continue
		}
		if err := writable(path); err != nil {
			return err
		}
	}
	if h.predictor == "" {
		return nil
	}
	var err error
	h.given, err = search.ReadPredictor(h.predictor)
	return err
}

// unused finds options that the method would leave aside.
func (h *hunt) unused() error {
	def := defaultHunt()
	evolves := h.method == automatic || h.method == byEvolution || h.method == byNSGA2
	for _, option := range []struct {
		given bool
		flag  string
		used  bool
		where string
	}{
		{h.predictor != "", "--predictor", h.method != bySample, "another --method than sample"},
		{h.keepPredictor != "", "--predictor-out", h.method != bySample, "another --method than sample"},
		{h.confirm != def.confirm, "--confirm", h.method != bySample, "another --method than sample"},
		{h.population != def.population, "--population", evolves, "--method evolution or nsga2"},
		{h.generations != def.generations, "--generations", evolves, "--method evolution or nsga2"},
		{h.batch != def.batch, "--latency-batch", h.timed(), "--cost latency or --max-latency"},
	} {
		if option.given && !option.used {
			return usagef("%s has a meaning with %s alone", option.flag, option.where)
		}
	}
	return nil
}

// timed reports whether latencies matter.
func (h *hunt) timed() bool { return h.cost == "latency" || h.limits.Latency > 0 }

// measureLatencies makes the table of latencies where they matter, and says how good it is.
func (h *hunt) measureLatencies(ctx context.Context, net *supernet.Supernet, pool *kernel.Pool, errw io.Writer) (err error) {
	if !h.timed() {
		return nil
	}
	if _, err := fmt.Fprintf(errw, "latencies: measuring the operations of %s for batches of %d\n", net.Space.Name, h.batch); err != nil {
		return err
	}
	if h.table, err = search.MeasureLatencies(ctx, net, pool, h.batch, h.seed, time.Now); err != nil {
		return err
	}
	errs, err := h.table.Errors(ctx, net, pool, 20, h.seed, time.Now)
	if err != nil {
		return err
	}
	mean, worst := 0.0, 0.0
	for _, e := range errs {
		mean, worst = mean+math.Abs(e)/float64(len(errs)), max(worst, math.Abs(e))
	}
	_, err = fmt.Fprintf(errw, "latencies: %d operations seen in %d subnets; 20 whole subnets are foretold within %.1f %% in the mean, %.1f %% at the worst\n",
		h.table.Operations(), h.table.Subnets, 100*mean, 100*worst)
	return err
}

// costs fills in what a result costs beside multiply-accumulates and parameters.
func (h *hunt) costs(r *search.Result, g *nn.Graph) error {
	r.Memory = search.Memory(g)
	if h.table == nil {
		return nil
	}
	took, ok := h.table.Latency(g)
	if !ok {
		return fmt.Errorf("the latency of a subnet is not known: it has an operation that none of %d others has", h.table.Subnets)
	}
	r.Latency = took
	return nil
}

// feasible settles the method where that is left to it, and finds what the search of a space would fail for once so many subnets
// of weights with that digest are measured.
func (h *hunt) feasible(space *supernet.Space, subnets int, digest string) error {
	g, err := space.Lower(space.Conform(space.Min(), h.trained))
	if err != nil {
		return err
	}
	for _, limit := range []struct {
		flag        string
		least, most int
	}{
		{"--max-macs", g.MACs(), h.limits.MACs}, {"--max-params", g.Params(), h.limits.Params}, {"--max-memory", search.Memory(g), h.limits.Memory},
	} {
		if limit.most > 0 && limit.least > limit.most {
			return usagef("%s %d: even the smallest subnet takes %d", limit.flag, limit.most, limit.least)
		}
	}
	if h.method == bySample {
		return nil
	}
	all, size := h.exhausted(space, subnets), space.Size()
	if h.method == automatic {
		switch {
		case all:
			h.method = bySample
			return nil
		case size.IsInt64() && size.Int64() <= exhaustible:
			h.method = exhaustively
		default:
			h.method = byNSGA2
		}
	}
	switch {
	case all:
		return usagef("--method %s: all %d networks of space %s are measured, there are no others to look for; choose --method sample", h.method, subnets, space.Name)
	case h.method == exhaustively && (!size.IsInt64() || size.Int64() > enumerable):
		return usagef("--method exhaustive: space %s has %.3g subnets, too many to look at each; choose evolution or nsga2", space.Name, new(big.Float).SetInt(size))
	case h.given != nil:
		if err := h.given.Fits(space, digest); err != nil {
			return fmt.Errorf("%s: %w", h.predictor, err)
		}
	case subnets > mostFitted:
		return usagef("%d subnets are more than a predictor is made from, at most %d; lower --samples, or give a --predictor", subnets, mostFitted)
	case subnets < search.LeastSamples:
		return usagef("%d subnets to measure are too few to predict others from: raise --samples by %d", subnets, search.LeastSamples-subnets)
	}
	return nil
}

// exhausted reports whether all networks of a space that were trained are among so many measured. It says no of spaces too large to
// count.
func (h *hunt) exhausted(space *supernet.Space, measured int) bool {
	if size := space.Size(); !size.IsInt64() || size.Int64() > exhaustible {
		return false
	}
	seen := map[supernet.Arch]bool{}
	for a := range space.All() {
		if a == space.Conform(a, h.trained) {
			seen[space.Canonical(a)] = true
		}
		if len(seen) > measured {
			return false
		}
	}
	return true
}

// find returns subnets that are worth measuring: those on the front as it is foretold that were not measured yet.
func (h *hunt) find(ctx context.Context, space *supernet.Space, sample []search.Result, data, digest string, bars *progress, errw io.Writer) ([]supernet.Arch, error) {
	if h.method == bySample {
		return nil, nil
	}
	p, err := h.predict(ctx, space, sample, data, digest, errw)
	if err != nil {
		return nil, err
	}
	measured := byNetwork(space, sample)
	problem := &search.Problem{Space: space, Trained: h.trained, Cost: search.Costs[h.cost], Limits: h.limits, Judge: func(r *search.Result, g *nn.Graph) error {
		var ok bool
		if r.Accuracy, ok = measured[space.Canonical(r.Arch)]; !ok {
			r.Accuracy = p.Predict(r.Arch)
		}
		return h.costs(r, g)
	}}
	front, err := h.solve(ctx, problem, bars)
	if errors.Is(err, search.ErrNoneFits) {
		return nil, nil // one of the sample may
	}
	if err != nil {
		return nil, err
	}
	var fresh []supernet.Arch
	for _, r := range front {
		if _, ok := measured[space.Canonical(r.Arch)]; !ok {
			fresh = append(fresh, r.Arch)
		}
	}
	archs := make([]supernet.Arch, min(h.confirm, len(fresh)))
	for i := range archs { // spread evenly, from the most accurate down
		archs[i] = fresh[len(fresh)-1-i*(len(fresh)-1)/max(len(archs)-1, 1)]
	}
	return archs, nil
}

// byNetwork returns the accuracies by canonical architectures: other choices than those that were measured may come to the same
// network.
func byNetwork(space *supernet.Space, sample []search.Result) map[supernet.Arch]float64 {
	measured := make(map[supernet.Arch]float64, len(sample))
	for _, r := range sample {
		measured[space.Canonical(r.Arch)] = r.Accuracy
	}
	return measured
}

// predict returns the given predictor, or makes one from the sample, a fifth of which judges it first.
func (h *hunt) predict(ctx context.Context, space *supernet.Space, sample []search.Result, data, digest string, errw io.Writer) (p *search.Predictor, err error) {
	if p = h.given; p != nil {
		return p, h.tell(p, errw)
	}
	if p, err = search.TrainAndTest(ctx, space, sample, h.seed); err != nil {
		return nil, err
	}
	p.From(data, digest)
	return p, h.tell(p, errw)
}

// tell says how good the predictor is and keeps it where that is asked for.
func (h *hunt) tell(p *search.Predictor, errw io.Writer) error {
	if f := p.Fit(); f.Held > 0 {
		fmt.Fprintf(errw, "predictor: %d subnets; on %d held out Kendall's τ %.3f, RMSE %.2f points\n", f.Samples, f.Held, f.Tau, 100*f.RMSE)
	}
	if h.keepPredictor == "" {
		return nil
	}
	return p.Write(h.keepPredictor)
}

// solve looks for the front and draws it on the way.
func (h *hunt) solve(ctx context.Context, p *search.Problem, bars *progress) (front []search.Result, err error) {
	var bar *job
	defer func() {
		if bar != nil {
			bar.End()
		}
	}()
	var drawn error
	e := search.Evolution{Population: h.population, Generations: h.generations, Seed: h.seed, Observe: func(done, total int, front []search.Result) {
		if bar == nil {
			bar = bars.Start(h.method, "generations", int64(done-1), int64(total))
		}
		bar.Note("%s", spanOf(front, p.Cost, h.cost))
		bar.Add(1)
		if h.foretold = front; drawn == nil && len(front) > 0 && done%10 == 0 {
			drawn = h.draw(nil, nil)
		}
	}}
	switch h.method {
	case exhaustively:
		size := p.Space.Size().Int64()
		bar = bars.Start(h.method, "subnets", 0, size)
		last := 0
		front, err = p.Exhaustive(ctx, func(done int) { bar.Add(int64(done - last)); last = done })
		if err == nil {
			bar.Add(size - int64(last))
		}
		bar.Note("%s", spanOf(front, p.Cost, h.cost))
	case byEvolution:
		front, err = p.Evolve(ctx, e)
	default:
		front, err = p.NSGA2(ctx, e)
	}
	h.foretold = front
	if err == nil {
		err = cmp.Or(drawn, h.draw(nil, nil))
	}
	return front, err
}
