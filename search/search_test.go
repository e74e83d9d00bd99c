package search

import (
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"weft/data"
	"weft/kernel"
	"weft/nn"
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
		front := Front(results, ByMACs)
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
			all := supernet.Sampling{ElasticKernel: true}
			archs := candidates(t, space, Config{Samples: samples, Seed: 5, Trained: all})
			uniform := candidates(t, space, Config{Seed: 5, Trained: all})
			if len(archs) != len(uniform)+samples || !slices.Equal(archs[:len(uniform)], uniform) {
				t.Errorf("%d subnets, %d of them uniform, instead of %d more", len(archs), len(uniform), samples)
			}
			for _, a := range []supernet.Arch{space.Min(), space.Max()} {
				if !slices.Contains(uniform, a) {
					t.Errorf("%s is missing", space.Format(a))
				}
			}
			if !slices.Equal(archs, candidates(t, space, Config{Samples: samples, Seed: 5, Trained: all})) {
				t.Error("the same seed gives other subnets")
			}
			if slices.Equal(archs, candidates(t, space, Config{Samples: samples, Seed: 6, Trained: all})) {
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
	var results []Result
	for _, a := range archs {
		r, err := e.Evaluate(a, on)
		if err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	if results[0].Accuracy != 1 || results[1].Accuracy == 1 {
		t.Errorf("%v", results)
	}
	g, _ := net.Space.Lower(net.Space.Max())
	if results[0].MACs != g.MACs() || results[0].Params != g.Params() || results[0].Arch != archs[0] {
		t.Errorf("%v", results[0])
	}
	checkTrim(t, e, results)
}

// checkTrim checks that the statistics of one subnet serve it and no other.
func checkTrim(t *testing.T, e *Evaluator, results []Result) {
	t.Helper()
	norms, err := e.Trim(t.Context(), results[1:])
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

// TestOnlyWhatWasTrained: CompOFA trains coupled choices and the largest kernels. No other subnets are candidates or come
// of a search, and looking at all of them finds the best.
func TestOnlyWhatWasTrained(t *testing.T) {
	space, err := supernet.Find("mbv3-28-k35", 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	trained := supernet.Sampling{Coupled: true}
	conforms := func(a supernet.Arch) bool { return space.Conform(a, trained) == a }
	archs := candidates(t, space, Config{Samples: 20, Trained: trained})
	if !slices.Contains(archs, space.Max()) || !slices.Contains(archs, space.Conform(space.Min(), trained)) {
		t.Error("an end is missing")
	}
	p := Problem{Space: space, Trained: trained, Cost: ByMACs, Judge: func(r *Result, g *nn.Graph) error {
		archs = append(archs, r.Arch)
		h := fnv.New64a()
		fmt.Fprint(h, r.Arch)
		r.Accuracy = float64(h.Sum64()%1e6) / 1e6
		return nil
	}}
	e := Evolution{Population: 10, Generations: 5}
	for name, search := range map[string]func() ([]Result, error){
		"evolution": func() ([]Result, error) { return p.Evolve(t.Context(), e) },
		"nsga2":     func() ([]Result, error) { return p.NSGA2(t.Context(), e) },
	} {
		if _, err := search(); err != nil {
			t.Fatal(name, err)
		}
	}
	if i := slices.IndexFunc(archs, func(a supernet.Arch) bool { return !conforms(a) }); i >= 0 {
		t.Errorf("%s was not trained", space.Format(archs[i]))
	}
	archs = nil
	small, err := supernet.Find("resnet-28s", 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	space, p.Space = small, small
	front, err := p.Exhaustive(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	networks := map[supernet.Arch]bool{}
	var all []Result
	for a := range space.All() {
		if id := space.Canonical(a); conforms(a) && !networks[id] {
			networks[id] = true
			g, err := space.Lower(a)
			if err != nil {
				t.Fatal(err)
			}
			r := Result{Arch: a, MACs: g.MACs(), Params: g.Params(), Memory: Memory(g)}
			if err := p.Judge(&r, g); err != nil {
				t.Fatal(err)
			}
			all = append(all, r)
		}
	}
	if diff := cmp.Diff(Front(all, ByMACs), front); diff != "" {
		t.Error(diff)
	}
}

// TestEndsUnderOtherNames: where widths round to the same channels, the largest network may be measured by another name.
func TestEndsUnderOtherNames(t *testing.T) {
	space, err := supernet.Find("resnet-28s", 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	space.Widths = []float64{0.5, 0.99, 1}
	other := space.Canonical(space.Max())
	if other == space.Max() {
		t.Fatal("the largest network has one name only")
	}
	largest := Result{Arch: other, MACs: 300, Accuracy: 0.9}
	got := Serve(space, []Result{{Arch: space.Min(), MACs: 100, Accuracy: 0.95}, largest}, ByMACs, supernet.Sampling{})
	if len(got) != 2 || got[0] != largest {
		t.Errorf("%v: the largest network is missing", got)
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
	}, ByMACs, supernet.Sampling{})
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
