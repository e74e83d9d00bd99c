package train

import (
	"context"
	"math"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"weft/data"
	"weft/nn"
	"weft/supernet"
)

// firstBatch returns the first training batch of a run.
func firstBatch(t testing.TB, tr *Trainer) *data.Batch {
	t.Helper()
	l, err := data.NewLoader(tr.Set, tr.Set.Train, data.LoaderConfig{Batch: tr.Config.Batch, Augment: *tr.Config.augment(), Seed: tr.Config.Seed})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	b, err := l.Next()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAggregation: the gradient of a step is, coordinate by coordinate, the sum of its tasks'
// gradients over the sum of the weights of those that own it, or over its square root.
func TestAggregation(t *testing.T) {
	for _, how := range Aggregates {
		c := recipeConfig("deps")
		c.Batch, c.Momentum, c.Decay, c.Aggregate = 8, 0, 0, how
		c.Warmup, c.Ramp, c.Sort = 0.5, 0.5, false
		tr := newTrainer(t, c, squares(64))
		tr.Step = 4 // in the ramp
		b := firstBatch(t, tr)
		s := tr.Recipe.Step(tr.Step)
		if beta := s.Tasks[1].Weight; beta <= 0.1 || beta >= 1 {
			t.Fatalf("β is %v", beta)
		}
		sum, owners := make([]float64, len(tr.exec.Grad)), make([]float64, len(tr.exec.Grad))
		clear(tr.labels)
		tr.rows.AddLabels(tr.labels, b.Labels, c.Smoothing, 1)
		for i := range s.Tasks {
			tr.exec.ZeroGrad()
			if err := tr.learn(&s.Tasks[i], b, i == 0); err != nil {
				t.Fatal(err)
			}
			g, err := tr.Net.Space.Lower(s.Tasks[i].Arch)
			if err != nil {
				t.Fatal(err)
			}
			own := owned(tr.Net, g)
			for j, v := range tr.exec.Grad {
				sum[j] += float64(v)
				owners[j] += s.Tasks[i].Weight * own[j]
			}
		}
		before := slices.Clone(tr.Net.W.Data)
		if err := tr.step(b); err != nil {
			t.Fatal(err)
		}
		for j, v := range tr.Net.W.Data {
			want := sum[j]
			switch {
			case owners[j] == 0:
			case how == "avg":
				want /= owners[j]
			case how == "avg-sqrt":
				want /= math.Sqrt(owners[j])
			}
			if got := float64(before[j]-v) / s.Rate; math.Abs(got-want) > 1e-5+1e-3*math.Abs(want) {
				t.Fatalf("%s: coordinate %d moves by %v, want %v", how, j, got, want)
			}
		}
	}
}

// owned marks the weights that a graph of basic blocks uses, element by element of the
// canonical order.
func owned(net *supernet.Supernet, g *nn.Graph) []float64 {
	w := net.W
	mark := make([]float32, len(w.Data))
	for i := range g.Ops {
		op := &g.Ops[i]
		if op.Layer < 0 {
			continue
		}
		in, out := g.Values[op.In].C, g.Values[op.Out].C
		for p := range w.Params {
			if w.Params[p].Layer != op.Layer {
				continue
			}
			shape := w.Params[p].Shape
			vals := w.Canonical(mark, p)
			for j := range vals {
				o, last := j/(len(vals)/shape[0]), j%shape[len(shape)-1]
				if o < out && (len(shape) == 1 || last < in) {
					vals[j] = 1
				}
			}
			w.SetCanonical(mark, p, vals)
		}
	}
	wide := make([]float64, len(mark))
	for i, v := range mark {
		wide[i] = float64(v)
	}
	return wide
}

// TestMovingAverage: the weights that a run ends with are Σ (1−k_t)·Π_{s>t} k_s·w_t over the
// weights of its steps, with k_t = min(keep, t/(t+9)), and w₀ for t = 0.
func TestMovingAverage(t *testing.T) {
	c := recipeConfig("deps")
	c.Batch, c.Epochs, c.EMA, c.Sort = 8, 2, 0.5, false
	small(&c)
	set := squares(64)
	tr := newTrainer(t, c, set)
	trail := [][]float32{slices.Clone(tr.Net.W.Data)}
	tr.Every = 1
	tr.Observe = func(m Metrics) {
		if m.Step < tr.Total {
			trail = append(trail, slices.Clone(tr.Net.W.Data))
		}
	}
	if err := tr.Run(context.Background(), func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	c.EMA = 0
	plain := run(t, c, set, 1)
	trail = append(trail, plain.Net.W.Data) // what the last step led to
	keep := func(t int) float64 { return min(0.5, float64(t)/float64(t+9)) }
	for i, got := range tr.Net.W.Data {
		want := 0.0
		for at, w := range trail {
			share := 1.0
			if at > 0 {
				share = 1 - keep(at)
			}
			for later := at + 1; later < len(trail); later++ {
				share *= keep(later)
			}
			want += share * float64(w[i])
		}
		if math.Abs(float64(got)-want) > 1e-5 {
			t.Fatalf("weight %d is %v at the end, the average of its course is %v", i, got, want)
		}
	}
}

// TestLookahead: every five steps the weights become k·slow + (1−k)·weights with
// k = keep⁵·(t/T)³, and the run ends with the slow ones.
func TestLookahead(t *testing.T) {
	c := recipeConfig("single")
	c.Lookahead = 0.9
	tr := newTrainer(t, c, squares(64))
	w := tr.Net.W.Data
	tr.Total, tr.Config.LR, tr.Config.Decay = 12, 1, 0
	slow := float64(w[0])
	for tr.Step = 0; tr.Step < 12; tr.Step++ {
		before := float64(w[0])
		tr.exec.ZeroGrad()
		tr.exec.Grad[0] = 1
		clear(tr.velocity)
		tr.update(1) // moves the weight by 1 + momentum
		fast := before - 1.9
		want := fast
		if done := tr.Step + 1; done%5 == 0 {
			k := math.Pow(0.9, 5) * math.Pow(float64(done)/12, 3)
			slow = k*slow + (1-k)*fast
			want = slow
		}
		if tr.Step == 11 {
			want = slow
		}
		if math.Abs(float64(w[0])-want) > 1e-4 {
			t.Fatalf("after step %d the weight is %v, want %v", tr.Step+1, w[0], want)
		}
	}
}

func TestClipping(t *testing.T) {
	g := []float32{3, -4, 0, 12}
	clipNorm(g, 26)
	if !slices.Equal(g, []float32{3, -4, 0, 12}) {
		t.Errorf("a short gradient became %v", g)
	}
	clipNorm(g, 6.5)
	if !slices.Equal(g, []float32{1.5, -2, 0, 6}) {
		t.Errorf("clipped to norm 6.5: %v", g)
	}
	clipValue(g, 1.75)
	if !slices.Equal(g, []float32{1.5, -1.75, 0, 1.75}) {
		t.Errorf("clipped to 1.75: %v", g)
	}
}

// TestGroups: weights decay, biases and normalisation do not, and shifts have a rate of
// their own.
func TestGroups(t *testing.T) {
	tr := newTrainer(t, recipeConfig("single"), squares(64))
	w := tr.Net.W
	for _, o := range []nn.SGD{{LR: 0.5, Decay: 0.1}, {LR: 0.5, Decay: 0.1, ShiftLR: 8, DecayAll: true}} {
		for i := range w.Data {
			w.Data[i] = 1
		}
		grad := make([]float32, len(w.Data))
		for i := range grad {
			grad[i] = 0.25
		}
		o.Step(w, grad, make([]float32, len(w.Data)))
		for _, p := range w.Params {
			step := 0.25
			if o.DecayAll || p.Role == nn.Weight {
				step += 0.1
			}
			if p.Role == nn.Beta && o.ShiftLR > 0 {
				step *= o.ShiftLR
			}
			if got := w.Data[p.Off]; math.Abs(float64(got)-(1-0.5*step)) > 1e-6 {
				t.Errorf("%+v: a value of %s became %v, want %v", o, p.Name, got, 1-0.5*step)
			}
		}
	}
}

// TestWhitening: the stem's outputs on patches of training images have variance 1 and are
// uncorrelated, but for the sign in which every second filter differs.
func TestWhitening(t *testing.T) {
	c := recipeConfig("single")
	c.Whiten = true
	tr := newTrainer(t, c, squares(200))
	w := tr.Net.W
	filters := w.Canonical(w.Data, w.Find(0, nn.Weight))
	const size = 9
	cov := tr.patchCovariance(3, size)
	response := func(a, b int) float64 {
		sum := 0.0
		for i := range size {
			for j := range size {
				sum += float64(filters[a*size+i]) * cov.At(i, j) * float64(filters[b*size+j])
			}
		}
		return sum
	}
	for a := range 16 {
		if a%2 == 1 {
			for i := range size {
				if filters[a*size+i] != -filters[(a-1)*size+i] {
					t.Fatalf("filter %d is not the negative of the one before", a)
				}
			}
		}
		for b := range a + 1 {
			want := 0.0
			if a/2 == b/2 {
				want = 1
				if a != b {
					want = -1
				}
			}
			if got := response(a, b); math.Abs(got-want) > 0.35*math.Abs(want)+1e-3 {
				t.Errorf("filters %d and %d: covariance %v, want %v", a, b, got, want)
			}
		}
	}
}

// TestWhiteningLooksAtAllClasses: a folder's images are in the order of their classes.
func TestWhiteningLooksAtAllClasses(t *testing.T) {
	c := recipeConfig("single")
	set := squares(200)
	tr := newTrainer(t, c, set)
	trace := func(n int, dark func(i int) bool) float64 {
		size := set.ImageSize()
		images := make([]uint8, n*size)
		for i := range images {
			images[i] = 255
			if dark(i / size) {
				images[i] = 0
			}
		}
		tr.Set.Train = data.Split{Images: images, Labels: make([]int32, n)}
		cov := tr.patchCovariance(3, 9)
		return mat.Trace(cov)
	}
	const n = whitenImages * 5 / 2
	black, white := trace(100, func(int) bool { return true }), trace(100, func(int) bool { return false })
	if got, want := trace(n, func(i int) bool { return i < n*4/5 }), 0.8*black+0.2*white; math.Abs(got-want) > 1e-2*math.Abs(want) {
		t.Errorf("second moment %v: want %v, four fifths of %v and one of %v", got, want, black, white)
	}
}

// TestZeroGamma: with scales of 0 at the end of each block, blocks begin as their shortcuts, in the recipes whose published
// code has it so.
func TestZeroGamma(t *testing.T) {
	for recipe, want := range map[string]int{"bignas": 6, "attentivenas": 6, "alphanet": 6, "deps": 0} { // of 6 blocks
		tr := newTrainer(t, recipeConfig(recipe), squares(64))
		w, zeros := tr.Net.W, 0
		for i := range w.Layers {
			gamma := w.Of(w.Data, i, nn.Gamma)
			if len(gamma) > 0 && gamma[0] == 0 {
				zeros++
			}
		}
		if zeros != want {
			t.Errorf("%s: %d layers have scale 0, want %d", recipe, zeros, want)
		}
	}
}
