package nn

import "weft/kernel"

// squeezeState takes the memory of squeeze-and-excite; the operation itself,
// y = x·h-sigmoid(W2·relu(W1·mean(x)+b1)+b2), is computed by those that read y.
func (e *Exec) squeezeState(op *Op, st *opState) {
	c, h := pitch(e.g.Values[op.In].C), pitch(op.Hidden)
	st.pooled, st.hid = e.arena.Take(e.n*c), e.arena.Take(e.n*h)
	st.pre, st.gate = e.arena.Take(e.n*c), e.arena.Take(e.n*c)
	if e.Grad != nil {
		st.dgate, st.dhid = e.arena.Take(e.n*c), e.arena.Take(e.n*h)
	}
}

// excite computes y for the images of a group; in the forward pass also the gate.
func (e *Exec) excite(op *Op, st *opState, y []float32, g group) {
	in := e.g.Values[op.In]
	c, pix, n := in.C, in.Pixels(), g.hi-g.lo
	x := e.read(op.In, g)
	if e.now < len(e.g.Ops) {
		h := op.Hidden
		pooled, hid := st.pooled[g.lo*c:g.hi*c], st.hid[g.lo*h:g.hi*h]
		pre, gate := st.pre[g.lo*c:g.hi*c], st.gate[g.lo*c:g.hi*c]
		meanPixels(x, pooled, n, pix, c)
		e.dense(op.Layer, Weight, Bias, pooled, hid, n, c, h, kernel.ReLU)
		e.dense(op.Layer, Weight2, Bias2, hid, pre, n, h, c, kernel.Linear)
		kernel.ScaleShift(gate, pre, nil, n, c, constant(c, 1), constant(c, 0), kernel.HSigmoid)
	}
	zero := constant(c, 0)
	for i := range n {
		a, b := i*pix*c, (i+1)*pix*c
		kernel.ScaleShift(y[a:b], x[a:b], nil, pix, c, st.gate[(g.lo+i)*c:][:c], zero, kernel.Linear)
	}
}

// squeezeGrad takes the gradient of y, dy, to x, for the images of a group: with s the
// gate, ds[c] = Σ_pixels dy·x; through h-sigmoid, the two layers and the mean back to x:
// dx = dy·s + dmean/pixels. dx may be dy.
func (e *Exec) squeezeGrad(op *Op, st *opState, dy, dx []float32, g group) {
	in := e.g.Values[op.In]
	c, h, pix, n := in.C, op.Hidden, in.Pixels(), g.hi-g.lo
	x := e.read(op.In, g)
	ds, dh := st.dgate[g.lo*c:g.hi*c], st.dhid[g.lo*h:g.hi*h]
	gate, hid, dm := st.gate[g.lo*c:g.hi*c], st.hid[g.lo*h:g.hi*h], g.Take(n*c)
	clear(ds)
	waste := g.Take(2 * max(c, h))
	clear(waste)
	for i := range n {
		a, b := i*pix*c, (i+1)*pix*c
		kernel.ChannelSum(dy[a:b], x[a:b], pix, c, waste[:c], ds[i*c:(i+1)*c])
	}
	one, zero := constant(max(c, h), 1), make([]float32, max(c, h))
	kernel.NormGrad(ds, gate, st.pre[g.lo*c:g.hi*c], n, c, one[:c], zero[:c], zero[:c], kernel.HSigmoid, waste[:c], waste[c:2*c])
	e.denseInput(op.Layer, Weight2, ds, dh, n, h, c)
	kernel.NormGrad(dh, hid, hid, n, h, one[:h], zero[:h], zero[:h], kernel.ReLU, waste[:h], waste[h:2*h])
	e.denseInput(op.Layer, Weight, dh, dm, n, c, h)
	for i := range dm {
		dm[i] *= 1 / float32(pix)
	}
	for i := range n {
		a, b := i*pix*c, (i+1)*pix*c
		kernel.ScaleShift(dx[a:b], dy[a:b], nil, pix, c, gate[i*c:(i+1)*c], dm[i*c:(i+1)*c], kernel.Linear)
	}
}

// squeezeWeights accumulates the gradients of the two layers.
func (e *Exec) squeezeWeights(op *Op, st *opState) {
	c := e.g.Values[op.In].C
	e.denseWeights(op.Layer, Weight2, Bias2, st.hid, st.dgate, op.Hidden, c)
	e.denseWeights(op.Layer, Weight, Bias, st.pooled, st.dhid, c, op.Hidden)
}
