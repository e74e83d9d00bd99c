package nn

import (
	"fmt"
	"math"

	"weft/kernel"
	"weft/tensor"
)

// Eps is the variance offset of batch normalisation.
const Eps = 1e-5

// Exec runs graphs in training mode, forwards with batch statistics and backwards. It
// keeps the activations of the last Forward for Backward. Work is cut into chunks by
// shape alone and reductions combine in chunk order, so results are the same bits for
// any number of threads. An Exec is not safe for concurrent use.
type Exec struct {
	W    *Weights
	Grad []float32 // gradient of the weights, same layout as W.Data; Backward accumulates
	// Flops counts the floating-point operations of convolutions and fully connected
	// layers, forwards and backwards, since the Exec was made (two a MAC).
	Flops int64

	pool      *kernel.Pool
	arena     tensor.Arena
	windows   kernel.Windows
	transpose [][]float32 // layer -> transposed weights
	derived   map[derivedKey][]float32
	derivedDW map[derivedKey][]float32
	fresh     bool // transpose and derived match the weights

	g     *Graph
	n     int
	vals  [][]float32 // outputs of each value
	state []opState
}

type derivedKey struct{ layer, k int }

// opState is what Forward leaves for Backward, and for calibration.
type opState struct {
	raw         []float32 // convolution output before normalisation
	scale       []float32 // of the normalisation in use
	shift       []float32
	mean, invSD []float32
	variance    []float32 // biased
	arg         []int32   // max pooling
	pooled, hid []float32 // squeeze-and-excite
	gate, pre   []float32
}

// NewExec returns an Exec on the weights. Without training it has no Grad and runs Forward
// alone.
func NewExec(w *Weights, pool *kernel.Pool, training bool) *Exec {
	e := &Exec{W: w, pool: pool, derived: map[derivedKey][]float32{}, derivedDW: map[derivedKey][]float32{}}
	if training {
		e.Grad = tensor.Floats(len(w.Data))
		e.transpose = make([][]float32, len(w.Layers))
	}
	return e
}

// Changed tells the Exec that the weights were changed from outside.
func (e *Exec) Changed() { e.fresh = false }

// ZeroGrad clears the gradient.
func (e *Exec) ZeroGrad() { clear(e.Grad) }

// chunks is a Task made of a function; training need not avoid its allocation.
type chunks func(i, thread int)

func (f chunks) Do(i, thread int) { f(i, thread) }

// ranges runs f over [0, n) cut into pieces of size step.
func (e *Exec) ranges(n, step int, f func(i, lo, hi int)) {
	e.pool.Run((n+step-1)/step, chunks(func(i, _ int) { f(i, i*step, min(n, i*step+step)) }))
}

// rowStep is how many rows make a chunk of about 1.5 million MACs, some 20 µs.
func rowStep(macsPerRow int) int {
	return min(max(1_500_000/max(macsPerRow, 1), 96), 4800)
}

// elemStep chooses how many rows of c channels make a chunk of memory-bound work.
func elemStep(c int) int { return max(16384/c, 16) }

// pitch is the row length of a value with c channels: whole vectors of 8.
func pitch(c int) int { return (c + 7) &^ 7 }

// Pitch returns the row length of the logits that Forward returns.
func (g *Graph) Pitch() int { return pitch(g.Values[g.Output()].C) }

// Forward runs the graph on n images x ([n][H][W][C], normalised) with batch statistics
// and returns the logits, rows of g.Pitch() values. The result and the state for Backward
// stay valid until the next Forward.
func (e *Exec) Forward(g *Graph, x []float32, n int) []float32 {
	if len(x) < n*g.Values[0].Size() {
		panic(fmt.Sprintf("nn: %d values are not %d images of %v", len(x), n, g.Values[0]))
	}
	e.arena.Reset()
	e.refresh(g)
	e.g, e.n = g, n
	e.vals = append(e.vals[:0], make([][]float32, len(g.Values))...)
	e.state = append(e.state[:0], make([]opState, len(g.Ops))...)
	e.vals[0] = x
	for i := range g.Ops {
		op := &g.Ops[i]
		e.Flops += int64(2 * n * g.OpMACs(op))
		out := g.Values[op.Out]
		y := e.arena.Take(n * out.Pixels() * pitch(out.C))
		e.vals[op.Out] = y
		switch op.Kind {
		case Conv, Depthwise:
			e.conv(op, &e.state[i], y)
		case SE:
			e.squeeze(op, &e.state[i], y)
		case FC:
			e.dense(op, op.Layer, Weight, Bias, e.vals[op.In], y, g.Values[op.In].Size(), pitch(out.C), kernel.Linear)
		case Add:
			e.add(op, y)
		default:
			e.poolOp(op, &e.state[i], y)
		}
	}
	return e.vals[g.Output()]
}

