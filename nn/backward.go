package nn

import (
	"slices"

	"weft/kernel"
)

// Backward accumulates into Grad the gradient of the last Forward for the gradient of
// its logits (rows of Graph.Pitch() values, padding zero). It consumes the state that
// Forward left.
func (e *Exec) Backward(dlogits []float32) {
	g := e.g
	e.grads = append(e.grads[:0], make([][]float32, len(g.Values))...)
	e.grads[g.Output()] = dlogits
	if op := &g.Ops[len(g.Ops)-1]; op.Kind != FC {
		c := e.cut(op)
		e.prepareSettle(g.Output(), c)
		e.sweep(c, func(g group) { e.settle(e.g.Output(), g) })
	}
	for i := range slices.Backward(g.Ops) {
		op, st := &g.Ops[i], &e.state[i]
		if e.grads[op.Out] == nil || op.In == 0 && op.Layer < 0 {
			continue
		}
		flops := int64(4 * e.n * g.OpMACs(op))
		if op.In == 0 {
			flops /= 2 // nothing needs the gradient of the images
		}
		e.Flops += flops
		switch op.Kind {
		case Conv:
			e.convBack(i, op, st)
		case Depthwise:
			e.depthwiseBack(i, op, st)
		case SE:
			e.squeezeWeights(op, st)
		case FC:
			e.denseBack(i, op)
		case Add:
		default:
			e.poolBack(i, op, st)
		}
	}
	e.foldDerived()
}

// prepare takes the memory for what the backward pass of operation i gives.
func (e *Exec) prepare(i int, c cut) {
	op, use := &e.g.Ops[i], &e.sched.ops[i]
	if use.freshRes && op.Res >= 0 {
		e.grads[op.Res] = e.grads[op.Out]
	}
	if use.freshIn && op.In != 0 {
		e.grads[op.In] = e.arena.Take(e.n * e.size(op.In))
	}
	for _, v := range use.settles {
		e.prepareSettle(v, c)
	}
}

// prepareSettle takes the memory that settle of a value needs when the pass is cut so.
func (e *Exec) prepareSettle(v int, c cut) {
	i := e.sched.values[v].producer
	op, use := &e.g.Ops[i], &e.sched.ops[i]
	switch op.Kind {
	case Conv, Depthwise:
		n := 2 * e.g.Values[v].C
		buf := e.arena.Take(n * c.parts(e.n))
		clear(buf)
		e.state[i].sums = slices.Collect(slices.Chunk(buf, n))
	case SE:
		if use.freshIn {
			e.grads[op.In] = e.grads[v]
		}
	case Add:
		if use.freshIn {
			e.grads[op.In] = e.grads[v]
		}
		if use.freshRes {
			e.grads[op.Res] = e.arena.Take(e.n * e.size(v))
		}
	}
}

// images returns the part of the gradient of value v that belongs to a group.
func (e *Exec) images(v int, g group) []float32 {
	size := e.size(v)
	return e.grads[v][g.lo*size : g.hi*size]
}

// give adds d to the gradient of value v, or makes it that.
func (e *Exec) give(v int, d []float32, fresh bool, g group) {
	dst := e.images(v, g)
	switch {
	case !fresh:
		kernel.Add(dst, d)
	case &dst[0] != &d[0]:
		copy(dst, d)
	}
}

// settle takes the gradient of value v, complete for the images of a group, further:
// through the activation to dz, with the sums that the gradient of the normalisation
// needs, and through operations without a pass of their own.
func (e *Exec) settle(v int, g group) {
	i := e.sched.values[v].producer
	op, st, use := &e.g.Ops[i], &e.state[i], &e.sched.ops[i]
	s := e.g.Values[v]
	dy, rows := e.images(v, g), (g.hi-g.lo)*s.Pixels()
	switch op.Kind {
	case Conv, Depthwise:
		size := e.size(v)
		raw, sums := st.raw[g.lo*size:g.hi*size], st.sums[g.part]
		var y []float32
		if op.Act == kernel.ReLU {
			y = e.read(v, g)
		}
		kernel.NormGrad(dy, y, raw, rows, s.C, st.scale, st.shift, st.mean, op.Act, sums[:s.C], sums[s.C:])
	case SE:
		dx := dy
		if !use.freshIn {
			dx = g.Take(len(dy))
		}
		e.squeezeGrad(op, st, dy, dx, g)
		e.give(op.In, dx, use.freshIn, g)
	case Add:
		if op.Act != kernel.Linear {
			y, waste := e.read(v, g), make([]float32, 3*s.C)
			kernel.NormGrad(dy, y, y, rows, s.C, nil, nil, waste[:s.C], op.Act, waste[s.C:2*s.C], waste[2*s.C:])
		}
		e.give(op.Res, dy, use.freshRes, g)
		e.give(op.In, dy, use.freshIn, g)
	}
}

