package search

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"weft/nn"
	"weft/supernet"
)

// Fronts and crowding distances as Deb et al. (2002) define them: a solution is dominated by one that breaks the limits
// less or, else, is no worse in either objective and better in one; fronts are peeled off one by one; and the distance is
// summed over each objective's own order.
func TestRanksAgainstDeb(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	h := (&Problem{Cost: ByMACs}).begin(Evolution{})
	compared := 0
	for range 200 {
		people := make([]individual, 1+rng.IntN(40))
		for i := range people {
			people[i].MACs, people[i].Accuracy = rng.IntN(15), float64(rng.IntN(15))/15
			people[i].rank, people[i].lonely = -1, -1 // whatever the last generation left
			if rng.IntN(3) == 0 {
				people[i].excess = float64(rng.IntN(3))
			}
		}
		h.rank(people)
		for rank, left := 0, people; len(left) > 0; rank++ {
			var front, rest []individual
			for _, p := range left {
				if slices.ContainsFunc(left, func(q individual) bool { return constrainedDominates(&q, &p) }) {
					rest = append(rest, p)
					continue
				}
				if p.rank != rank {
					t.Fatalf("%+v has rank %d: want %d", p.Result, p.rank, rank)
				}
				front = append(front, p)
			}
			left = rest
			want, distinct := debCrowding(front)
			if !distinct {
				continue // which of equals has which neighbours is not defined
			}
			compared++
			for i, p := range front {
				if p.lonely != want[i] && !(math.Abs(p.lonely-want[i]) < 1e-12) {
					t.Fatalf("%+v among %d has crowding distance %v: want %v", p.Result, len(front), p.lonely, want[i])
				}
			}
		}
	}
	if compared < 500 {
		t.Errorf("the crowding of %d fronts only was compared", compared)
	}
}

func constrainedDominates(a, b *individual) bool {
	if a.excess != b.excess {
		return a.excess < b.excess
	}
	return a.MACs <= b.MACs && a.Accuracy >= b.Accuracy && (a.MACs != b.MACs || a.Accuracy != b.Accuracy)
}

// debCrowding is crowding-distance-assignment of the paper, and whether no two of the front are alike.
func debCrowding(front []individual) (distance []float64, distinct bool) {
	distance, distinct = make([]float64, len(front)), true
	for _, objective := range []func(i int) float64{
		func(i int) float64 { return float64(front[i].MACs) },
		func(i int) float64 { return front[i].Accuracy },
	} {
		at := make([]int, len(front))
		for i := range at {
			at[i] = i
		}
		slices.SortFunc(at, func(i, j int) int { return int(math.Copysign(1, objective(i)-objective(j))) })
		first, last := at[0], at[len(at)-1]
		distance[first], distance[last] = math.Inf(1), math.Inf(1)
		for k := 1; k < len(at)-1; k++ {
			distance[at[k]] += (objective(at[k+1]) - objective(at[k-1])) / (objective(last) - objective(first))
		}
		for k := 1; k < len(at); k++ {
			distinct = distinct && objective(at[k]) != objective(at[k-1])
		}
	}
	return distance, distinct
}

func TestCrowdedComparison(t *testing.T) {
	for _, c := range []struct {
		a, b individual
		want bool
	}{
		{individual{rank: 0, lonely: 1}, individual{rank: 1, lonely: 2}, true},
		{individual{rank: 1, lonely: 2}, individual{rank: 0, lonely: 1}, false},
		{individual{rank: 1, lonely: 2}, individual{rank: 1, lonely: 1}, true},
		{individual{rank: 1, lonely: 1}, individual{rank: 1, lonely: 2}, false},
		{individual{rank: 1, lonely: 1}, individual{rank: 1, lonely: 1}, false},
	} {
		if got := better(&c.a, &c.b); got != c.want {
			t.Errorf("rank %d, distance %v is better than rank %d, distance %v: %v", c.a.rank, c.a.lonely, c.b.rank, c.b.lonely, got)
		}
	}
}

