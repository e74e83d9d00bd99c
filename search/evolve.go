package search

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"weft/nn"
	"weft/supernet"
)

// Limits bound what a subnet may cost and how accurate it must be; 0 leaves a bound out.
type Limits struct {
	MACs, Params, Memory int
	Latency              time.Duration
	Accuracy             float64
}

// excess is by how much a result breaks the limits, each in parts of its bound; 0 where it
// keeps them.
func (l *Limits) excess(r *Result) float64 {
	over := func(v, bound float64) float64 {
		if bound == 0 {
			return 0
		}
		return max(v/bound-1, 0)
	}
	sum := over(float64(r.MACs), float64(l.MACs)) + over(float64(r.Params), float64(l.Params)) +
		over(float64(r.Memory), float64(l.Memory)) + over(float64(r.Latency), float64(l.Latency))
	if r.Accuracy < l.Accuracy {
		sum += 1 - r.Accuracy/l.Accuracy
	}
	return sum
}

// Problem is what a search looks for: the subnets within limits that are the most accurate
// for their cost.
type Problem struct {
	Space   *supernet.Space
	Trained supernet.Sampling // which subnets training drew: no others are looked at
	// Judge fills in a result's accuracy and, if it matters, its latency; the rest is set. The
	// graph is the subnet's.
	Judge func(*Result, *nn.Graph) error
	// Cost is weighed against accuracy, such as ByMACs.
	Cost   func(*Result) float64
	Limits Limits
}

// Evolution says how Evolve and NSGA2 search. The zero value means OFA's settings for the
// former (its search/evolution_finder.py), which has 500 generations, though.
type Evolution struct {
	Population  int     // 0: 100
	Generations int     // 0: 100
	Parents     float64 // share of the population that has children in Evolve (0: 0.25)
	Mutants     float64 // share of children that have one parent (0: 0.5)
	Mutation    float64 // probability that a mutant's choice is drawn anew (0: 0.1)
	Seed        uint64
	// Observe, if set, gets the front of all that was seen, after each generation of so many.
	Observe func(done, total int, front []Result)
}

func (e *Evolution) setDefaults() {
	e.Population, e.Generations = cmp.Or(e.Population, 100), cmp.Or(e.Generations, 100)
	e.Parents, e.Mutants, e.Mutation = cmp.Or(e.Parents, 0.25), cmp.Or(e.Mutants, 0.5), cmp.Or(e.Mutation, 0.1)
}

// retries bounds how often a subnet is drawn in place of one that was seen before: OFA's code,
// which also draws anew what breaks the limits, goes on for ever.
const retries = 100

// ErrNoneFits is the error of a search that found no subnet within the limits.
var ErrNoneFits = errors.New("no subnet that was looked at keeps the limits; relax one of them")

// hunt is a search under way.
type hunt struct {
	*Problem
	Evolution
	rng  *rand.Rand
	seen map[supernet.Arch]bool // in canonical form
	all  []Result               // that keep the limits
}

// individual is a result with what NSGA-II ranks it by.
type individual struct {
	Result
	excess float64
	rank   int     // front that it is on, 0 the best
	lonely float64 // crowding distance
}

func (p *Problem) begin(e Evolution) *hunt {
	e.setDefaults()
	return &hunt{Problem: p, Evolution: e, rng: rand.New(rand.NewPCG(e.Seed, 0xe501)), seen: map[supernet.Arch]bool{}}
}

// fresh judges a subnet, unless its network was seen before.
func (h *hunt) fresh(a supernet.Arch) (individual, bool, error) {
	id := h.Space.Canonical(a)
	if h.seen[id] {
		return individual{}, false, nil
	}
	h.seen[id] = true
	r, err := h.judge(a)
	return r, err == nil, err
}

// judge adds a subnet to all that was seen.
func (h *hunt) judge(a supernet.Arch) (individual, error) {
	g, err := h.Space.Lower(a)
	if err != nil {
		return individual{}, err
	}
	r := individual{Result: Result{Arch: a, MACs: g.MACs(), Params: g.Params(), Memory: Memory(g)}}
	if err := h.Judge(&r.Result, g); err != nil {
		return r, err
	}
	if r.excess = h.Limits.excess(&r.Result); r.excess == 0 {
		h.all = append(h.all, r.Result)
	}
	return r, nil
}