// settleAll settles what the backward pass of operation i completes.
func (e *Exec) settleAll(i int, g group) {
	for _, v := range e.sched.ops[i].settles {
		e.settle(v, g)
	}
}

// outputGrad computes the gradient of a convolution's output before normalisation,
// dc = a·dz + b·raw + d, and gives dz to the residual.
func (e *Exec) outputGrad(i int, dc, a, b, d []float32, g group) {
	op, st := &e.g.Ops[i], &e.state[i]
	size, c := e.size(op.Out), e.g.Values[op.Out].C
	dz := e.images(op.Out, g)
	kernel.Affine2(dc, dz, st.raw[g.lo*size:g.hi*size], len(dz)/c, c, a, b, d)
	if op.Res >= 0 {
		e.give(op.Res, dz, e.sched.ops[i].freshRes, g)
	}
}

// convBack takes dz to the weights and the input, a group of images at a time.
func (e *Exec) convBack(i int, op *Op, st *opState) {
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	size, inSize := e.size(op.Out), e.size(op.In)
	a, b, d := e.normCoefficients(op.Layer, st, e.n*out.Pixels(), out.C)
	w := e.newWeightGrad(op)
	e.prepare(i, w.cut)
	win := e.windows.Get(in.H, in.W, op.K, op.Stride, false)
	x := e.vals[op.In]
	store := w.sums == nil && w.tiles == nil && x == nil
	if store {
		x = e.arena.Take(e.n * inSize)
	}
	e.sweep(w.cut, func(g group) {
		dc := st.raw[g.lo*size : g.hi*size]
		if w.sums != nil || w.tiles != nil {
			dc = g.Take(len(dc))
		}
		e.outputGrad(i, dc, a, b, d, g)
		if store {
			e.readTo(op.In, x[g.lo*inSize:g.hi*inSize], g)
		} else {
			w.add(w.read(g), dc, g)
		}
		if op.In != 0 {
			e.convInput(i, win, dc, g)
		}
		e.settleAll(i, g)
	})
	w.finish(x, st.raw)
}

// convInput computes the gradient of a convolution's input.
func (e *Exec) convInput(i int, win *kernel.Window, dc []float32, g group) {
	op := &e.g.Ops[i]
	in, out, l := e.g.Values[op.In], e.g.Values[op.Out], &e.W.Layers[op.Layer]
	outPad, dx := kernel.Panels(l.Out)*kernel.Panel, e.images(op.In, g)
	var res []float32
	if !e.sched.ops[i].freshIn {
		res = dx
	}
	if e.g.useWinograd(op) {
		e.runWinograd(&kernel.Winograd{
			Stride: 1,
			H:      in.H, W: in.W, X: dc, Y: dx, U: e.winograd.layers[op.Layer].bwd, Cin: out.C, Cout: in.C,
			XPitch: out.C, YPitch: in.C, InMax: outPad, Res: res,
		}, g)
		return
	}
	c := kernel.Conv{
		X: dc, W: e.transpose[op.Layer], Y: dx, Res: res, Cin: out.C, Cout: in.C,
		XPitch: out.C, YPitch: in.C, Taps: l.Taps(), InMax: outPad,
	}
	for j := range win.Bwd {
		if c.G = &win.Bwd[j]; len(c.G.Taps) > 0 || res == nil {
			c.Rows(0, (g.hi-g.lo)*c.G.Rows())
		}
	}
}

