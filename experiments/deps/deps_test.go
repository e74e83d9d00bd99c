package deps

import (
	"context"
	"encoding/json"
	"errors"
	"image"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"weft/data"
	"weft/experiments/report"
	"weft/kernel"
	"weft/supernet"
	"weft/train"
)

// What a recipe is foretold to cost is what it costs.
func TestCostIsForetold(t *testing.T) {
	set := noise(t)
	pool := kernel.NewPool(1)
	defer pool.Close()
	for _, method := range []string{methodDeps, methodOFA, methodCompOFA, methodBigNAS, methodNaive} {
		b := bench{space: "resnet-28s", data: set.Name, images: set.Train.N(), batch: 8, epochs: 8, lr: 0.01}
		c := b.config(method, 1)
		c.Epochs = b.epochs
		tr, err := train.New(c, set, pool)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Run(t.Context(), func() error { return nil }); err != nil {
			t.Fatal(err)
		}
		want, err := b.macs(tr.Net.Space, c)
		if err != nil {
			t.Fatal(err)
		}
		if off := tr.Spent.MACs/want - 1; math.Abs(off) > 0.1 {
			t.Errorf("%s: spent %.4g multiply-accumulates, foretold %.4g", method, tr.Spent.MACs, want)
		}
	}
}

// noise is a set of random images of two classes that differ in brightness.
func noise(t *testing.T) *data.Set {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	for class, base := range map[string]int{"dark": 0, "light": 128} {
		for i := range 40 {
			im := image.NewGray(image.Rect(0, 0, 28, 28))
			for j := range im.Pix {
				im.Pix[j] = uint8(base + rng.IntN(128))
			}
			writePNG(t, filepath.Join(dir, class, string(rune('a'+i%26))+string(rune('a'+i/26))+".png"), im)
		}
	}
	set, err := data.Load(t.Context(), dir, data.Options{ValImages: 8})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Equal cost means nearest to it: one epoch more or less would be further off.
func TestEqualCost(t *testing.T) {
	b := benches[0]
	space, err := supernet.Find(b.space, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	cost := func(c train.Config) float64 {
		macs, err := b.macs(space, c)
		if err != nil {
			t.Fatal(err)
		}
		return macs
	}
	reference := b.config(methodDeps, 1)
	reference.Epochs = b.epochs
	for _, method := range []string{methodOFA, methodBigNAS, noWarmup} {
		c := b.config(method, 1)
		n, err := b.equalEpochs(space, c)
		if err != nil {
			t.Fatal(err)
		}
		off := func(n int) float64 { c.Epochs = n; return math.Abs(cost(c) - cost(reference)) }
		if off(n) > off(n-1) || off(n) > off(n+1) {
			t.Errorf("%s: %d epochs cost %.3g away from DepS', %d %.3g, %d %.3g", method, n, off(n), n-1, off(n-1), n+1, off(n+1))
		}
	}
}

func TestCellsAreDistinct(t *testing.T) {
	cells, err := Cells()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range cells {
		if err := c.Config.Validate(); err != nil {
			t.Errorf("%s: %v", c.ID, err)
		}
		config, err := json.Marshal(c.Config)
		if err != nil {
			t.Fatal(err)
		}
		if seen[c.ID] || seen[string(config)] {
			t.Errorf("%s stands twice", c.ID)
		}
		seen[c.ID], seen[string(config)] = true, true
	}
}

// A cell that is stopped goes on where it was and is not trained again once it has a result, until its settings change.
func TestRunResumes(t *testing.T) {
	small(t)
	set, dir := noise(t), t.TempDir()
	pool := kernel.NewPool(1)
	defer pool.Close()
	var first []int
	o := Options{
		Dir: dir, Only: regexp.MustCompile("tiny-deps-full-1"), Pool: pool,
		Load: func(context.Context, string, int) (*data.Set, error) { return set, nil },
	}
	ctx, stop := context.WithCancel(t.Context())
	o.Observe = func(_ Cell, m train.Metrics, _ int) {
		first = append(first, m.Step)
		if m.Step == 12 {
			stop()
		}
	}
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped: %v", err)
	}
	o.Observe = func(_ Cell, m train.Metrics, _ int) { first = append(first, m.Step) }
	results, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(first); i++ {
		if first[i] < first[i-1] {
			t.Errorf("steps were done twice: %v", first)
		}
	}
	if len(results) != 1 || len(results[0].Test) != 6 || math.IsNaN(dip(&results[0])) || results[0].MACs == 0 {
		t.Fatalf("results: %+v", results)
	}
	first = nil
	if _, err := Run(t.Context(), o); err != nil || len(first) > 0 {
		t.Errorf("trained again: %v, %v", first, err)
	}
	benches[0].lr = 0.02
	if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), "other settings") {
		t.Errorf("a run of other settings is gone on with: %v", err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "runs")); err != nil {
		t.Fatal(err)
	}
	if _, err := Run(t.Context(), o); err != nil || len(first) == 0 {
		t.Errorf("other settings were not trained: %v", err)
	}
}