// found gives up to n new subnets that draw returns; fewer where the space runs dry.
func (h *hunt) found(ctx context.Context, n int, draw func() supernet.Arch) ([]individual, error) {
	var found []individual
	for tries := 0; len(found) < n && tries < retries*n; tries++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		r, ok, err := h.fresh(draw())
		if err != nil {
			return nil, err
		}
		if ok {
			found = append(found, r)
		}
	}
	return found, nil
}

func (h *hunt) sample() supernet.Arch {
	how := h.Trained
	how.Coupled = how.Coupled || h.rng.IntN(2) == 1
	return h.Space.Sample(h.rng, how)
}

// founders are the first population: the ends of the space and a sample.
func (h *hunt) founders(ctx context.Context) ([]individual, error) {
	ends := []supernet.Arch{h.Space.Conform(h.Space.Min(), h.Trained), h.Space.Max()}
	if n := h.Space.Size(); n.IsInt64() {
		h.Population = int(min(int64(h.Population), n.Int64())) // there are no more to draw
	}
	return h.found(ctx, h.Population, func() supernet.Arch {
		if len(ends) > 0 {
			a := ends[0]
			ends = ends[1:]
			return a
		}
		return h.sample()
	})
}

// children has parents, in pairs or alone, bear n new subnets.
func (h *hunt) children(ctx context.Context, n int, parent func() supernet.Arch) ([]individual, error) {
	return h.found(ctx, n, func() supernet.Arch {
		var child supernet.Arch
		if h.rng.Float64() < h.Mutants {
			child = h.Space.Mutate(h.rng, parent(), h.Mutation)
		} else {
			child = h.Space.Mutate(h.rng, h.Space.Cross(h.rng, parent(), parent()), h.Mutation/2)
		}
		return h.Space.Conform(child, h.Trained)
	})
}

// observe ends a generation; of all that was seen, the front is enough to go on with.
func (h *hunt) observe(done int) {
	h.all = Front(h.all, h.Cost)
	if h.Observe != nil {
		h.Observe(done, h.Generations, h.all)
	}
}

func (h *hunt) end() ([]Result, error) {
	if len(h.all) == 0 {
		return nil, ErrNoneFits
	}
	return Front(h.all, h.Cost), nil
}

// Evolve looks for the most accurate subnet within the limits, by OFA's evolution: the best
// of each generation stay and have children. Those beyond the limits count as worse than
// any within, the further the worse. It returns the front of all that was seen, the most
// accurate subnet last.
func (p *Problem) Evolve(ctx context.Context, e Evolution) ([]Result, error) {
	h := p.begin(e)
	people, err := h.founders(ctx)
	if err != nil {
		return nil, err
	}
	parents := max(int(h.Parents*float64(h.Population)), 2)
	for done := range h.Generations {
		slices.SortStableFunc(people, func(a, b individual) int {
			return cmp.Or(cmp.Compare(a.excess, b.excess), cmp.Compare(b.Accuracy, a.Accuracy))
		})
		people = people[:min(parents, len(people))]
		young, err := h.children(ctx, h.Population, func() supernet.Arch { return people[h.rng.IntN(len(people))].Arch })
		if err != nil {
			return nil, err
		}
		people = append(people, young...)
		h.observe(done + 1)
	}
	return h.end()
}