// depthwiseBack is convBack for a depthwise convolution.
func (e *Exec) depthwiseBack(i int, op *Op, st *opState) {
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	a, b, d := e.normCoefficients(op.Layer, st, e.n*out.Pixels(), out.C)
	win := e.windows.Get(in.H, in.W, op.K, op.Stride, true)
	w := e.newDepthwiseGrad(op, &win.Fwd)
	e.prepare(i, w.cut)
	e.sweep(w.cut, func(g group) {
		dc := g.Take((g.hi - g.lo) * e.size(op.Out))
		e.outputGrad(i, dc, a, b, d, g)
		w.add(e.read(op.In, g), dc, g)
		if op.In != 0 {
			e.depthwiseInput(i, win, dc, g)
		}
		e.settleAll(i, g)
	})
	w.finish()
}

// depthwiseInput is convInput for a depthwise convolution.
func (e *Exec) depthwiseInput(i int, win *kernel.Window, dc []float32, g group) {
	op := &e.g.Ops[i]
	c := kernel.Depthwise{
		X: dc, W: e.depthwiseWeights(op), Y: e.images(op.In, g),
		C: e.g.Values[op.Out].C, CMax: e.W.Layers[op.Layer].Out,
	}
	if !e.sched.ops[i].freshIn {
		c.Res = c.Y
	}
	for j := range win.Bwd {
		c.G = &win.Bwd[j]
		c.Rows(0, (g.hi-g.lo)*c.G.Rows())
	}
}

// denseBack is the backward pass of a fully connected layer.
func (e *Exec) denseBack(i int, op *Op) {
	cin, cout := e.g.Values[op.In].Size(), pitch(e.g.Values[op.Out].C)
	e.denseWeights(op.Layer, Weight, Bias, e.vals[op.In], e.grads[op.Out], cin, cout)
	if op.In == 0 {
		return
	}
	c := e.cut(op)
	e.prepare(i, c)
	e.sweep(c, func(g group) {
		dx := g.Take((g.hi - g.lo) * pitch(cin))
		e.denseInput(op.Layer, Weight, e.images(op.Out, g), dx, g.hi-g.lo, cin, cout)
		e.give(op.In, dx, e.sched.ops[i].freshIn, g)
		e.settleAll(i, g)
	})
}

func (e *Exec) poolBack(i int, op *Op, st *opState) {
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	var w *kernel.Gather
	if op.Kind == AvgPool {
		w = &e.windows.Get(in.H, in.W, op.K, op.Stride, false).Fwd
	}
	c, fresh := e.cut(op), e.sched.ops[i].freshIn
	e.prepare(i, c)
	e.sweep(c, func(g group) {
		dx, dy := e.images(op.In, g), e.images(op.Out, g)
		if !fresh {
			dx = g.Take(len(dx))
		}
		for j := range g.hi - g.lo {
			d, t := dx[j*in.Size():][:in.Size()], dy[j*out.Size():][:out.Size()]
			switch op.Kind {
			case GlobalPool:
				spread(d, t, in.Pixels())
			case MaxPool:
				clear(d)
				for k, p := range st.arg[(g.lo+j)*out.Size():][:out.Size()] {
					d[int(p)*in.C+k%in.C] += t[k]
				}
			default:
				avgPoolBack(w, d, t, in.C)
			}
		}
		e.give(op.In, dx, fresh, g)
		e.settleAll(i, g)
	})
}

// spread gives every one of pix pixels its share of the gradient of their mean.
func spread(dx, dy []float32, pix int) {
	inv := 1 / float32(pix)
	for ch, v := range dy {
		dx[ch] = v * inv
	}
	for p := 1; p < pix; p++ {
		copy(dx[p*len(dy):], dx[:len(dy)])
	}
}

func avgPoolBack(g *kernel.Gather, dx, dy []float32, c int) {
	clear(dx)
	t := len(g.Taps)
	for o := range g.OutPix {
		taps := g.In[o*t : o*t+t]
		n := 0
		for _, p := range taps {
			if p >= 0 {
				n++
			}
		}
		for _, p := range taps {
			if p < 0 {
				continue
			}
			for ch := range c {
				dx[int(p)*c+ch] += dy[o*c+ch] / float32(n)
			}
		}
	}
}
