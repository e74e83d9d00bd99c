package nn

import (
	"weft/kernel"
	"weft/tensor"
)

// Backward accumulates into Grad the gradient of the last Forward for the gradient of
// its logits (rows of Graph.Pitch() values, padding zero). It consumes the state that
// Forward left.
func (e *Exec) Backward(dlogits []float32) {
	g := e.g
	grads := make([][]float32, len(g.Values))
	grads[g.Output()] = dlogits
	for i := len(g.Ops) - 1; i >= 0; i-- {
		op := &g.Ops[i]
		dy := grads[op.Out]
		if dy == nil {
			continue
		}
		flops := int64(4 * e.n * g.OpMACs(op))
		if op.In == 0 {
			flops /= 2 // nothing needs the gradient of the images
		}
		e.Flops += flops
		switch op.Kind {
		case Conv, Depthwise:
			e.convBack(op, &e.state[i], dy, grads)
		case SE:
			e.squeezeBack(op, &e.state[i], dy, grads)
		case FC:
			dx := e.denseBack(op.Layer, Weight, Bias, e.vals[op.In], dy, g.Values[op.In].Size(), pitch(g.Values[op.Out].C))
			e.give(grads, op.In, dx)
		case Add:
			e.addBack(op, dy, grads)
		default:
			e.poolBack(op, &e.state[i], dy, grads)
		}
	}
	e.foldDerived()
}

// give adds d to the gradient of a value; the first to give hands its buffer over.
func (e *Exec) give(grads [][]float32, v int, d []float32) {
	if grads[v] == nil {
		grads[v] = d
		return
	}
	dst := grads[v]
	e.ranges(len(d), 16384, func(_, lo, hi int) { kernel.Add(dst[lo:hi], d[lo:hi]) })
}

// convBack: dz = dy·act′, through the normalisation to the raw convolution output, then
// to weights and input. dz is also the residual's gradient. Batch normalisation with
// x̂ = (x−μ)/σ, m rows: dx = γ/σ·(dz − Σdz/m − x̂·Σ(dz·x̂)/m).
func (e *Exec) convBack(op *Op, st *opState, dy []float32, grads [][]float32) {
	out := e.g.Values[op.Out]
	rows, c := e.n*out.Pixels(), out.C
	step := elemStep(c)
	y := e.vals[op.Out]
	sums := make([][]float32, (rows+step-1)/step)
	e.ranges(rows, step, func(i, lo, hi int) {
		sums[i] = make([]float32, 2*c)
		a, b := lo*c, hi*c
		kernel.NormGrad(dy[a:b], y[a:b], st.raw[a:b], hi-lo, c, st.scale, st.shift, st.mean, op.Act, sums[i][:c], sums[i][c:])
	})
	if op.Res >= 0 {
		e.give(grads, op.Res, dy)
	}
	a, b, d := e.normCoefficients(op.Layer, st, sums, rows, c)
	dc := st.raw
	e.ranges(rows, step, func(_, lo, hi int) {
		s, t := lo*c, hi*c
		kernel.Affine2(dc[s:t], dy[s:t], st.raw[s:t], hi-lo, c, a, b, d)
	})
	if op.Kind == Depthwise {
		e.depthwiseBack(op, dc, grads)
		return
	}
	e.convGrad(op, dc)
	if op.In != 0 {
		e.convInput(op, dc, grads)
	}
}

// normCoefficients accumulates dγ and dβ and returns a, b, d with dx = a·dz + b·x + d.
func (e *Exec) normCoefficients(layer int, st *opState, sums [][]float32, rows, c int) (a, b, d []float32) {
	buf := e.arena.Take(3 * c)
	a, b, d = buf[:c], buf[c:2*c], buf[2*c:]
	if !e.W.Layers[layer].Norm {
		for ch := range c {
			a[ch], b[ch], d[ch] = 1, 0, 0
		}
		return a, b, d
	}
	dgamma, dbeta := e.W.Of(e.Grad, layer, Gamma), e.W.Of(e.Grad, layer, Beta)
	for ch := range c {
		var dz, dzx float64
		for _, s := range sums {
			dz += float64(s[ch])
			dzx += float64(s[c+ch])
		}
		inv := float64(st.invSD[ch])
		dgamma[ch] += float32(dzx * inv)
		dbeta[ch] += float32(dz)
		k := float64(st.scale[ch])
		slope := -k * dzx * inv * inv / float64(rows)
		a[ch], b[ch] = float32(k), float32(slope)
		d[ch] = float32(-k*dz/float64(rows) - slope*float64(st.mean[ch]))
	}
	return a, b, d
}