// hidden is a problem in which all subnets cost the same and one is right: judge gets by how many places the encoding of
// another is off.
func hidden(t *testing.T, judge func(r *Result, off int)) *Problem {
	t.Helper()
	space, err := supernet.Find("mbv3-28", 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	p := &Problem{Space: space, Cost: func(*Result) float64 { return 1 }}
	target, code := make([]float32, p.Space.EncodeLen()), make([]float32, p.Space.EncodeLen())
	p.Space.Encode(target, p.Space.Sample(rand.New(rand.NewPCG(3, 3)), supernet.Sampling{}))
	p.Judge = func(r *Result, _ *nn.Graph) error {
		p.Space.Encode(code, r.Arch)
		off := 0
		for i := range code {
			if code[i] != target[i] {
				off++
			}
		}
		judge(r, off)
		return nil
	}
	return p
}

// What is accurate lives on and has children, in both searches, and where nothing keeps the limits so does what breaks
// them less: nothing else leads to the one subnet that is right.
func TestSelectionClimbs(t *testing.T) {
	accurate := hidden(t, func(r *Result, off int) { r.Accuracy = 1 - float64(off)/1000 })
	near := hidden(t, func(r *Result, off int) { r.Accuracy, r.Latency = 0.5, time.Duration(1+off) })
	near.Limits.Latency = 1
	for name, p := range map[string]*Problem{"accuracy": accurate, "excess": near} {
		for search, find := range map[string]func(context.Context, Evolution) ([]Result, error){"Evolve": p.Evolve, "NSGA2": p.NSGA2} {
			front, err := find(t.Context(), Evolution{Population: 20, Generations: 30, Seed: 2})
			if err != nil || len(front) != 1 || front[0].Accuracy != 1 && front[0].Latency != 1 {
				t.Errorf("%s by %s ends at %+v, %v", search, name, front, err)
			}
		}
	}
}

// A tournament of two makes parents of the better half three times of four, and so of about as many children, which
// keep what makes them better: nearly all choices of their one parent.
func TestTournamentsAreWonByTheBetter(t *testing.T) {
	p, _ := madeUp(t, 3)
	p.Cost = func(*Result) float64 { return 1 }
	const population, searches = 40, 200
	founders, children := 0, 0
	for seed := range uint64(searches) {
		calls := 0
		p.Judge = func(r *Result, _ *nn.Graph) error {
			r.Accuracy = float64(r.Arch.Depth[0] % 2)
			if calls++; calls > population {
				children += int(r.Accuracy)
			} else {
				founders += int(r.Accuracy)
			}
			return nil
		}
		if _, err := p.NSGA2(t.Context(), Evolution{Population: population, Generations: 1, Mutants: 1, Mutation: 0.05, Seed: seed}); err != nil {
			t.Fatal(err)
		}
	}
	share := float64(founders) / (population * searches)
	won := 1 - (1-share)*(1-share)
	if got := float64(children) / (population * searches); math.Abs(got-won) > 0.08 || won-share < 0.2 {
		t.Errorf("%.2f of the founders and %.2f of their children are of the better half: want %.2f", share, got, won)
	}
}

// Where none dominates another, those with room around them and both ends live on, so that the last generation bears
// children there still: of the upper sixth of the range, in which few are drawn, as many as of any.
func TestSelectionSpreads(t *testing.T) {
	p, _ := madeUp(t, 3)
	const population, generations, searches = 20, 10, 100
	upper := 0
	for seed := range uint64(searches) {
		var seen []float64
		p.Judge = func(r *Result, _ *nn.Graph) error {
			r.Accuracy = math.Log(float64(r.MACs)) / 20
			seen = append(seen, r.Accuracy)
			return nil
		}
		if _, err := p.NSGA2(t.Context(), Evolution{Population: population, Generations: generations, Seed: seed}); err != nil {
			t.Fatal(err)
		}
		low, high := slices.Min(seen), slices.Max(seen)
		for _, v := range seen[population*generations:] {
			if v > high-(high-low)/6 {
				upper++
			}
		}
	}
	if share := float64(upper) / (population * searches); share < 0.1 {
		t.Errorf("%.3f of the last generations' children lie in the upper sixth of the range", share)
	}
}

// Of two fronts the better lives on, however crowded it is and what it costs: all parents are on it soon.
func TestSelectionPrefersTheBetterFront(t *testing.T) {
	p, _ := madeUp(t, 3)
	const population, generations, searches = 40, 4, 50
	better := 0
	for seed := range uint64(searches) {
		calls := 0
		p.Judge = func(r *Result, _ *nn.Graph) error {
			front := int(r.Arch.Depth[0] % 2)
			r.Accuracy = 0.5*float64(front) + math.Log(float64(r.MACs))/100
			if calls++; calls > population*generations {
				better += front
			}
			return nil
		}
		if _, err := p.NSGA2(t.Context(), Evolution{Population: population, Generations: generations, Mutants: 1, Mutation: 0.05, Seed: seed}); err != nil {
			t.Fatal(err)
		}
	}
	if share := float64(better) / (population * searches); share < 0.8 {
		t.Errorf("%.2f of the last generations' children are of the better front", share)
	}
}

// A subnet in place of one that was seen is drawn so many times, and no more.
func TestDrawingAnewIsBounded(t *testing.T) {
	p, _ := madeUp(t, 2)
	const n, every = 2, retries / 2
	for name, c := range map[string]struct{ archs, draws, found int }{
		"new at times": {n, every + 1, n},
		"never new":    {1, n * retries, 1},
	} {
		t.Run(name, func(t *testing.T) {
			archs := []supernet.Arch{p.Space.Min(), p.Space.Max()}[:c.archs]
			h, draws := p.begin(Evolution{}), 0
			got, err := h.found(t.Context(), n, func() supernet.Arch {
				if draws++; draws > 10*n*retries {
					panic(fmt.Sprintf("%d draws", draws)) // for ever, perhaps
				}
				return archs[min((draws-1)/every, len(archs)-1)]
			})
			if err != nil || len(got) != c.found || draws != c.draws {
				t.Errorf("%d subnets found in %d draws, %v: want %d in %d", len(got), draws, err, c.found, c.draws)
			}
		})
	}
}

// Two names of one network count as one, in all that looks at subnets.
func TestNetworksAreJudgedOnce(t *testing.T) {
	p, _ := madeUp(t, 1)
	p.Space.Widths = []float64{0.5, 0.501, 1} // the first two round to the same channels
	networks, names := map[supernet.Arch]bool{}, 0
	for a := range p.Space.All() {
		networks[p.Space.Canonical(a)] = true
		names++
	}
	for name, find := range map[string]func() ([]Result, error){
		"NSGA2":      func() ([]Result, error) { return p.NSGA2(t.Context(), Evolution{Population: 1000, Generations: 3}) },
		"Evolve":     func() ([]Result, error) { return p.Evolve(t.Context(), Evolution{Population: 1000, Generations: 3}) },
		"Exhaustive": func() ([]Result, error) { return p.Exhaustive(t.Context(), nil) },
	} {
		judged := map[supernet.Arch]int{}
		p.Judge = func(r *Result, _ *nn.Graph) error {
			judged[p.Space.Canonical(r.Arch)]++
			return nil
		}
		if _, err := find(); err != nil {
			t.Fatal(err)
		}
		for a, n := range judged {
			if n != 1 {
				t.Fatalf("%s judged %s %d times", name, p.Space.Format(a), n)
			}
		}
		if len(judged) != len(networks) || names <= len(networks) {
			t.Errorf("%s judged %d of %d networks, which have %d names", name, len(judged), len(networks), names)
		}
	}
}