// conv computes act(norm(conv(x)) + res).
func (e *Exec) conv(op *Op, st *opState, y []float32) {
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	rows := e.n * out.Pixels()
	st.raw = e.arena.Take(rows * out.C)
	win := e.windows.Get(in.H, in.W, op.K, op.Stride, op.Kind == Depthwise)
	step := win.Fwd.Step(rowStep(e.g.OpMACs(op)/out.Pixels()), e.n)
	parts := make([]moment, (rows+step-1)/step)
	norm := e.W.Layers[op.Layer].Norm
	run := e.convRows(op, win, st.raw)
	e.ranges(rows, step, func(i, lo, hi int) {
		run(lo, hi)
		if norm {
			parts[i].measure(st.raw[lo*out.C:hi*out.C], hi-lo, out.C)
		}
	})
	e.fold(op.Layer, parts, rows, out.C, st)
	var res []float32
	if op.Res >= 0 {
		res = e.vals[op.Res]
	}
	e.ranges(rows, elemStep(out.C), func(_, lo, hi int) {
		a, b := lo*out.C, hi*out.C
		var r []float32
		if res != nil {
			r = res[a:b]
		}
		kernel.ScaleShift(y[a:b], st.raw[a:b], r, hi-lo, out.C, st.scale, st.shift, op.Act)
	})
}

// convRows returns the function that computes rows of a convolution without epilogue.
func (e *Exec) convRows(op *Op, win *kernel.Window, y []float32) func(lo, hi int) {
	l := &e.W.Layers[op.Layer]
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	if op.Kind == Depthwise {
		c := &kernel.Depthwise{G: &win.Fwd, X: e.vals[op.In], W: e.depthwiseWeights(op), Y: y, C: out.C, CMax: l.Out}
		return c.Rows
	}
	c := &kernel.Conv{
		G: &win.Fwd, X: e.vals[op.In], W: e.W.Of(e.W.Data, op.Layer, Weight), Y: y,
		Cin: in.C, Cout: out.C, XPitch: in.C, YPitch: out.C, Taps: l.Taps(), InMax: l.In,
	}
	return c.Rows
}

// moment holds a chunk's sums around its first row: Σ(x−p) and Σ(x−p)².
type moment struct {
	n          int
	pivot      []float32
	sum, sumsq []float32
}

func (m *moment) measure(x []float32, rows, c int) {
	buf := make([]float32, 3*c)
	m.n, m.pivot, m.sum, m.sumsq = rows, buf[:c], buf[c:2*c], buf[2*c:]
	copy(m.pivot, x[:c])
	kernel.Moments(x, rows, c, m.pivot, m.sum, m.sumsq)
}

// combine merges chunks in order into the mean and biased variance of one channel
// (Chan, Golub and LeVeque's pairwise formula, in float64).
func combine(parts []moment, ch int) (mean, variance float64) {
	var n, m2 float64
	for i := range parts {
		p := &parts[i]
		k := float64(p.n)
		s := float64(p.sum[ch])
		d := float64(p.pivot[ch]) + s/k - mean
		m2 += float64(p.sumsq[ch]) - s*s/k + d*d*n*k/(n+k)
		n += k
		mean += d * k / n
	}
	return mean, max(m2/n, 0)
}

// fold turns statistics into the scale and shift of the normalisation; a layer without
// one gets 1 and 0.
func (e *Exec) fold(layer int, parts []moment, rows, c int, st *opState) {
	buf := e.arena.Take(5 * c)
	st.scale, st.shift, st.mean, st.invSD, st.variance = buf[:c], buf[c:2*c], buf[2*c:3*c], buf[3*c:4*c], buf[4*c:]
	if !e.W.Layers[layer].Norm {
		for ch := range c {
			st.scale[ch], st.shift[ch], st.mean[ch], st.invSD[ch], st.variance[ch] = 1, 0, 0, 1, 1
		}
		return
	}
	gamma, beta := e.W.Of(e.W.Data, layer, Gamma), e.W.Of(e.W.Data, layer, Beta)
	for ch := range c {
		mean, variance := combine(parts, ch)
		st.mean[ch], st.variance[ch] = float32(mean), float32(variance)
		st.invSD[ch] = float32(1 / math.Sqrt(variance+Eps))
		st.scale[ch] = gamma[ch] * st.invSD[ch]
		st.shift[ch] = beta[ch] - st.mean[ch]*st.scale[ch]
	}
}

