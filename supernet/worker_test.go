package supernet

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"weft/kernel"
	"weft/tensor"
)

// smallBottleneck has what no named small space has: pooling and a stem that may skip a
// convolution.
func smallBottleneck() *Space {
	return &Space{
		Name: "small-bottleneck", Family: Bottleneck, Input: tensor.Shape{H: 32, W: 32, C: 3}, Classes: 10,
		Stem:       Stem{Width: 16, Stride: 2},
		Stages:     []Stage{{Width: 32, Stride: 1, Depths: []int{1, 2}}, {Width: 64, Stride: 2, Depths: []int{1, 3}}},
		Expansions: []float64{0.25, 0.5}, Kernels: []int{3}, Widths: []float64{0.5, 1},
	}
}

// madeUp fills in statistics for a subnet, without a pass over images.
func madeUp(t testing.TB, s *Space, norms Norms, a Arch, rng *rand.Rand) {
	t.Helper()
	g, err := s.Lower(a)
	if err != nil {
		t.Fatal(err)
	}
	for i, k := range g.NormKeys() {
		if _, ok := norms[k]; ok || k == 0 {
			continue
		}
		c := g.Values[g.Ops[i].Out].C
		st := Stats{Mean: make([]float32, c), Var: make([]float32, c)}
		for j := range c {
			st.Mean[j], st.Var[j] = rng.Float32()-0.5, 0.5+rng.Float32()
		}
		norms[k] = st
	}
}

// TestSubnetsDontTouchEachOther: random subnets at random batch sizes, one after another
// in one worker, give bit for bit the logits that each gives alone in a fresh worker.
func TestSubnetsDontTouchEachOther(t *testing.T) {
	for _, name := range []string{"resnet-28s", "resnet-28", "resnet-32", "mbv3-28", "mbv3-28-k35", "small-bottleneck"} {
		t.Run(name, func(t *testing.T) {
			space := smallBottleneck()
			if name != space.Name {
				var err error
				if space, err = Find(name, 10, 3); err != nil {
					t.Fatal(err)
				}
			}
			if err := space.Validate(); err != nil {
				t.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(11, 12))
			net := New(space, []float32{0.5, 0.4, 0.3}, []float32{0.2, 0.3, 0.25}, rng)
			for _, threads := range []int{1, 2, 3} {
				backToBack(t, net, threads, rng)
			}
			if testing.Short() && kernel.Tier() == "go" {
				return
			}
			sameForAnyThreads(t, net, rng)
		})
	}
}

// cutAnywhere gives a plan segments such as large images have, but anywhere.
func cutAnywhere(t *testing.T, net *Supernet, p *Plan, rng *rand.Rand) {
	t.Helper()
	g, err := net.Space.Lower(p.Arch)
	if err != nil {
		t.Fatal(err)
	}
	sizes, s := make([]int, len(g.Ops)), 0
	for i := range sizes {
		if rng.IntN(len(sizes)) < 4 {
			s = min(s+1, len(groupSizes)-1)
		}
		sizes[i] = groupSizes[s]
	}
	p.arrange(g, sizes)
}

func backToBack(t *testing.T, net *Supernet, threads int, rng *rand.Rand) {
	t.Helper()
	runs, archs := 12, 6
	if testing.Short() {
		runs = 6
	}
	if testing.Short() && kernel.Tier() == "go" {
		runs, archs = 2, 2 // plain Go, perhaps under emulation
	}
	norms := Norms{}
	table := NewTable(net, norms)
	plans := make([]*Plan, archs)
	for i := range plans {
		a := net.Space.Sample(rng, Sampling{ElasticKernel: true})
		madeUp(t, net.Space, norms, a, rng)
		var err error
		if plans[i], err = table.Plan(a); err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			cutAnywhere(t, net, plans[i], rng)
		}
	}
	const maxBatch = 16
	images := testImages(net.Space, maxBatch)
	given := slices.Clone(images)
	pool := kernel.NewPool(threads)
	defer pool.Close()
	shared := NewWorker(pool)
	got, want := make([]float32, 10*maxBatch+1), make([]float32, 10*maxBatch)
	for run := range runs {
		if run%2 == 1 { // what others left behind must not count
			for _, memory := range append(shared.arenas, shared.passed) {
				for i := range memory {
					memory[i] = float32(math.NaN())
				}
			}
		}
		p, n := plans[rng.IntN(archs)], 1+rng.IntN(maxBatch)
		got[10*n] = 12345 // must stay
		shared.Run(p, images, n, got)
		NewWorker(pool).Run(p, images, n, want)
		for i, v := range got[:10*n] {
			if math.Float32bits(v) != math.Float32bits(want[i]) || v-v != 0 {
				t.Fatalf("%s, batch of %d, %d threads: logit %d is %v, alone %v", net.Space.Format(p.Arch), n, threads, i, v, want[i])
			}
		}
		if got[10*n] != 12345 {
			t.Fatalf("%s, batch of %d: wrote past its logits", net.Space.Format(p.Arch), n)
		}
	}
	if !slices.Equal(images, given) {
		t.Error("the images were changed")
	}
}

// sameForAnyThreads: a batch gives the same bits however many threads share it, and
// wherever the plan is cut about the same logits.
func sameForAnyThreads(t *testing.T, net *Supernet, rng *rand.Rand) {
	t.Helper()
	norms := Norms{}
	table := NewTable(net, norms)
	for range 3 {
		a := net.Space.Sample(rng, Sampling{ElasticKernel: true})
		madeUp(t, net.Space, norms, a, rng)
		p, err := table.Plan(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 3, 8} {
			cutAnywhere(t, net, p, rng)
			images := testImages(net.Space, n)
			var want []float32
			whole := make([]float32, n*p.Classes)
			NewWorker(kernel.NewPool(1)).Run(planOf(t, net, norms, net.Rule(net.WinogradBytes()), a), images, n, whole)
			for _, threads := range []int{1, 2, 3, 5} {
				pool := kernel.NewPool(threads)
				got := make([]float32, n*p.Classes)
				NewWorker(pool).Run(p, images, n, got)
				pool.Close()
				if want == nil {
					want = got
				}
				if !closeTo(got, whole, 1e-3) {
					t.Fatalf("%s, batch of %d: %v in segments %v, %v in those of its size", net.Space.Format(a), n, got, p.segments, whole)
				}
				if !slices.Equal(got, want) {
					t.Fatalf("%s, batch of %d: other logits with %d threads than with one", net.Space.Format(a), n, threads)
				}
			}
		}
	}
}
