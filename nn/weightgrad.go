package nn

import "weft/kernel"

// weightGrad accumulates the weight gradient of a convolution. Where a sum of its own for
// each lane of images costs less memory traffic than the activations do, lanes add up
// while the activations are in the cache; else the activations are stored and each panel
// of outputs goes over the whole batch. By Winograd's algorithm, activations are
// transformed while they are in the cache and each position goes over the whole batch.
type weightGrad struct {
	e    *Exec
	op   *Op
	grad kernel.ConvGrad
	dw   []float32 // in the gradient, rows of grad.InMax inputs
	cut  cut
	sums []float32 // [lanes][panels][taps][Cin][16], nil without lanes

	tiles *kernel.WinogradGrad // nil unless by Winograd's algorithm
}

// gradLanes is how many partial sums of a weight gradient a batch of n images has, at most.
func gradLanes(n int) int { return min(16, (n+3)/4) }

// newWeightGrad prepares the gradient of a convolution.
func (e *Exec) newWeightGrad(op *Op) *weightGrad {
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	l := &e.W.Layers[op.Layer]
	w := &weightGrad{e: e, op: op, dw: e.W.Of(e.Grad, op.Layer, Weight), cut: e.cut(op), grad: kernel.ConvGrad{
		G:   &e.windows.Get(in.H, in.W, op.K, op.Stride, false).Fwd,
		Cin: in.C, Cout: out.C, XPitch: in.C, YPitch: out.C, Taps: l.Taps(), InMax: l.In,
	}}
	if e.g.useWinograd(op) {
		w.tiles = e.newWinogradGrad(op)
		return w
	}
	columns := e.byColumns(op)
	if columns {
		n := l.Taps() * l.In
		w.grad = kernel.ConvGrad{
			G: kernel.IdentityGather(out.Pixels()), Cin: n, Cout: out.C, XPitch: n, YPitch: out.C, Taps: 1, InMax: n,
		}
	}
	lanes := gradLanes(e.n)
	if size := w.size(); columns || lanes*size <= e.n*(e.size(op.In)+e.size(op.Out)) {
		w.cut = cut{lanes: lanes, per: min(w.cut.per, (e.n+lanes-1)/lanes)}
		w.sums = e.arena.Take(lanes * size)
	}
	return w
}

// read returns the inputs of a group that add takes.
func (w *weightGrad) read(g group) []float32 {
	if w.e.byColumns(w.op) {
		return w.e.readColumns(w.op, g)
	}
	return w.e.read(w.op.In, g)
}

// size returns the length of one lane's sum.
func (w *weightGrad) size() int { return kernel.PackedLen(w.grad.Cout, w.grad.Taps, w.grad.Cin) }

// add accumulates what the images of a group give: x are the inputs, dc the gradients of
// the outputs.
func (w *weightGrad) add(x, dc []float32, g group) {
	switch {
	case w.tiles != nil:
		w.tiles.Transform(x, dc, g.lo, g.hi-g.lo)
		return
	case w.sums == nil:
		return
	}
	c := w.grad
	c.X, c.DY, c.InMax = x, dc, c.Cin
	c.DW = w.sums[g.lane*w.size():][:w.size()]
	if g.first {
		clear(c.DW)
	}
	c.Images(0, g.hi-g.lo)
}

// finish adds up the lanes, or computes the gradient of the stored activations x and dc.
func (w *weightGrad) finish(x, dc []float32) {
	c, pool := w.grad, w.e.pool
	if w.tiles != nil {
		pool.Run(w.tiles.Positions(), chunks(func(p, _ int) { w.tiles.Products(p, p+1) }))
		pool.Run(kernel.Panels(c.Cout), chunks(func(p, _ int) { w.tiles.Weights(w.dw, c.InMax, p, p+1) }))
		return
	}
	if w.sums == nil {
		pool.Run(kernel.Panels(c.Cout), chunks(func(p, _ int) {
			t := c
			t.X, t.DY, t.DW = x, dc[p*kernel.Panel:], w.dw[kernel.PackedIndex(c.Taps, c.InMax, p*kernel.Panel, 0, 0):]
			t.Cout = min(kernel.Panel, c.Cout-p*kernel.Panel)
			t.Images(0, w.e.n)
		}))
		return
	}
	row := c.Cin * kernel.Panel
	pool.Run(kernel.Panels(c.Cout)*c.Taps, chunks(func(i, _ int) {
		dst := w.dw[i*c.InMax*kernel.Panel:][:row]
		for lane := range w.cut.lanes {
			kernel.Add(dst, w.sums[lane*w.size()+i*row:][:row])
		}
	}))
}

