package nn

import (
	"math"
	"math/rand/v2"
	"testing"

	"weft/kernel"
	"weft/tensor"
)

// small returns a graph that uses every kind of operation, prefixes of most layers, an
// elastic kernel and residuals.
func small() *Graph {
	layers := []Layer{
		{Name: "stem", Kind: Conv, In: 3, Out: 16, K: 3, Norm: true},
		{Name: "expand", Kind: Conv, In: 16, Out: 48, K: 1, Norm: true},
		{Name: "dw", Kind: Depthwise, In: 48, Out: 48, K: 7, Kernels: []int{5, 3}, Norm: true},
		{Name: "se", Kind: SE, In: 48, Out: 48, Hidden: 16},
		{Name: "project", Kind: Conv, In: 48, Out: 24, K: 1, Norm: true},
		{Name: "conv", Kind: Conv, In: 24, Out: 40, K: 3, Norm: true},
		{Name: "same", Kind: Conv, In: 40, Out: 40, K: 3, Norm: true},
		{Name: "mix", Kind: Conv, In: 40, Out: 32, K: 1},
		{Name: "fc", Kind: FC, In: 32, Out: 10},
	}
	s := func(h, c int) tensor.Shape { return tensor.Shape{H: h, W: h, C: c} }
	return &Graph{
		Layers: layers,
		Values: []tensor.Shape{s(9, 3), s(9, 8), s(9, 24), s(5, 24), s(5, 24), s(5, 16), s(5, 24), s(5, 24), s(5, 24), s(3, 24), s(1, 24), s(1, 24), s(1, 24), s(1, 10)},
		Ops: []Op{
			{Kind: Conv, Layer: 0, In: 0, Out: 1, Res: -1, K: 3, Stride: 1, Act: kernel.HSwish},
			{Kind: Conv, Layer: 1, In: 1, Out: 2, Res: -1, K: 1, Stride: 1, Act: kernel.HSwish},
			{Kind: Depthwise, Layer: 2, In: 2, Out: 3, Res: -1, K: 3, Stride: 2, Act: kernel.HSwish},
			{Kind: SE, Layer: 3, In: 3, Out: 4, Res: -1, Hidden: 8},
			{Kind: Conv, Layer: 4, In: 4, Out: 5, Res: -1, K: 1, Stride: 1},
			{Kind: Conv, Layer: 5, In: 5, Out: 6, Res: -1, K: 3, Stride: 1, Act: kernel.ReLU},
			{Kind: Conv, Layer: 6, In: 6, Out: 7, Res: 6, K: 3, Stride: 1, Act: kernel.ReLU},
			{Kind: Add, Layer: -1, In: 7, Out: 8, Res: 6, Act: kernel.ReLU},
			{Kind: MaxPool, Layer: -1, In: 8, Out: 9, Res: -1, K: 3, Stride: 2},
			{Kind: AvgPool, Layer: -1, In: 9, Out: 10, Res: -1, K: 2, Stride: 2},
			{Kind: GlobalPool, Layer: -1, In: 10, Out: 11, Res: -1},
			{Kind: Conv, Layer: 7, In: 11, Out: 12, Res: -1, K: 1, Stride: 1, Act: kernel.HSwish},
			{Kind: FC, Layer: 8, In: 12, Out: 13, Res: -1},
		},
	}
}

// smooth replaces what has kinks, so that central differences converge fast.
func smooth(g *Graph) *Graph {
	for i := range g.Ops {
		op := &g.Ops[i]
		switch {
		case op.Kind == MaxPool:
			op.Kind = AvgPool
		case op.Act == kernel.ReLU && op.Res >= 0:
			op.Act = kernel.Linear
		case op.Act == kernel.ReLU:
			op.Act = kernel.HSwish
		}
	}
	return g
}

func setup(t testing.TB, g *Graph, threads, n int) (*Exec, *Graph, []float32, []int32) {
	if err := g.Check(); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	w := NewWeights(g.Layers)
	w.Init(rng)
	for i := range w.Params {
		p := &w.Params[i]
		if p.Role == Bias || p.Role == Bias2 || p.Role == Beta || p.Role == Transform {
			v := w.Canonical(w.Data, i)
			for j := range v {
				v[j] += float32(rng.NormFloat64() * 0.1)
			}
			w.SetCanonical(w.Data, i, v)
		}
	}
	pool := kernel.NewPool(threads)
	t.Cleanup(pool.Close)
	x := make([]float32, n*g.Values[0].Size())
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	labels := make([]int32, n)
	for i := range labels {
		labels[i] = int32(rng.IntN(10))
	}
	return NewExec(w, pool, true), g, x, labels
}

