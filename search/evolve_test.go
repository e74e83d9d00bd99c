package search

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"weft/nn"
	"weft/supernet"
)

// madeUp is a problem in which accuracy rises with cost and depends on the channels of layers in pairs, so that its front
// is not trivial; it counts what was judged. Two stages make 576 subnets.
func madeUp(t testing.TB, stages int) (*Problem, *int) {
	t.Helper()
	s, err := supernet.Find("resnet-28s", 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	s.Stages = s.Stages[:stages]
	rng := rand.New(rand.NewPCG(5, 6))
	var alone, beside [64]float64
	for i := range alone {
		alone[i], beside[i] = rng.NormFloat64(), rng.NormFloat64()
	}
	calls := 0
	return &Problem{Space: s, Cost: ByMACs, Judge: func(r *Result, g *nn.Graph) error {
		calls++
		sum, last := math.Log(float64(r.MACs))-13, 0.0
		for _, op := range g.Ops {
			if op.Layer >= 0 {
				c := float64(g.Values[op.Out].C) / float64(g.Layers[op.Layer].Out)
				sum += 0.3*alone[op.Layer]*c + 0.1*beside[op.Layer]*c*last
				last = c
			}
		}
		r.Accuracy = expit(sum)
		return nil
	}}, &calls
}

// hypervolume of a front in the made-up problem's whole range.
func (p *Problem) hypervolume(front []Result) float64 {
	return Hypervolume(front, p.Cost, 4e6, 0)
}

// Both searches come within a hundredth of the front of the whole space, having looked at a part of it.
func TestSearchesFindTheFront(t *testing.T) {
	p, calls := madeUp(t, 2)
	whole, err := p.Exhaustive(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	all := *calls
	if size := p.Space.Size().Int64(); int64(all) > size || len(whole) < 10 {
		t.Fatalf("%d subnets of %d judged, %d on the front", all, size, len(whole))
	}
	*calls = 0
	front, err := p.NSGA2(t.Context(), Evolution{Population: 20, Generations: 10, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if ratio := p.hypervolume(front) / p.hypervolume(whole); ratio < 0.99 || ratio > 1 {
		t.Errorf("NSGA-II has %.4f of the front's hypervolume", ratio)
	}
	if *calls > 220 {
		t.Errorf("NSGA-II judged %d of %d subnets: want 20 and 10 times 20 at most", *calls, all)
	}
	p.Limits = Limits{MACs: 15e5}
	best := 0.0
	for _, r := range whole {
		if r.MACs <= p.Limits.MACs {
			best = max(best, r.Accuracy)
		}
	}
	*calls = 0
	front, err = p.Evolve(t.Context(), Evolution{Population: 20, Generations: 10, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	if got := front[len(front)-1].Accuracy; got < best-0.002 {
		t.Errorf("evolution found %.4f within 1.5 M MACs, having judged %d: there is %.4f", got, *calls, best)
	}
}

func TestLimitsAreKept(t *testing.T) {
	p, _ := madeUp(t, 2)
	judge := p.Judge
	p.Judge = func(r *Result, g *nn.Graph) error {
		r.Latency = time.Duration(r.MACs)
		return judge(r, g)
	}
	p.Limits = Limits{MACs: 3e6, Params: 25e3, Memory: 250e3, Latency: 2500 * time.Microsecond, Accuracy: 0.5}
	for name, find := range map[string]func(context.Context, Evolution) ([]Result, error){"Evolve": p.Evolve, "NSGA2": p.NSGA2} {
		front, err := find(t.Context(), Evolution{Population: 40, Generations: 15, Seed: 3})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range front {
			if r.MACs > 3e6 || r.Params > 25e3 || r.Memory > 250e3 || r.Latency > 2500*time.Microsecond || r.Accuracy < 0.5 {
				t.Errorf("%s: %+v breaks a limit", name, r)
			}
		}
	}
	p.Limits = Limits{MACs: 1}
	if _, err := p.NSGA2(t.Context(), Evolution{Population: 10, Generations: 2}); !errors.Is(err, ErrNoneFits) {
		t.Errorf("limits that nothing keeps: %v", err)
	}
}

// Nothing is judged twice, and the same seed finds the same.
func TestSearchRepeats(t *testing.T) {
	p, _ := madeUp(t, 2)
	seen, judge := map[supernet.Arch]int{}, p.Judge
	p.Judge = func(r *Result, g *nn.Graph) error {
		seen[r.Arch]++
		return judge(r, g)
	}
	var fronts [2][]Result
	for i := range fronts {
		clear(seen)
		var err error
		if fronts[i], err = p.NSGA2(t.Context(), Evolution{Population: 30, Generations: 10, Seed: 7}); err != nil {
			t.Fatal(err)
		}
		for a, n := range seen {
			if n > 1 {
				t.Fatalf("%s was judged %d times", p.Space.Format(a), n)
			}
		}
	}
	if len(fronts[0]) != len(fronts[1]) {
		t.Fatalf("%d and %d subnets from one seed", len(fronts[0]), len(fronts[1]))
	}
	for i := range fronts[0] {
		if fronts[0][i] != fronts[1][i] {
			t.Errorf("place %d: %+v and %+v from one seed", i, fronts[0][i], fronts[1][i])
		}
	}
}

// A space that is smaller than the population ends the search, it does not go on for ever.
func TestSmallSpaceRunsDry(t *testing.T) {
	p, calls := madeUp(t, 1)
	p.Space.Stages = p.Space.Stages[:1]
	p.Space.Expansions = p.Space.Expansions[:2]
	p.Judge = func(r *Result, _ *nn.Graph) error { *calls++; r.Accuracy = float64(r.MACs) / 1e7; return nil }
	front, err := p.NSGA2(t.Context(), Evolution{Population: 50, Generations: 3})
	if err != nil || *calls > 12 || len(front) < 3 {
		t.Errorf("%d judged, %d on the front, %v", *calls, len(front), err)
	}
}

func TestHypervolume(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		var results []Result
		for range 1 + rng.IntN(8) {
			results = append(results, Result{MACs: rng.IntN(20), Accuracy: float64(rng.IntN(20)) / 20})
		}
		cells := 0
		for x := range 20 {
			for y := range 20 {
				for _, r := range results {
					if r.MACs <= x && int(math.Round(r.Accuracy*20)) > y {
						cells++
						break
					}
				}
			}
		}
		if got := Hypervolume(results, ByMACs, 20, 0); math.Abs(got-float64(cells)/20) > 1e-9 {
			t.Fatalf("hypervolume of %v is %v: want %v", results, got, float64(cells)/20)
		}
	}
}

func TestKendallTau(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 3))
	for range 100 {
		n := 2 + rng.IntN(30)
		x, y := make([]float64, n), make([]float64, n)
		for i := range x {
			x[i], y[i] = float64(rng.IntN(10)), float64(rng.IntN(10))
		}
		sum, tiedX, tiedY := 0.0, 0.0, 0.0
		for i := range n {
			for j := range i {
				sign := (x[i] - x[j]) * (y[i] - y[j])
				switch {
				case sign > 0:
					sum++
				case sign < 0:
					sum--
				}
				if x[i] == x[j] {
					tiedX++
				}
				if y[i] == y[j] {
					tiedY++
				}
			}
		}
		all := float64(n*(n-1)) / 2
		want := sum / math.Sqrt((all-tiedX)*(all-tiedY))
		if math.IsNaN(want) {
			want = 0 // one of them is all ties
		}
		if got := KendallTau(x, y); !(math.Abs(got-want) <= 1e-12) {
			t.Fatalf("τ of %v and %v is %v: want %v", x, y, got, want)
		}
	}
}