// gradGroups cuts a batch into groups of images with a partial weight gradient each.
func gradGroups(n int) int { return min(8, (n+3)/4) }

// convGrad accumulates the weight gradient: one partial sum a group of images, added up
// in the order of the groups.
func (e *Exec) convGrad(op *Op, dc []float32) {
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	l := &e.W.Layers[op.Layer]
	g := &e.windows.Get(in.H, in.W, op.K, op.Stride, false).Fwd
	e.packedGrad(e.W.Of(e.Grad, op.Layer, Weight), l.In, kernel.ConvGrad{
		G: g, X: e.vals[op.In], DY: dc,
		Cin: in.C, Cout: out.C, XPitch: in.C, YPitch: out.C, Taps: l.Taps(),
	}, e.n)
}

// packedGrad runs c over n images into dw, whose rows hold inMax inputs.
func (e *Exec) packedGrad(dw []float32, inMax int, c kernel.ConvGrad, n int) {
	groups, panels := gradGroups(n), kernel.Panels(c.Cout)
	size := c.Taps * c.Cin * kernel.Panel
	parts := e.arena.Take(groups * panels * size)
	c.InMax = c.Cin
	dy := c.DY
	e.pool.Run(groups*panels, chunks(func(i, _ int) {
		grp, p := i/panels, i%panels
		t := c
		t.DW = parts[i*size : (i+1)*size]
		clear(t.DW)
		t.DY = dy[p*kernel.Panel:]
		t.Cout = min(kernel.Panel, c.Cout-p*kernel.Panel)
		t.Images(grp*n/groups, (grp+1)*n/groups)
	}))
	row := c.Cin * kernel.Panel
	e.pool.Run(panels*c.Taps, chunks(func(i, _ int) {
		dst := dw[i*inMax*kernel.Panel:][:row]
		p, t := i/c.Taps, i%c.Taps
		for grp := range groups {
			kernel.Add(dst, parts[(grp*panels+p)*size+t*row:][:row])
		}
	}))
}

// convInput computes the gradient of a convolution's input.
func (e *Exec) convInput(op *Op, dc []float32, grads [][]float32) {
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	l := &e.W.Layers[op.Layer]
	win := e.windows.Get(in.H, in.W, op.K, op.Stride, false)
	dx, res := e.inputGrad(grads, op.In, in)
	for i := range win.Bwd {
		g := &win.Bwd[i]
		c := &kernel.Conv{
			G: g, X: dc, W: e.transpose[op.Layer], Y: dx, Res: res, Cin: out.C, Cout: in.C,
			XPitch: out.C, YPitch: in.C, Taps: l.Taps(), InMax: kernel.Panels(l.Out) * kernel.Panel,
		}
		e.ranges(e.n*g.Rows(), g.Step(rowStep(len(g.Taps)*in.C*out.C), e.n), func(_, lo, hi int) { c.Rows(lo, hi) })
	}
}

// inputGrad returns the buffer for the gradient of value v and, when something was
// given already, the same buffer as residual to add to.
func (e *Exec) inputGrad(grads [][]float32, v int, s tensor.Shape) (dx, res []float32) {
	if grads[v] != nil {
		return grads[v], grads[v]
	}
	grads[v] = e.arena.Take(e.n * s.Size())
	return grads[v], nil
}

// denseBack accumulates the gradients of a fully connected layer on e.n rows and returns
// that of its input.
func (e *Exec) denseBack(layer int, w, b Role, x, dy []float32, cin, cout int) []float32 {
	l := &e.W.Layers[layer]
	inMax, outMax, wt := l.In, l.Out, e.transpose[layer]
	if l.Kind == SE {
		first := kernel.PackedLen(l.In, 1, kernel.Panels(l.Hidden)*kernel.Panel)
		outMax, wt = l.Hidden, e.transpose[layer][:first]
		if w == Weight2 {
			inMax, outMax, wt = l.Hidden, l.In, e.transpose[layer][first:]
		}
	}
	id := kernel.IdentityGather(1)
	e.packedGrad(e.W.Of(e.Grad, layer, w), inMax, kernel.ConvGrad{
		G: id, X: x, DY: dy,
		Cin: cin, Cout: cout, XPitch: pitch(cin), YPitch: cout, Taps: 1,
	}, e.n)
	kernel.ChannelSum(dy, nil, e.n, cout, e.W.Of(e.Grad, layer, b)[:cout], nil)
	dx := e.arena.Take(e.n * cin)
	c := &kernel.Conv{
		G: id, X: dy, W: wt, Y: dx, Cin: cout, Cout: cin, XPitch: cout, YPitch: cin,
		Taps: 1, InMax: kernel.Panels(outMax) * kernel.Panel,
	}
	e.ranges(e.n, rowStep(cin*cout), func(_, lo, hi int) { c.Rows(lo, hi) })
	return dx
}