// denseWeights accumulates the gradients of a fully connected layer's weights and bias for
// inputs x and gradients dy of all images.
func (e *Exec) denseWeights(layer int, w, b Role, x, dy []float32, cin, cout int) {
	l := &e.W.Layers[layer]
	inMax := l.In
	if w == Weight2 {
		inMax = l.Hidden
	}
	d := weightGrad{e: e, dw: e.W.Of(e.Grad, layer, w), grad: kernel.ConvGrad{
		G: kernel.IdentityGather(1), Cin: cin, Cout: cout, XPitch: pitch(cin), YPitch: cout, Taps: 1, InMax: inMax,
	}}
	d.finish(x, dy)
	kernel.ChannelSum(dy, nil, e.n, cout, e.W.Of(e.Grad, layer, b)[:cout], nil)
}

// denseInput computes the gradient of a fully connected layer's inputs on rows.
func (e *Exec) denseInput(layer int, w Role, dy, dx []float32, rows, cin, cout int) {
	l := &e.W.Layers[layer]
	outMax, wt := l.Out, e.transpose[layer]
	if l.Kind == SE {
		first := kernel.PackedLen(l.In, 1, kernel.Panels(l.Hidden)*kernel.Panel)
		outMax, wt = l.Hidden, wt[:first]
		if w == Weight2 {
			outMax, wt = l.In, e.transpose[layer][first:]
		}
	}
	c := kernel.Conv{
		G: kernel.IdentityGather(1), X: dy, W: wt, Y: dx, Cin: cout, Cout: cin,
		XPitch: cout, YPitch: pitch(cin), Taps: 1, InMax: kernel.Panels(outMax) * kernel.Panel,
	}
	c.Rows(0, rows)
}

// depthwiseGrad accumulates the weight gradient of a depthwise convolution.
type depthwiseGrad struct {
	e    *Exec
	op   *Op
	grad kernel.DepthwiseGrad
	dw   []float32
	rows int // of dw, in channels
	cut  cut
	sums []float32 // [lanes][taps][C]
}

func (e *Exec) newDepthwiseGrad(op *Op, fwd *kernel.Gather) *depthwiseGrad {
	c, l := e.g.Values[op.Out].C, &e.W.Layers[op.Layer]
	lanes := gradLanes(e.n)
	d := &depthwiseGrad{
		e: e, op: op, rows: l.Out, dw: e.W.Of(e.Grad, op.Layer, Weight),
		cut:  cut{lanes: lanes, per: min(e.cut(op).per, (e.n+lanes-1)/lanes)},
		grad: kernel.DepthwiseGrad{G: fwd, C: c, CMax: c},
		sums: e.arena.Take(lanes * op.K * op.K * c),
	}
	if op.K < l.K {
		key := derivedKey{op.Layer, op.K}
		if e.derivedDW[key] == nil {
			e.derivedDW[key] = make([]float32, op.K*op.K*l.Out)
		}
		d.dw = e.derivedDW[key]
	}
	return d
}

func (d *depthwiseGrad) add(x, dc []float32, g group) {
	c := d.grad
	size := d.op.K * d.op.K * c.C
	c.X, c.DY, c.DW = x, dc, d.sums[g.lane*size:][:size]
	if g.first {
		clear(c.DW)
	}
	c.Images(0, g.hi-g.lo)
}

func (d *depthwiseGrad) finish() {
	taps, c := d.op.K*d.op.K, d.grad.C
	for t := range taps {
		for lane := range d.cut.lanes {
			kernel.Add(d.dw[t*d.rows:][:c], d.sums[(lane*taps+t)*c:][:c])
		}
	}
}
