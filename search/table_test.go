package search

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"weft/kernel"
	"weft/nn"
	"weft/supernet"
)

func untrained(t testing.TB, name string) *supernet.Supernet {
	t.Helper()
	s, err := supernet.Find(name, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	return supernet.New(s, []float32{0.5}, []float32{0.5}, rand.New(rand.NewPCG(1, 1)))
}

// Every subnet's operations are in the table once it is measured, and what it foretells is the sum of what they took by
// a clock that goes on by a millisecond at each look.
func TestLatencyTableIsComplete(t *testing.T) {
	net := untrained(t, "resnet-28s")
	pool := kernel.NewPool(1)
	defer pool.Close()
	var ticks time.Duration
	now := func() time.Time {
		ticks += time.Millisecond
		return time.Unix(0, 0).Add(ticks)
	}
	table, err := MeasureLatencies(t.Context(), net, pool, 1, 1, now)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(2, 2))
	for range 500 {
		g, err := net.Space.Lower(net.Space.Sample(rng, supernet.Sampling{}))
		if err != nil {
			t.Fatal(err)
		}
		// An operation takes one tick, of which the clock takes one, so nothing is left.
		if d, ok := table.Latency(g); !ok || d != 0 {
			t.Fatalf("a subnet of %d operations takes %v, known %v", len(g.Ops), d, ok)
		}
	}
	if table.Operations() < 50 || table.Subnets > 60 {
		t.Errorf("%d operations seen in %d subnets", table.Operations(), table.Subnets)
	}
}

// No subnet has an operation that those which are run lack, in any space: a search would end at it.
func TestCovering(t *testing.T) {
	seeds, draws := uint64(2), 1000
	if testing.Short() {
		seeds, draws = 1, 300
	}
	for _, name := range supernet.Names() {
		t.Run(name, func(t *testing.T) {
			s, err := supernet.Find(name, 10, 3)
			if err != nil {
				t.Fatal(err)
			}
			for seed := range seeds {
				archs, err := covering(t.Context(), s, seed)
				if err != nil {
					t.Fatal(err)
				}
				seen := map[operation]bool{}
				lower := func(a supernet.Arch) *nn.Graph {
					g, err := s.Lower(a)
					if err != nil {
						t.Fatal(err)
					}
					return g
				}
				for _, a := range archs {
					g := lower(a)
					for i := range g.Ops {
						seen[describe(g, &g.Ops[i])] = true
					}
				}
				rng := rand.New(rand.NewPCG(seed, 2))
				for range draws {
					a := s.Sample(rng, supernet.Sampling{ElasticKernel: true})
					g := lower(a)
					for i := range g.Ops {
						if op := describe(g, &g.Ops[i]); !seen[op] {
							t.Fatalf("seed %d: %d subnets of %d operations lack %+v of %s", seed, len(archs), len(seen), op, s.Format(a))
						}
					}
				}
			}
		})
	}
}

// What is foretold comes near to what is measured, even on a machine that does other things.
func TestLatencyTable(t *testing.T) {
	if testing.Short() {
		t.Skip("measures for seconds")
	}
	net := untrained(t, "resnet-28s")
	pool := kernel.NewPool(1)
	defer pool.Close()
	table, err := MeasureLatencies(t.Context(), net, pool, 1, 1, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	errs, err := table.Errors(t.Context(), net, pool, 20, 1, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(errs)
	if median := errs[len(errs)/2]; median < -0.25 || median > 0.25 {
		t.Errorf("foretold %+.0f %% too long in the median: %.2f", 100*median, errs)
	}
	t.Logf("%d operations in %d subnets; errors %.3f", table.Operations(), table.Subnets, errs)
}