// Test images judge a cell in the end, validation images on the way: here the same, an odd number, each with the other
// class for its label, so that what a subnet is right on in one it is wrong on in the other.
func TestTestImagesJudgeInTheEnd(t *testing.T) {
	small(t)
	benches[0].epochs, benches[0].probe = 2, 0
	set := noise(t)
	set.Val = set.Val.Slice(0, 7)
	set.Test = data.Split{Images: set.Val.Images, Labels: make([]int32, 7)}
	for i, l := range set.Val.Labels {
		set.Test.Labels[i] = 1 - l
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	results, err := Run(t.Context(), Options{
		Dir: t.TempDir(), Only: regexp.MustCompile("tiny-deps-full-1"), Pool: pool,
		Load: func(context.Context, string, int) (*data.Set, error) { return set, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	last := results[0].Course[len(results[0].Course)-1]
	for i, on := range map[int]float64{0: last.Min, 5: last.Max} {
		if off := results[0].Test[i].Accuracy + on - 1; math.Abs(off) > 1e-9 {
			t.Errorf("the subnet %s is right on %.3f of the validation images and %.3f of the test images", results[0].Test[i].Subnet, on, results[0].Test[i].Accuracy)
		}
	}
}

// A cell that is stopped and cannot be kept says so, rather than that it was stopped.
func TestUnsavedCellIsTold(t *testing.T) {
	small(t)
	set, dir := noise(t), t.TempDir()
	pool := kernel.NewPool(1)
	defer pool.Close()
	ctx, stop := context.WithCancel(t.Context())
	_, err := Run(ctx, Options{
		Dir: dir, Only: regexp.MustCompile("tiny-deps-full-1"), Pool: pool,
		Load: func(context.Context, string, int) (*data.Set, error) { return set, nil },
		Observe: func(c Cell, _ train.Metrics, _ int) {
			stop()
			_ = os.Mkdir(filepath.Join(dir, "runs", c.ID, "checkpoint.safetensors"), 0o755)
		},
	})
	if err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "save the checkpoint") {
		t.Error(err)
	}
}

// small replaces the benches by one that trains in a second.
func small(t *testing.T) {
	old := benches
	t.Cleanup(func() { benches = old })
	benches = []bench{{
		name: "tiny", space: "resnet-28s", data: "noise", images: 72, batch: 8, seeds: 2, epochs: 4, probe: 1, lr: 0.01,
		methods: []variant{{methodDeps, full}, {methodDeps, half}, {methodOFA, equal}, {methodOFA, published}, {noRamp, full}},
	}}
}

func TestBudget(t *testing.T) {
	small(t)
	set := noise(t)
	pool := kernel.NewPool(1)
	defer pool.Close()
	_, err := Run(t.Context(), Options{
		Dir: t.TempDir(), Only: regexp.MustCompile("tiny-deps-full-1"), Pool: pool, Budget: time.Nanosecond,
		Load: func(context.Context, string, int) (*data.Set, error) { return set, nil },
	})
	if err == nil || !strings.Contains(err.Error(), "--budget") {
		t.Errorf("%v", err)
	}
}

func TestNothingToTell(t *testing.T) {
	small(t)
	_, err := Run(t.Context(), Options{Dir: t.TempDir(), Only: regexp.MustCompile("^nothing$")})
	if err == nil || !strings.Contains(err.Error(), "the ID of one is tiny-deps-full-1") {
		t.Error(err)
	}
}

// made returns results as if trained: accuracies of the smallest and the largest subnet, cost, and the dip.
func made(method, length string, seed uint64, low, high, macs, dip float64) Result {
	r := Result{ID: "tiny-" + short[method] + "-" + lengths[length] + "-" + string(rune('0'+seed)), MACs: macs, Course: []Point{
		{Epoch: 2, Max: 0.9}, {Epoch: 2.5, Max: 0.9}, {Epoch: 2.7, Beta: 1, Max: 0.9 - dip}, {Epoch: 4, Beta: 1, Max: 0.92},
	}}
	r.Config.Epochs, r.Config.Seed = 3, seed
	for i := range 6 {
		r.Test = append(r.Test, Net{"s", 1 << i, low + (high-low)*float64(i)/5})
	}
	return r
}

func TestClaims(t *testing.T) {
	small(t)
	for _, method := range []string{methodBigNAS, quarter, threeQuarters, noWarmup, hardLabels} {
		benches[0].methods = append(benches[0].methods, variant{method, equal})
	}
	reports, err := Reports([]Result{
		made(methodDeps, full, 1, 0.90, 0.94, 10, 0.002), made(methodDeps, full, 2, 0.90, 0.94, 10, 0.004),
		made(methodDeps, half, 1, 0.88, 0.92, 5, 0), made(methodDeps, half, 2, 0.88, 0.92, 5, 0),
		made(methodOFA, equal, 1, 0.88, 0.93, 10, 0), made(methodOFA, published, 1, 0.89, 0.93, 22.5, 0),
		made(noRamp, full, 1, 0.89, 0.93, 10, 0.02),
		made(methodBigNAS, equal, 1, 0.885, 0.95, 10, 0),
		made(quarter, equal, 1, 0.91, 0.93, 10, 0), made(threeQuarters, equal, 1, 0.905, 0.92, 10, 0),
		made(noWarmup, equal, 1, 0.88, 0.935, 10, 0), made(hardLabels, equal, 1, 0.88, 0.965, 10, 0),
	})
	if err != nil || len(reports) != 1 {
		t.Fatal(reports, err)
	}
	want := map[string]struct {
		value string
		holds bool
	}{
		"the smallest subnet is more accurate than with OFA (equal cost schedule)":     {"+2.00", true},
		"the smallest subnet is more accurate than with OFA (published schedule)":      {"+1.00", false},
		"the largest subnet is no less accurate than with OFA (equal cost schedule)":   {"+1.00", true},
		"as accurate as OFA in its published schedule, for less (mean of six subnets)": {"3.00x to 91.00 %", true},
		"with ε the largest subnet hardly dips where the others join":                  {"0.30", true},
		"without ε it dips": {"2.00 against 0.20", true},
		"ε makes the subnets more accurate in the end (mean of six)":                    {"+1.00", true},
		"the smallest subnet is more accurate than with BigNAS (equal cost schedule)":   {"+1.50", true},
		"the largest subnet is no less accurate than with BigNAS (equal cost schedule)": {"-1.00", false},
		"a warm-up of half the run beats one of a quarter (largest subnet)":             {"+1.00", true},
		"a warm-up of half the run beats one of a quarter (smallest subnet)":            {"-1.00", false},
		"a warm-up of half the run beats one of three quarters (smallest subnet)":       {"-0.50", false},
		"a warm-up of half the run beats one of three quarters (largest subnet)":        {"+2.00", true},
		"in-place distillation is better from a network that is warmed up":              {"+1.25", false},
		"distillation in place is better than labels":                                   {"-0.25", false},
	}
	for _, c := range reports[0].Claims {
		if w, ok := want[c.Text]; ok && (c.Verdicts[0].Value != w.value || c.Verdicts[0].Holds != w.holds) {
			t.Errorf("%s: %+v, want %+v", c.Text, c.Verdicts[0], w)
		}
		delete(want, c.Text)
	}
	if len(want) > 0 {
		t.Errorf("not judged: %v", want)
	}
	dir := t.TempDir()
	if err := Write(dir, "weft experiment deps", reports); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile(filepath.Join(dir, "results.md"))
	if err != nil || !strings.Contains(string(page), "| DepS | full | 2 |") {
		t.Errorf("%s, %v", page, err)
	}
}

// What lies nearer to its criterion than two standard errors, by the seeds' deviation, is too close to tell, methods are compared
// over the seeds that both have, and six trainings of one subnet each count as one.
func TestSeedsTellHowClose(t *testing.T) {
	small(t)
	benches[0].methods = []variant{{methodDeps, full}, {methodOFA, equal}, {methodBigNAS, equal}, {alone, equal}}
	var results []Result
	for seed, low := range map[uint64]float64{1: 0.900, 2: 0.904} { // a standard deviation of 0.283 points
		results = append(results, made(methodDeps, full, seed, low, 0.94, 10, 0))
		results = append(results, made(methodOFA, equal, seed, low-0.014, 0.93, 10, 0))
	}
	results = append(results, made(methodBigNAS, equal, 2, 0.884, 0.95, 10, 0))
	space, err := supernet.Find("resnet-28s", 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(2) {
		each, err := benches[0].alone(space, seed+1)
		if err != nil || len(each) != 6 {
			t.Fatal(each, err)
		}
		for i, c := range each {
			if a, err := c.Config.Trained(space); err != nil || a != six(space)[i] {
				t.Errorf("cell %s trains %s, %v", c.ID, c.Config.Subnet, err)
			}
			if seed == 0 || i < 5 { // the last of seed 2 is missing
				results = append(results, Result{ID: c.ID, Config: c.Config, MACs: 2, Seconds: 1, Test: []Net{{"s", i, 0.8 + 0.02*float64(i)}}})
			}
		}
	}
	reports, err := Reports(results)
	if err != nil || len(reports) != 1 {
		t.Fatal(reports, err)
	}
	r := reports[0]
	if g := r.find(alone, equal); len(g.results) != 1 || g.value(cost) != 12 || math.Abs(g.value(meanOfSix)-85) > 1e-9 {
		t.Errorf("%+v", g)
	}
	want := map[string]report.Verdict{ // 2·0.283·√(2/n), n being 2, 1 and 1
		"the smallest subnet is more accurate than with OFA (equal cost schedule)":                     {Value: "+1.40 ± 0.57", Holds: true, Close: true},
		"the largest subnet is no less accurate than with OFA (equal cost schedule)":                   {Value: "+1.00", Holds: true},
		"the smallest subnet is more accurate than with BigNAS (equal cost schedule)":                  {Value: "+2.00 ± 0.80", Holds: true, Close: true},
		"the largest subnet is no less accurate than with BigNAS (equal cost schedule)":                {Value: "-1.00"},
		"six subnets of one supernet are more accurate than the six trained alone, for as much in sum": {Value: "+7.00 ± 0.40", Holds: true},
	}
	for _, c := range r.Claims {
		if w, ok := want[c.Text]; !ok || c.Verdicts[0] != w {
			t.Errorf("%s: %+v, want %+v", c.Text, c.Verdicts[0], w)
		}
		delete(want, c.Text)
	}
	if len(want) > 0 {
		t.Errorf("not judged: %v", want)
	}
	if s := summary(reports); !strings.Contains(s, "of 5 claims 2 hold, 2 are too close to tell") {
		t.Error(s)
	}
}

// Six trainings alone cost what DepS costs, as near as whole epochs come.
func TestAloneCostsAsMuch(t *testing.T) {
	for _, b := range benches[:2] {
		space, err := supernet.Find(b.space, 10, channels(b.data))
		if err != nil {
			t.Fatal(err)
		}
		reference := b.config(methodDeps, 1)
		reference.Epochs = b.epochs
		budget, err := b.macs(space, reference)
		if err != nil {
			t.Fatal(err)
		}
		each, err := b.alone(space, 1)
		if err != nil {
			t.Fatal(err)
		}
		sum, epoch := 0.0, 0.0
		for _, c := range each {
			cost, err := b.macs(space, c.Config)
			if err != nil {
				t.Fatal(err)
			}
			sum, epoch = sum+cost, epoch+cost/float64(c.Config.Epochs)
		}
		if math.Abs(sum-budget) > epoch/2 {
			t.Errorf("%s: %.3g for six of %d epochs each, %.3g for the supernet", b.name, sum, each[0].Config.Epochs, budget)
		}
	}
}

// The page in docs says what the results beside it give, and all of these are of cells as they are.
func TestDocs(t *testing.T) {
	const dir = "../../docs/experiments/deps"
	results, err := Run(t.Context(), Options{Dir: dir, Only: regexp.MustCompile("^$")})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "results", "*.json"))
	if err != nil || len(files) != len(results) {
		t.Errorf("%d files, %d results of cells as they are, %v: remove the others and run the command of results.md", len(files), len(results), err)
	}
	reports, err := Reports(results)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, "results.md"))
	if err != nil {
		t.Fatal(err)
	}
	command := strings.TrimSpace(strings.Split(string(want), "\n")[2])
	tmp := t.TempDir()
	if err := Write(tmp, command, reports); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(tmp, "results.md"))
	if err != nil || string(got) != string(want) {
		t.Errorf("results.md is not what the results give: run %q, %v", command, err)
	}
}
