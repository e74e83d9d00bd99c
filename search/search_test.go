package search

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weft/data"
	"weft/kernel"
	"weft/supernet"
)

// smallSpaces have few or narrow networks, so that lowering many of them is fast.
var smallSpaces = []string{"resnet-28s", "resnet-28", "resnet-32", "mbv3-28", "mbv3-28-k35"}

// TestParetoIsThatOfBruteForce compares with the definition, on few distinct values so
// that there are ties.
func TestParetoIsThatOfBruteForce(t *testing.T) {
	result := rapid.Custom(func(t *rapid.T) Result {
		return Result{MACs: rapid.IntRange(1, 8).Draw(t, "macs"), Accuracy: float64(rapid.IntRange(0, 8).Draw(t, "right")) / 8}
	})
	rapid.Check(t, func(t *rapid.T) {
		results := rapid.SliceOfN(result, 0, 20).Draw(t, "results")
		for i := range results {
			results[i].Params = i // tells them apart
		}
		given := slices.Clone(results)
		front := Pareto(results)
		if diff := cmp.Diff(given, results); diff != "" {
			t.Fatal("the argument was changed", diff)
		}
		for i := 1; i < len(front); i++ {
			if front[i].Accuracy <= front[i-1].Accuracy || front[i].MACs <= front[i-1].MACs {
				t.Fatalf("entries %d and %d don't rise: %v", i-1, i, front)
			}
		}
		for _, r := range results {
			beaten := slices.ContainsFunc(results, func(o Result) bool {
				return o.MACs < r.MACs && o.Accuracy >= r.Accuracy || o.MACs == r.MACs && o.Accuracy > r.Accuracy ||
					o.MACs == r.MACs && o.Accuracy == r.Accuracy && o.Params < r.Params // the first of equals stays
			})
			if kept := slices.Contains(front, r); kept == beaten {
				t.Fatalf("%v: beaten %v, kept %v", r, beaten, kept)
			}
		}
		if len(front) > len(results) {
			t.Fatal("more kept than given")
		}
	})
}

// More samples than a space has networks are not drawn for ever.
func TestCandidatesRunOut(t *testing.T) {
	p, _ := madeUp(t, 1)
	archs := candidates(t, p.Space, Config{Samples: 1 << 40, Seed: 1})
	if n := p.Space.Size().Int64(); int64(len(archs)) > n || len(archs) < 6 {
		t.Errorf("%d candidates of %d subnets", len(archs), n)
	}
}

// What falls into a full bin is still there where the space has no more.
func TestCandidatesOfMostOfASpace(t *testing.T) {
	space, err := supernet.Find("resnet-32w", 10, 3)
	if err != nil {
		t.Fatal(err)
	}
	const samples = 1500 // of 1728 networks
	archs, uniform := candidates(t, space, Config{Samples: samples, Seed: 1}), candidates(t, space, Config{})
	seen := map[supernet.Arch]bool{}
	for _, a := range archs {
		seen[a] = true
	}
	if n := len(archs) - len(uniform); n != samples || len(seen) != len(archs) {
		t.Errorf("%d samples instead of %d, %d different ones in all", n, samples, len(seen))
	}
}

func TestCandidates(t *testing.T) {
	for _, name := range smallSpaces {
		t.Run(name, func(t *testing.T) {
			space, err := supernet.Find(name, 10, 1)
			if err != nil {
				t.Fatal(err)
			}
			const samples = 60
			archs := candidates(t, space, Config{Samples: samples, Seed: 5})
			uniform := candidates(t, space, Config{Seed: 5})
			if len(archs) != len(uniform)+samples || !slices.Equal(archs[:len(uniform)], uniform) {
				t.Errorf("%d subnets, %d of them uniform, instead of %d more", len(archs), len(uniform), samples)
			}
			for _, a := range []supernet.Arch{space.Min(), space.Max()} {
				if !slices.Contains(uniform, a) {
					t.Errorf("%s is missing", space.Format(a))
				}
			}
			if !slices.Equal(archs, candidates(t, space, Config{Samples: samples, Seed: 5})) {
				t.Error("the same seed gives other subnets")
			}
			if slices.Equal(archs, candidates(t, space, Config{Samples: samples, Seed: 6})) {
				t.Error("another seed gives the same subnets")
			}
			checkSpread(t, space, archs, samples)
		})
	}
}

