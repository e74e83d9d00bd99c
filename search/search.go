// Package search answers: which subnets are worth serving? It measures a sample of them,
// each in evaluation mode with statistics of its own, foretells the accuracy of the others
// ([Predictor]) and their latency ([LatencyTable]), and finds those that no other beats in
// both accuracy and cost, by looking at all of them or by evolution ([Problem]).
package search

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"weft/data"
	"weft/kernel"
	"weft/nn"
	"weft/supernet"
)

// Config says how much to search.
type Config struct {
	Samples int               // subnets to measure beside the uniform ones
	Seed    uint64            // of the sample
	Trained supernet.Sampling // which subnets training drew: the others are not worth a look
}

// Result is one subnet measured.
type Result struct {
	Arch     supernet.Arch
	MACs     int
	Params   int
	Memory   int           // bytes of weights and of activations of one image, if known
	Latency  time.Duration // of a batch on this machine, if known
	Accuracy float64       // on the validation images, in evaluation mode after recalibration, or as predicted
}

// Evaluator measures the accuracy of subnets of one supernet in evaluation mode, each
// with statistics recalibrated on training images; statistics that subnets share are
// measured once.
type Evaluator struct {
	Net   *supernet.Supernet
	Norms supernet.Norms
	calib [][]float32
	table *supernet.Table
	exec  *nn.Exec
	work  *supernet.Worker
}

// NewEvaluator returns an evaluator that starts with these statistics and calibrates
// what they lack, adding to them, on these batches of normalised training images; without
// any, subnets that lack some are refused. The weights must not change while it is in use.
func NewEvaluator(net *supernet.Supernet, norms supernet.Norms, calib [][]float32, pool *kernel.Pool) *Evaluator {
	return &Evaluator{
		Net: net, Norms: norms, calib: calib, table: supernet.NewTable(net, norms),
		exec: nn.NewExec(net.W, pool, false), work: supernet.NewWorker(pool),
	}
}

// Evaluate calibrates a subnet where needed and measures it on a split.
func (e *Evaluator) Evaluate(a supernet.Arch, on data.Split) (Result, error) {
	return e.measure(a, on, func(g *nn.Graph) (*supernet.Plan, error) {
		if len(e.calib) > 0 {
			e.Norms.Add(e.exec, g, e.calib)
		}
		return e.table.Plan(a)
	})
}

// measure measures a subnet on a split, by the plan that compile makes of its graph.
func (e *Evaluator) measure(a supernet.Arch, on data.Split, compile func(*nn.Graph) (*supernet.Plan, error)) (Result, error) {
	r := Result{Arch: a}
	g, err := e.Net.Space.Lower(a)
	if err != nil {
		return r, err
	}
	if on.N() == 0 {
		return r, fmt.Errorf("no images to evaluate subnet %s on", e.Net.Space.Format(a))
	}
	p, err := compile(g)
	if err != nil {
		return r, err
	}
	r.MACs, r.Params = g.MACs(), g.Params()
	r.Accuracy = float64(e.work.Correct(p, on.Images, on.Labels)) / float64(on.N())
	return r, nil
}

// Candidates returns the subnets to measure, without repeating a network: the smallest and the largest, the uniform
// ones and a sample that covers the range of costs evenly on a log scale, all of them among those that were trained.
func Candidates(space *supernet.Space, c Config) ([]supernet.Arch, error) {
	seen := map[supernet.Arch]bool{}
	var archs []supernet.Arch
	add := func(a supernet.Arch) (int, bool, error) {
		g, err := space.Lower(a)
		if err != nil {
			return 0, false, err
		}
		id := space.Canonical(a)
		fresh := !seen[id]
		seen[id] = true
		return g.MACs(), fresh, nil
	}
	lo, hi := math.Inf(1), 0.0
	for _, a := range append(space.Uniform(), space.Min(), space.Max()) {
		a = space.Conform(a, c.Trained)
		m, fresh, err := add(a)
		if err != nil {
			return nil, err
		}
		lo, hi = min(lo, float64(m)), max(hi, float64(m))
		if fresh {
			archs = append(archs, a)
		}
	}
	rng := rand.New(rand.NewPCG(c.Seed, 0x5ea4c4))
	uniform := len(archs)
	const bins = 10
	var filled [bins]int
	var spare []supernet.Arch // drawn from bins that were full
	const patience = 10_000   // draws without a new network: the space has hardly more
	for tries, idle := 0, 0; len(archs) < uniform+c.Samples && tries < 100*c.Samples && idle < patience; tries++ {
		how := c.Trained
		how.Coupled = how.Coupled || tries%2 == 1
		a := space.Sample(rng, how)
		m, fresh, err := add(a)
		if err != nil {
			return nil, err
		}
		if idle++; fresh {
			idle = 0
		}
		bin := min(int(bins*math.Log(float64(m)/lo)/math.Log(hi/lo+1e-9)), bins-1)
		if fresh && filled[bin] <= slices.Min(filled[:])+tries/(10*bins) {
			filled[bin]++
			archs = append(archs, a)
		} else if fresh && len(spare) < c.Samples {
			spare = append(spare, a)
		}
	}
	return append(archs, spare[:min(uniform+c.Samples-len(archs), len(spare))]...), nil
}

// Within returns the results that keep the limits.
func Within(results []Result, l Limits) []Result {
	return slices.DeleteFunc(slices.Clone(results), func(r Result) bool { return l.excess(&r) > 0 })
}

// Serve returns the subnets for a bundle, by rising accuracy: the front by that cost, and the
// smallest and the largest subnet of those that were trained even where another beats them, for reference.
func Serve(space *supernet.Space, results []Result, cost func(*Result) float64, trained supernet.Sampling) []Result {
	front := Front(results, cost)
	smallest, largest := space.Canonical(space.Conform(space.Min(), trained)), space.Canonical(space.Max())
	for _, r := range results {
		a := space.Canonical(r.Arch)
		end := a == smallest || a == largest
		if end && !slices.ContainsFunc(front, func(f Result) bool { return f.Arch == r.Arch }) {
			front = append(front, r)
		}
	}
	slices.SortStableFunc(front, func(a, b Result) int { return cmp.Compare(a.Accuracy, b.Accuracy) })
	return front
}

// Trim returns the statistics that the given subnets need, without the others'; it calibrates
// where some are missing.
func (e *Evaluator) Trim(ctx context.Context, keep []Result) (supernet.Norms, error) {
	out := supernet.Norms{}
	for _, r := range keep {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g, err := e.Net.Space.Lower(r.Arch)
		if err != nil {
			return nil, err
		}
		if len(e.calib) > 0 {
			e.Norms.Add(e.exec, g, e.calib)
		}
		for _, k := range g.NormKeys() {
			if k != 0 {
				out[k] = e.Norms[k]
			}
		}
	}
	return out, nil
}
