package nn

import (
	"weft/kernel"
	"weft/tensor"
)

// winogradM is the size of the tiles of outputs in training.
const winogradM = 4

// winograd is what an Exec keeps for convolutions by Winograd's algorithm.
type winograd struct {
	layers  []winogradWeights
	v, d, u []float32 // of the weight gradient in progress
}

// winogradWeights are the transformed weights of a layer, made once an update.
type winogradWeights struct {
	fresh    bool
	fwd, bwd []float32 // bwd computes input gradients
}

// useWinograd reports whether a convolution is computed by kernel.Winograd: 3x3, stride 1,
// enough channels and images whose tiles are not mostly padding. It depends on shapes
// alone, so that training gives the same bits in every run.
func (g *Graph) useWinograd(op *Op) bool {
	in, out := g.Values[op.In], g.Values[op.Out]
	if op.Kind != Conv || op.K != 3 || op.Stride != 1 || min(in.C, out.C) < 16 || in.C%8 != 0 || out.C%8 != 0 {
		return false
	}
	tiles := ((in.H + winogradM - 1) / winogradM) * ((in.W + winogradM - 1) / winogradM)
	return 5*in.Pixels() >= 3*tiles*winogradM*winogradM
}

// transform brings the transformed weights that a graph uses up to date, a panel at a time.
func (e *Exec) transform(g *Graph) {
	type panel struct {
		dst, src []float32
		inMax    int
		flip     bool
	}
	var all []panel
	add := func(dst *[]float32, src []float32, outMax, inMax int, flip bool) {
		if *dst == nil {
			*dst = tensor.Floats(kernel.WinogradLen(winogradM, outMax, inMax))
		}
		to, from := kernel.WinogradLen(winogradM, 1, inMax), kernel.PackedLen(1, 9, inMax)
		for p := range kernel.Panels(outMax) {
			all = append(all, panel{(*dst)[p*to:][:to], src[p*from:][:from], inMax, flip})
		}
	}
	for i := range g.Ops {
		op := &g.Ops[i]
		if !g.useWinograd(op) || e.winograd.layers[op.Layer].fresh {
			continue
		}
		w, l := &e.winograd.layers[op.Layer], &e.W.Layers[op.Layer]
		w.fresh = true
		add(&w.fwd, e.W.Of(e.W.Data, op.Layer, Weight), l.Out, l.In, false)
		if e.Grad != nil {
			add(&w.bwd, e.transpose[op.Layer], l.In, kernel.Panels(l.Out)*kernel.Panel, true)
		}
	}
	e.pool.Run(len(all), chunks(func(i, _ int) {
		p := &all[i]
		kernel.WinogradRepack(p.dst, p.src, kernel.Panel, p.inMax, p.flip)
	}))
}

// runWinograd computes the images of a group.
func (e *Exec) runWinograd(w *kernel.Winograd, g group) {
	w.M = winogradM
	w.Run(0, w.Tiles(g.hi-g.lo), g.Take(w.Scratch()))
}

// newWinogradGrad prepares the weight gradient of a convolution.
func (e *Exec) newWinogradGrad(op *Op) *kernel.WinogradGrad {
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	w := &kernel.WinogradGrad{H: in.H, W: in.W, Cin: in.C, Cout: out.C, Images: e.n}
	k := &e.winograd
	k.v, k.d, k.u = atLeast(k.v, w.VLen()), atLeast(k.d, w.DLen()), atLeast(k.u, w.ULen())
	w.V, w.D, w.U = k.v, k.d, k.u
	return w
}

// atLeast returns s, or a new slice if it has fewer than n elements.
func atLeast(s []float32, n int) []float32 {
	if len(s) < n {
		return tensor.Floats(n)
	}
	return s
}