func (e *Exec) lossForTest(g *Graph, x []float32, labels []int32) float64 {
	e.Changed()
	n := len(labels)
	z := e.Forward(g, x, n)
	return labelLoss(make([]float32, len(z)), z, labels, g.Pitch(), 0.1)
}

// labelLoss is the cross-entropy of ten classes against smoothed labels.
func labelLoss(dz, z []float32, labels []int32, pitch int, smooth float64) float64 {
	r, q := Rows{N: len(labels), Classes: 10, Pitch: pitch}, make([]float32, len(z))
	r.AddLabels(q, labels, smooth, 1)
	return r.CrossEntropy(dz, z, q, 1, 1)
}

// TestGradient compares the gradient along random directions, one a parameter tensor,
// with central differences: tightly on a graph without kinks, loosely and with a smaller
// step (float32 leaves it some noise) on one with ReLU and max pooling.
func TestGradient(t *testing.T) {
	t.Run("smooth", func(t *testing.T) { testGradient(t, smooth(small()), 1e-4, 0.01, 2e-3) })
	t.Run("kinks", func(t *testing.T) { testGradient(t, small(), 3e-5, 0.1, 1e-2) })
}

func testGradient(t *testing.T, g *Graph, h, rel, abs float64) {
	const n = 16
	e, g, x, labels := setup(t, g, 2, n)
	z := e.Forward(g, x, n)
	dz := make([]float32, len(z))
	labelLoss(dz, z, labels, g.Pitch(), 0.1)
	e.ZeroGrad()
	e.Backward(dz)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range e.W.Params {
		p := &e.W.Params[i]
		orig := e.W.Canonical(e.W.Data, i)
		dir := make([]float32, len(orig))
		for j := range dir {
			dir[j] = float32(rng.NormFloat64())
		}
		e.W.SetCanonical(e.W.Data, i, dir)
		var want float64
		packed := e.W.Data[p.Off:][:p.Len]
		for j, v := range e.Grad[p.Off:][:p.Len] {
			want += float64(v) * float64(packed[j])
		}
		step := func(h float64) float64 {
			v := make([]float32, len(orig))
			for j := range v {
				v[j] = orig[j] + float32(h)*dir[j]
			}
			e.W.SetCanonical(e.W.Data, i, v)
			return e.lossForTest(g, x, labels)
		}
		got := (step(h) - step(-h)) / (2 * h)
		e.W.SetCanonical(e.W.Data, i, orig)
		if math.Abs(got-want) > rel*math.Abs(want)+abs {
			t.Errorf("%s: derivative along a random direction is %.5f, the gradient says %.5f", p.Name, got, want)
		}
	}
}

// TestThreadsGiveTheSameBits runs a step with one and with three threads.
func TestThreadsGiveTheSameBits(t *testing.T) {
	const n = 21
	var grads [2][]float32
	for k, threads := range []int{1, 3} {
		e, g, x, labels := setup(t, small(), threads, n)
		z := e.Forward(g, x, n)
		dz := make([]float32, len(z))
		labelLoss(dz, z, labels, g.Pitch(), 0)
		e.ZeroGrad()
		e.Backward(dz)
		grads[k] = e.Grad
	}
	for i := range grads[0] {
		if grads[0][i] != grads[1][i] {
			t.Fatalf("gradient %d differs: %v with one thread, %v with three", i, grads[0][i], grads[1][i])
		}
	}
}

// TestUnusedStaysUntouched checks that a subnet's gradient is zero outside its prefix.
func TestUnusedStaysUntouched(t *testing.T) {
	const n = 8
	e, g, x, labels := setup(t, small(), 2, n)
	z := e.Forward(g, x, n)
	dz := make([]float32, len(z))
	labelLoss(dz, z, labels, g.Pitch(), 0)
	e.ZeroGrad()
	e.Backward(dz)
	dw := e.W.Of(e.Grad, 1, Weight) // expand: 16 to 48, 8 to 24 in use
	for o := range 48 {
		for i := range 16 {
			v := dw[kernel.PackedIndex(1, 16, o, 0, i)]
			if used := o < 24 && i < 8; used != (v != 0) {
				t.Fatalf("expand[%d][%d] has gradient %v", o, i, v)
			}
		}
	}
}