// Stats returns the batch mean and biased variance that the last Forward measured for
// operation i, or nil when it has no normalisation.
func (e *Exec) Stats(i int) (mean, variance []float32) {
	op := &e.g.Ops[i]
	if op.Layer < 0 || !e.W.Layers[op.Layer].Norm {
		return nil, nil
	}
	return e.state[i].mean, e.state[i].variance
}

// dense computes act(x·W + b) on n rows of cin values.
func (e *Exec) dense(op *Op, layer int, w, b Role, x, y []float32, cin, cout int, act kernel.Act) {
	l := &e.W.Layers[layer]
	inMax := l.In
	if w == Weight2 {
		inMax = l.Hidden
	}
	c := &kernel.Conv{
		G: kernel.IdentityGather(1), X: x, W: e.W.Of(e.W.Data, layer, w), Y: y,
		Cin: cin, Cout: cout, XPitch: pitch(cin), YPitch: cout, Taps: 1, InMax: inMax,
		Shift: e.W.Of(e.W.Data, layer, b), Act: act,
	}
	e.ranges(e.n, rowStep(cin*cout), func(_, lo, hi int) { c.Rows(lo, hi) })
}

// squeeze computes y = x·h-sigmoid(W2·relu(W1·mean(x)+b1)+b2).
func (e *Exec) squeeze(op *Op, st *opState, y []float32) {
	in := e.g.Values[op.In]
	c, pix, n := in.C, in.Pixels(), e.n
	x := e.vals[op.In]
	st.pooled, st.hid = e.arena.Take(n*c), e.arena.Take(n*op.Hidden)
	st.pre, st.gate = e.arena.Take(n*c), e.arena.Take(n*c)
	e.meanPixels(x, st.pooled, pix, c)
	e.dense(op, op.Layer, Weight, Bias, st.pooled, st.hid, c, op.Hidden, kernel.ReLU)
	e.dense(op, op.Layer, Weight2, Bias2, st.hid, st.pre, op.Hidden, c, kernel.Linear)
	one, zero := constant(c, 1), make([]float32, c)
	kernel.ScaleShift(st.gate, st.pre, nil, n, c, one, zero, kernel.HSigmoid)
	e.ranges(n, 1, func(_, i, _ int) {
		a, b := i*pix*c, (i+1)*pix*c
		kernel.ScaleShift(y[a:b], x[a:b], nil, pix, c, st.gate[i*c:(i+1)*c], zero, kernel.Linear)
	})
}

// add computes y = act(x + res).
func (e *Exec) add(op *Op, y []float32) {
	c, rows := e.g.Values[op.Out].C, e.n*e.g.Values[op.Out].Pixels()
	x, res := e.vals[op.In], e.vals[op.Res]
	one, zero := constant(c, 1), make([]float32, c)
	e.ranges(rows, elemStep(c), func(_, lo, hi int) {
		a, b := lo*c, hi*c
		kernel.ScaleShift(y[a:b], x[a:b], res[a:b], hi-lo, c, one, zero, op.Act)
	})
}

func constant(n int, v float32) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = v
	}
	return s
}

// meanPixels averages the pixels of each image.
func (e *Exec) meanPixels(x, y []float32, pix, c int) {
	e.ranges(e.n, 8, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			kernel.MeanPool(x[i*pix*c:(i+1)*pix*c], y[i*c:(i+1)*c], pix, c)
		}
	})
}

func (e *Exec) poolOp(op *Op, st *opState, y []float32) {
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	x, c := e.vals[op.In], in.C
	if op.Kind == GlobalPool {
		e.meanPixels(x, y, in.Pixels(), c)
		return
	}
	g := &e.windows.Get(in.H, in.W, op.K, op.Stride, false).Fwd
	if op.Kind == MaxPool {
		st.arg = make([]int32, e.n*out.Size())
	}
	e.ranges(e.n, 1, func(_, i, _ int) {
		xi, yi := x[i*in.Size():(i+1)*in.Size()], y[i*out.Size():(i+1)*out.Size()]
		if op.Kind == MaxPool {
			kernel.MaxPool(g, xi, yi, st.arg[i*out.Size():(i+1)*out.Size()], c)
		} else {
			kernel.AvgPool(g, xi, yi, c)
		}
	})
}
