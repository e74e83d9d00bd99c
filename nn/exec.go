package nn

import (
	"fmt"

	"weft/kernel"
	"weft/tensor"
)

// Eps is the variance offset of batch normalisation.
const Eps = 1e-5

// Exec runs graphs in training mode, forwards with batch statistics and backwards.
//
// Memory is slower than arithmetic, so each convolution is one pass over the batch, a few
// images at a time that stay in the cache: the pass finishes the values that it reads
// (normalisation, residual, activation, squeeze-and-excite), convolves them and measures
// what it wrote. Values that are read once are never stored, the backward pass computes
// them again; it likewise takes a gradient through the normalisation of the operation
// before as soon as it is complete.
//
// Work is cut by shape alone and reductions combine in order, so results are the same
// bits for any number of threads. An Exec is not safe for concurrent use.
type Exec struct {
	W    *Weights
	Grad []float32 // gradient of the weights, same layout as W.Data; Backward accumulates
	// Flops counts the floating-point operations of convolutions and fully connected
	// layers, forwards and backwards, since the Exec was made (two a MAC; however they
	// are computed).
	Flops int64

	pool      *kernel.Pool
	arena     tensor.Arena
	local     []scratch // of each thread
	windows   kernel.Windows
	transpose [][]float32 // layer -> transposed weights
	winograd  winograd
	derived   map[derivedKey][]float32
	derivedDW map[derivedKey][]float32
	fresh     bool // transpose and derived match the weights

	g     *Graph
	n     int
	sched schedule
	now   int         // operation in progress; those of Backward come after all
	vals  [][]float32 // values in full, nil where they are not kept
	grads [][]float32
	state []opState
}

type derivedKey struct{ layer, k int }

// opState is what Forward leaves for Backward, and for calibration.
type opState struct {
	raw         []float32 // convolution output before normalisation
	scale       []float32 // of the normalisation in use
	shift       []float32
	mean, invSD []float32
	variance    []float32   // biased
	sums        [][]float32 // Σdz and Σdz·(x−mean) of each part of the batch, one after the other
	arg         []int32     // max pooling
	pooled, hid []float32   // squeeze-and-excite
	gate, pre   []float32
	dgate, dhid []float32
}