// NSGA2 looks for the whole front within the limits in one run, by NSGA-II (Deb et al.,
// 2002): parents win tournaments by front and crowding distance, and the best of parents and
// children live on. A subnet that breaks the limits is dominated by all that keep them, and
// by those that break them less. It returns the front of all that was seen.
func (p *Problem) NSGA2(ctx context.Context, e Evolution) ([]Result, error) {
	h := p.begin(e)
	people, err := h.founders(ctx)
	if err != nil {
		return nil, err
	}
	h.rank(people)
	for done := range h.Generations {
		young, err := h.children(ctx, h.Population, func() supernet.Arch {
			a, b := &people[h.rng.IntN(len(people))], &people[h.rng.IntN(len(people))]
			if better(b, a) {
				a = b
			}
			return a.Arch
		})
		if err != nil {
			return nil, err
		}
		people = append(people, young...)
		h.rank(people)
		slices.SortStableFunc(people, func(a, b individual) int {
			return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(b.lonely, a.lonely))
		})
		people = people[:min(h.Population, len(people))]
		h.observe(done + 1)
	}
	return h.end()
}

// better is NSGA-II's crowded comparison.
func better(a, b *individual) bool {
	if a.rank != b.rank {
		return a.rank < b.rank
	}
	return a.lonely > b.lonely
}

// dominates reports whether a is no worse than b in accuracy and cost, and better in one;
// limits come before either.
func (h *hunt) dominates(a, b *individual) bool {
	if a.excess != b.excess {
		return a.excess < b.excess
	}
	ca, cb := h.Cost(&a.Result), h.Cost(&b.Result)
	return a.Accuracy >= b.Accuracy && ca <= cb && (a.Accuracy > b.Accuracy || ca < cb)
}

// rank sorts into fronts and measures how crowded each place on them is: with two
// objectives, an individual is on the first front whose last member, by rising cost, does not
// dominate it.
func (h *hunt) rank(people []individual) {
	slices.SortStableFunc(people, func(a, b individual) int {
		return cmp.Or(cmp.Compare(a.excess, b.excess), cmp.Compare(h.Cost(&a.Result), h.Cost(&b.Result)), cmp.Compare(b.Accuracy, a.Accuracy))
	})
	var fronts [][]int
	for i := range people {
		k := 0
		for k < len(fronts) && h.dominates(&people[fronts[k][len(fronts[k])-1]], &people[i]) {
			k++
		}
		if k == len(fronts) {
			fronts = append(fronts, nil)
		}
		people[i].rank = k
		fronts[k] = append(fronts[k], i)
	}
	for _, f := range fronts {
		h.crowd(people, f)
	}
}

// crowd gives the members of a front, by rising cost, their crowding distances: the sum, over
// the objectives, of how far apart their neighbours are, in parts of the front's extent.
func (h *hunt) crowd(people []individual, front []int) {
	first, last := &people[front[0]], &people[front[len(front)-1]]
	extent := func(a, b float64) float64 { return max(math.Abs(a-b), math.SmallestNonzeroFloat64) }
	width, height := extent(h.Cost(&last.Result), h.Cost(&first.Result)), extent(last.Accuracy, first.Accuracy)
	for k, i := range front {
		if k == 0 || k == len(front)-1 {
			people[i].lonely = math.Inf(1)
			continue
		}
		before, after := &people[front[k-1]], &people[front[k+1]]
		people[i].lonely = math.Abs(h.Cost(&after.Result)-h.Cost(&before.Result))/width + math.Abs(after.Accuracy-before.Accuracy)/height
	}
}

// once judges a network under one of its names. Where all subnets were trained that is the canonical one, so that there is
// nothing to remember.
func (h *hunt) once(a supernet.Arch) (err error) {
	switch {
	case h.Trained.Coupled:
		_, _, err = h.fresh(a)
	case a == h.Space.Canonical(a):
		_, err = h.judge(a)
	}
	return err
}

// Exhaustive judges every subnet of the space that was trained and returns the front of those within the
// limits. observe, if not nil, is called now and then.
func (p *Problem) Exhaustive(ctx context.Context, observe func(done int)) ([]Result, error) {
	h := p.begin(Evolution{})
	done := 0
	for a := range p.Space.All() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if a == p.Space.Conform(a, p.Trained) {
			if err := h.once(a); err != nil {
				return nil, err
			}
		}
		if done++; observe != nil && done%1000 == 0 {
			observe(done)
		}
		if len(h.all) > 1<<14 { // keep what matters
			h.all = Front(h.all, p.Cost)
		}
	}
	return h.end()
}
