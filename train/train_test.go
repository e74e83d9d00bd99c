package train

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"weft/data"
	"weft/kernel"
)

// squares is a data set of two classes that a small network learns in a few steps: dark
// images with a bright square on the left or on the right.
func squares(n int) *data.Set { return squaresOf(n, 28) }

func squaresOf(n, pixels int) *data.Set {
	s := &data.Set{
		Name: "squares", H: pixels, W: pixels, C: 1, Classes: 2, ClassNames: []string{"left", "right"},
		Mean: []float32{0.2}, Std: []float32{0.3},
	}
	rng := rand.New(rand.NewPCG(1, 1))
	make1 := func(n int) data.Split {
		sp := data.Split{Images: make([]uint8, n*pixels*pixels), Labels: make([]int32, n)}
		for i := range n {
			label := rng.IntN(2)
			sp.Labels[i] = int32(label)
			y0, x0 := rng.IntN(20), rng.IntN(6)+label*14
			for y := y0; y < y0+8; y++ {
				for x := x0; x < x0+8; x++ {
					sp.Images[(i*pixels+y)*pixels+x] = uint8(100 + rng.IntN(100))
				}
			}
		}
		return sp
	}
	s.Train, s.Val, s.Test = make1(n), make1(100), make1(100)
	return s
}

func testConfig() Config {
	c := recipeConfig("deps")
	c.Ramp = 0.1
	return c
}

// recipeConfig is a short run of a recipe.
func recipeConfig(name string) Config {
	c := Defaults(name, "resnet-28s", "squares")
	c.Epochs, c.Batch, c.LR, c.Flip = 4, 32, 0.1, false
	return c
}

func run(t *testing.T, c Config, set *data.Set, threads int) *Trainer {
	t.Helper()
	pool := kernel.NewPool(threads)
	t.Cleanup(pool.Close)
	tr, err := New(c, set, pool)
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Run(context.Background(), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	return tr
}

// TestSchedule checks DepS' formulas: β·η is a straight line over the ramp that starts at
// 0 and ends at the rate of the joint phase, and the rate meets the published cosine,
// ½·η0·(1+cos(π(e+1)/E)), at the end of each epoch.
func TestSchedule(t *testing.T) {
	c := Defaults("deps", "", "")
	c.Warmup, c.Ramp, c.LR = 150.0/270, 5.0/270, 2.6
	const perEpoch = 40
	s := NewSchedule(&c, 270*perEpoch)
	if s.Joint != 150*perEpoch || s.Ramp != 145*perEpoch {
		t.Fatalf("ramp at %d, joint at %d", s.Ramp, s.Joint)
	}
	for e := range 270 {
		want := 0.5 * 2.6 * (1 + math.Cos(math.Pi*float64(e+1)/270))
		if got := s.Rate((e+1)*perEpoch - 1); math.Abs(got-want) > 1e-9 {
			t.Fatalf("epoch %d ends with rate %v, the table has %v", e, got, want)
		}
	}
	n := s.Joint - s.Ramp
	for k := range n {
		step := s.Ramp + k
		want := s.Rate(s.Joint) * float64(k+1) / float64(n)
		if got := s.Beta(step) * s.Rate(step); math.Abs(got-want) > 1e-12 {
			t.Fatalf("β·η at %d of the ramp is %v, the line has %v", k, got, want)
		}
	}
	if s.Beta(s.Ramp-1) != 0 || s.Beta(s.Joint) != 1 {
		t.Fatal("β is not 0 before and 1 after the ramp")
	}
	if last := s.Beta(s.Joint - 1); last < 0.97 || last > 1 {
		t.Fatalf("the ramp ends at β = %v", last)
	}
}

// TestBetaIsFinite at every step of every cut of a run.
func TestBetaIsFinite(t *testing.T) {
	for _, warmup := range []float64{0, 0.5, 0.999, 1} {
		c := Defaults("deps", "", "")
		c.Warmup, c.Ramp = warmup, warmup/2
		s := NewSchedule(&c, 429)
		for step := range s.Total {
			if b := s.Beta(step); !(b >= 0 && b < 3) {
				t.Errorf("warm-up %v: β is %v at step %d", warmup, b, step)
			}
		}
	}
}

// TestMaxOnlyEqualsZeroBeta: a DepS run whose switch never comes is max-net training.
func TestMaxOnlyEqualsZeroBeta(t *testing.T) {
	set := squares(128)
	a, b := testConfig(), recipeConfig("single")
	a.Epochs, b.Epochs = 1, 1
	a.Warmup, a.Ramp = 1, 0
	x, y := run(t, a, set, 1), run(t, b, set, 1)
	for i, v := range x.Net.W.Data {
		if v != y.Net.W.Data[i] {
			t.Fatalf("weight %d is %v after DepS without a switch, %v after max-net training", i, v, y.Net.W.Data[i])
		}
	}
}

// TestLearns: both ends of the supernet learn, and what lies between.
func TestLearns(t *testing.T) {
	if testing.Short() {
		t.Skip("trains; minutes on the plain-Go kernels")
	}
	tr := run(t, testConfig(), squares(256), 2)
	tr.Random = 2
	nets, err := tr.evaluate()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range nets {
		names = append(names, n.Net)
	}
	if !slices.Equal(names, []string{"max", "min", "mid", "random", "random"}) {
		t.Fatalf("evaluated are %v", names)
	}
	for _, n := range nets {
		if n.Accuracy < 0.95 {
			t.Errorf("the %s subnet is right on %.0f %% of validation images", n.Net, 100*n.Accuracy)
		}
	}
}