// NewExec returns an Exec on the weights. Without training it has no Grad and runs Forward
// alone.
func NewExec(w *Weights, pool *kernel.Pool, training bool) *Exec {
	e := &Exec{W: w, pool: pool, derived: map[derivedKey][]float32{}, derivedDW: map[derivedKey][]float32{}}
	e.winograd.layers = make([]winogradWeights, len(w.Layers))
	e.local = make([]scratch, pool.Threads())
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

// group is a few images on their way through an operation.
type group struct {
	lane   int  // groups of one lane run in order, one after the other
	first  bool // of its lane
	part   int  // number of the group
	lo, hi int  // images
	*scratch
}

// scratch is a thread's memory for one group.
type scratch struct {
	tensor.Arena
	known []known // what was computed for the group
}

type known struct {
	value int
	y     []float32
}

// cut says how an operation's batch falls into groups.
type cut struct{ lanes, per int }

// parts returns how many groups there are, at most.
func (c cut) parts(n int) int { return c.lanes * c.perLane(n) }

func (c cut) perLane(n int) int {
	most := (n + c.lanes - 1) / c.lanes
	return (most + c.per - 1) / c.per
}

// sweep runs f on all groups of images.
func (e *Exec) sweep(c cut, f func(group)) {
	e.pool.Run(c.lanes, chunks(func(lane, thread int) {
		g := group{lane: lane, first: true, part: lane * c.perLane(e.n), scratch: &e.local[thread]}
		lo, hi := lane*e.n/c.lanes, (lane+1)*e.n/c.lanes
		for ; lo < hi; lo += c.per {
			g.lo, g.hi = lo, min(lo+c.per, hi)
			g.Reset()
			g.known = g.known[:0]
			f(g)
			g.first = false
			g.part++
		}
	}))
}

// groupFloats is how many values of a group should stay in the second-level cache.
const groupFloats = 96 << 10

// cut chooses groups whose inputs and outputs stay in the cache, but large enough to be
// worth reading the weights again for each, and for sixteen groups at least where possible.
func (e *Exec) cut(op *Op) cut {
	size := e.size(op.In) + e.size(op.Out)
	per := min(groupFloats/size, (e.n+15)/16)
	if op.Kind == Conv {
		in, out := e.g.Values[op.In], e.g.Values[op.Out]
		per = max(per, min(op.K*op.K*in.C*out.C/size, (e.n+3)/4))
	}
	per = max(per, 1)
	return cut{lanes: (e.n + per - 1) / per, per: per}
}

// pitch is the row length of a value with c channels: whole vectors of 8.
func pitch(c int) int { return (c + 7) &^ 7 }

// Pitch returns the row length of the logits that Forward returns.
func (g *Graph) Pitch() int { return pitch(g.Values[g.Output()].C) }

// size returns how many floats a value takes an image; those given are not padded.
func (e *Exec) size(v int) int {
	s := e.g.Values[v]
	if v == 0 {
		return s.Size()
	}
	return s.Pixels() * pitch(s.C)
}

// Forward runs the graph on n images x ([n][H][W][C], normalised) with batch statistics
// and returns the logits, rows of g.Pitch() values. The result and the state for Backward
// stay valid until the next Forward.
func (e *Exec) Forward(g *Graph, x []float32, n int) []float32 {
	if len(x) < n*g.Values[0].Size() {
		panic(fmt.Sprintf("nn: %d values are not %d images of %v", len(x), n, g.Values[0]))
	}
	e.arena.Reset()
	e.refresh(g)
	e.g, e.n, e.sched = g, n, newSchedule(g)
	e.vals = append(e.vals[:0], make([][]float32, len(g.Values))...)
	e.state = append(e.state[:0], make([]opState, len(g.Ops))...)
	for v := range e.vals {
		if v > 0 && e.sched.values[v].kept {
			e.vals[v] = e.arena.Take(n * e.size(v))
		}
	}
	e.vals[0] = x
	for i := range g.Ops {
		op := &g.Ops[i]
		e.now = i
		e.Flops += int64(2 * n * g.OpMACs(op))
		switch op.Kind {
		case Conv, Depthwise:
			e.conv(op, &e.state[i])
		case FC:
			e.dense(op.Layer, Weight, Bias, e.whole(op.In), e.vals[op.Out], n, g.Values[op.In].Size(), pitch(g.Values[op.Out].C), kernel.Linear)
		case SE:
			e.squeezeState(op, &e.state[i])
		case Add:
		default:
			e.poolOp(op, &e.state[i])
		}
	}
	e.now = len(g.Ops)
	z := e.whole(g.Output())
	e.now++
	return z
}

// conv computes the convolution and its statistics.
func (e *Exec) conv(op *Op, st *opState) {
	out := e.size(op.Out)
	pixels, c := e.g.Values[op.Out].Pixels(), e.g.Values[op.Out].C
	st.raw = e.arena.Take(e.n * out)
	cut := e.cut(op)
	parts := make([]moment, cut.parts(e.n))
	buf := e.arena.Take(3 * c * len(parts))
	norm := e.W.Layers[op.Layer].Norm
	win := e.windows.Get(e.g.Values[op.In].H, e.g.Values[op.In].W, op.K, op.Stride, op.Kind == Depthwise)
	e.sweep(cut, func(g group) {
		y := st.raw[g.lo*out : g.hi*out]
		if e.byColumns(op) {
			e.convolveColumns(op, y, g)
		} else {
			e.convolve(op, win, e.read(op.In, g), y, g)
		}
		if norm {
			parts[g.part].measure(y, (g.hi-g.lo)*pixels, c, buf[3*c*g.part:][:3*c])
		}
	})
	e.fold(op.Layer, parts, c, st)
}

// convolve computes a convolution without epilogue on the images of a group.
func (e *Exec) convolve(op *Op, win *kernel.Window, x, y []float32, g group) {
	l := &e.W.Layers[op.Layer]
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	rows := (g.hi - g.lo) * out.Pixels()
	if op.Kind == Depthwise {
		c := kernel.Depthwise{G: &win.Fwd, X: x, W: e.depthwiseWeights(op), Y: y, C: out.C, CMax: l.Out}
		c.Rows(0, rows)
		return
	}
	if e.g.useWinograd(op) {
		e.runWinograd(&kernel.Winograd{
			Stride: 1,
			H:      in.H, W: in.W, X: x, Y: y, U: e.winograd.layers[op.Layer].fwd, Cin: in.C, Cout: out.C,
			XPitch: in.C, YPitch: out.C, InMax: l.In,
		}, g)
		return
	}
	c := kernel.Conv{
		G: &win.Fwd, X: x, W: e.W.Of(e.W.Data, op.Layer, Weight), Y: y,
		Cin: in.C, Cout: out.C, XPitch: in.C, YPitch: out.C, Taps: l.Taps(), InMax: l.In,
	}
	c.Rows(0, rows)
}

// dense computes act(x·W + b) on rows of cin values.
func (e *Exec) dense(layer int, w, b Role, x, y []float32, rows, cin, cout int, act kernel.Act) {
	l := &e.W.Layers[layer]
	inMax := l.In
	if w == Weight2 {
		inMax = l.Hidden
	}
	c := kernel.Conv{
		G: kernel.IdentityGather(1), X: x, W: e.W.Of(e.W.Data, layer, w), Y: y,
		Cin: cin, Cout: cout, XPitch: pitch(cin), YPitch: cout, Taps: 1, InMax: inMax,
		Shift: e.W.Of(e.W.Data, layer, b), Act: act,
	}
	c.Rows(0, rows)
}

// meanPixels averages the pixels of each of n images.
func meanPixels(x, y []float32, n, pix, c int) {
	for i := range n {
		kernel.MeanPool(x[i*pix*c:(i+1)*pix*c], y[i*c:(i+1)*c], pix, c)
	}
}

func (e *Exec) poolOp(op *Op, st *opState) {
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	y := e.vals[op.Out]
	var w *kernel.Gather
	if op.Kind != GlobalPool {
		w = &e.windows.Get(in.H, in.W, op.K, op.Stride, false).Fwd
	}
	if op.Kind == MaxPool {
		st.arg = make([]int32, e.n*out.Size())
	}
	e.sweep(e.cut(op), func(g group) {
		x := e.read(op.In, g)
		for i := g.lo; i < g.hi; i++ {
			xi, yi := x[(i-g.lo)*in.Size():][:in.Size()], y[i*out.Size():][:out.Size()]
			switch op.Kind {
			case GlobalPool:
				kernel.MeanPool(xi, yi, in.Pixels(), in.C)
			case MaxPool:
				kernel.MaxPool(w, xi, yi, st.arg[i*out.Size():][:out.Size()], in.C)
			default:
				kernel.AvgPool(w, xi, yi, in.C)
			}
		}
	})
}