// squeezeBack: with s the gate, ds[c] = Σ_pixels dy·x; through h-sigmoid, the two layers
// and the mean back to x: dx = dy·s + dmean/pixels.
func (e *Exec) squeezeBack(op *Op, st *opState, dy []float32, grads [][]float32) {
	in := e.g.Values[op.In]
	c, pix, n := in.C, in.Pixels(), e.n
	x := e.vals[op.In]
	ds := e.arena.Take(n * c)
	clear(ds)
	e.ranges(n, 1, func(_, i, _ int) {
		a, b := i*pix*c, (i+1)*pix*c
		kernel.ChannelSum(dy[a:b], x[a:b], pix, c, make([]float32, c), ds[i*c:(i+1)*c])
	})
	one, zero, waste := constant(c, 1), make([]float32, c), make([]float32, 2*c)
	kernel.NormGrad(ds, st.gate, st.pre, n, c, one, zero, zero, kernel.HSigmoid, waste[:c], waste[c:])
	dh := e.denseBack(op.Layer, Weight2, Bias2, st.hid, ds, op.Hidden, c)
	h := op.Hidden
	kernel.NormGrad(dh, st.hid, st.hid, n, h, one[:h], zero[:h], zero[:h], kernel.ReLU, waste[:h], waste[c:c+h])
	dm := e.denseBack(op.Layer, Weight, Bias, st.pooled, dh, c, h)
	for i := range dm {
		dm[i] *= 1 / float32(pix)
	}
	dx := e.arena.Take(n * pix * c)
	e.ranges(n, 1, func(_, i, _ int) {
		a, b := i*pix*c, (i+1)*pix*c
		kernel.ScaleShift(dx[a:b], dy[a:b], nil, pix, c, st.gate[i*c:(i+1)*c], dm[i*c:(i+1)*c], kernel.Linear)
	})
	e.give(grads, op.In, dx)
}

// addBack hands dz = dy·act′ to both values. Each gets a buffer of its own, for what gives
// more to one of them later adds in place.
func (e *Exec) addBack(op *Op, dy []float32, grads [][]float32) {
	c, rows := e.g.Values[op.Out].C, e.n*e.g.Values[op.Out].Pixels()
	y, zero := e.vals[op.Out], make([]float32, c)
	other := e.arena.Take(rows * c)
	step := elemStep(c)
	e.ranges(rows, step, func(_, lo, hi int) {
		a, b := lo*c, hi*c
		waste := make([]float32, 2*c)
		kernel.NormGrad(dy[a:b], y[a:b], y[a:b], hi-lo, c, nil, nil, zero, op.Act, waste[:c], waste[c:])
		copy(other[a:b], dy[a:b])
	})
	e.give(grads, op.In, dy)
	e.give(grads, op.Res, other)
}

func (e *Exec) poolBack(op *Op, st *opState, dy []float32, grads [][]float32) {
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	dx := e.arena.Take(e.n * in.Size())
	g := kernel.IdentityGather(in.Pixels())
	if op.Kind == AvgPool {
		g = &e.windows.Get(in.H, in.W, op.K, op.Stride, false).Fwd
	}
	e.ranges(e.n, 1, func(_, i, _ int) {
		d := dx[i*in.Size() : (i+1)*in.Size()]
		t := dy[i*out.Size() : (i+1)*out.Size()]
		switch op.Kind {
		case GlobalPool:
			spread(d, t, in.Pixels())
		case MaxPool:
			clear(d)
			for j, p := range st.arg[i*out.Size() : (i+1)*out.Size()] {
				d[int(p)*in.C+j%in.C] += t[j]
			}
		default:
			avgPoolBack(g, d, t, in.C)
		}
	})
	e.give(grads, op.In, dx)
}

// spread gives every one of pix pixels its share of the gradient of their mean.
func spread(dx, dy []float32, pix int) {
	inv := 1 / float32(pix)
	for p := range pix {
		for ch, v := range dy {
			dx[p*len(dy)+ch] = v * inv
		}
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