// checkSpread checks that no network comes twice and that every fifth of the range of
// costs, on a log scale, has its share.
func checkSpread(t *testing.T, space *supernet.Space, archs []supernet.Arch, samples int) {
	t.Helper()
	seen := map[supernet.Arch]bool{}
	macs := make([]float64, len(archs))
	for i, a := range archs {
		if seen[a] {
			t.Errorf("%s comes twice", space.Format(a))
		}
		seen[a] = true
		g, err := space.Lower(a)
		if err != nil {
			t.Fatal(err)
		}
		macs[i] = math.Log(float64(g.MACs()))
	}
	lo, hi := slices.Min(macs), slices.Max(macs)
	var bins [5]int
	for _, m := range macs {
		bins[min(int(5*(m-lo)/(hi-lo)), 4)]++
	}
	if slices.Min(bins[:]) < samples/5/3 {
		t.Errorf("the costs lie in fifths of the range as %v", bins)
	}
}

func candidates(t *testing.T, space *supernet.Space, c Config) []supernet.Arch {
	t.Helper()
	archs, err := Candidates(space, c)
	if err != nil {
		t.Fatal(err)
	}
	return archs
}

// testNet returns a supernet of random weights with images to measure it on.
func testNet(t *testing.T) (*supernet.Supernet, data.Split, [][]float32) {
	t.Helper()
	space, err := supernet.Find("resnet-28s", 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	on := data.Split{Images: make([]uint8, 40*space.Input.Size()), Labels: make([]int32, 40)}
	for i := range on.Images {
		on.Images[i] = uint8(rng.IntN(256))
	}
	calib := make([]float32, 8*space.Input.Size())
	for i := range calib {
		calib[i] = float32(rng.NormFloat64())
	}
	return supernet.New(space, []float32{0.5}, []float32{0.3}, rng), on, [][]float32{calib}
}

// TestEvaluate labels the images as the largest subnet does, so that its accuracy is 1.
func TestEvaluate(t *testing.T) {
	net, on, calib := testNet(t)
	pool := kernel.NewPool(1)
	defer pool.Close()
	e := NewEvaluator(net, supernet.Norms{}, calib, pool)
	if _, err := e.Evaluate(net.Space.Max(), data.Split{}); err == nil {
		t.Error("no images were enough")
	}
	if _, err := e.Evaluate(net.Space.Max(), on); err != nil {
		t.Fatal(err)
	}
	p, err := supernet.NewTable(net, e.Norms).Plan(net.Space.Max())
	if err != nil {
		t.Fatal(err)
	}
	x, logits := make([]float32, len(on.Images)), make([]float32, 10*on.N())
	for i, v := range on.Images {
		x[i] = float32(v) / 255
	}
	supernet.NewWorker(pool).Run(p, x, on.N(), logits)
	for i := range on.Labels {
		row := logits[10*i : 10*i+10]
		on.Labels[i] = int32(slices.Index(row, slices.Max(row)))
	}
	archs := []supernet.Arch{net.Space.Max(), net.Space.Min()}
	seen := 0
	results, err := Run(t.Context(), e, archs, on, func(Result) { seen++ })
	if err != nil || len(results) != 2 || seen != 2 || results[0].Accuracy != 1 || results[1].Accuracy == 1 {
		t.Errorf("%v, %v, %d observed", results, err, seen)
	}
	g, _ := net.Space.Lower(net.Space.Max())
	if results[0].MACs != g.MACs() || results[0].Params != g.Params() || results[0].Arch != archs[0] {
		t.Errorf("%v", results[0])
	}
	checkTrim(t, e, results)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, e, archs, on, func(Result) { t.Error("measured after the end") }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// checkTrim checks that the statistics of one subnet serve it and no other.
func checkTrim(t *testing.T, e *Evaluator, results []Result) {
	t.Helper()
	norms, err := e.Trim(results[1:])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := supernet.NewTable(e.Net, norms).Plan(results[1].Arch); err != nil {
		t.Error(err)
	}
	if _, err := supernet.NewTable(e.Net, norms).Plan(results[0].Arch); err == nil || len(norms) >= len(e.Norms) {
		t.Errorf("%d statistics of %d were kept", len(norms), len(e.Norms))
	}
}

// TestServeKeepsTheEnds: both ends are there once, whether or not they are on the front.
func TestServeKeepsTheEnds(t *testing.T) {
	space, err := supernet.Find("resnet-28s", 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	mid := space.Uniform()[3]
	got := Serve(space, []Result{
		{Arch: space.Max(), MACs: 300, Accuracy: 0.90},
		{Arch: mid, MACs: 200, Accuracy: 0.91},
		{Arch: space.Min(), MACs: 100, Accuracy: 0.80},
		{Arch: space.Uniform()[4], MACs: 250, Accuracy: 0.85},
	}, ByMACs)
	want := []supernet.Arch{space.Min(), space.Max(), mid}
	if len(got) != len(want) {
		t.Fatalf("%d subnets, want %d", len(got), len(want))
	}
	for i, r := range got {
		if r.Arch != want[i] {
			t.Errorf("subnet %d is %s, want %s", i, space.Format(r.Arch), space.Format(want[i]))
		}
	}
}
