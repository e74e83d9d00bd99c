package nn

import (
	"weft/kernel"
	"weft/tensor"
)

// refresh brings what is derived from the weights up to date: transposed copies for
// input gradients and the smaller depthwise kernels that the graph uses.
func (e *Exec) refresh(g *Graph) {
	if !e.fresh {
		clear(e.derived)
		if e.transpose != nil {
			e.pool.Run(len(e.W.Layers), chunks(func(i, _ int) { e.pack(i) }))
		}
		for i := range e.winograd.layers {
			e.winograd.layers[i].fresh = false
		}
		e.fresh = true
	}
	e.transform(g)
	for i := range g.Ops {
		op := &g.Ops[i]
		if op.Kind == Depthwise && op.K < e.W.Layers[op.Layer].K {
			e.derive(op.Layer, op.K)
		}
	}
}

// pack transposes the weights of one layer; of squeeze-and-excite both, one after the
// other.
func (e *Exec) pack(i int) {
	l := &e.W.Layers[i]
	first, second := 0, 0
	switch l.Kind {
	case Conv, FC:
		first = kernel.PackedLen(l.In, l.Taps(), kernel.Panels(l.Out)*kernel.Panel)
	case SE:
		first = kernel.PackedLen(l.In, 1, kernel.Panels(l.Hidden)*kernel.Panel)
		second = kernel.PackedLen(l.Hidden, 1, kernel.Panels(l.In)*kernel.Panel)
	default:
		return
	}
	if e.transpose[i] == nil {
		e.transpose[i] = tensor.Floats(first + second)
	}
	w := e.W.Of(e.W.Data, i, Weight)
	if l.Kind == SE {
		kernel.PackTransposed(e.transpose[i][:first], w, l.Hidden, 1, l.In)
		kernel.PackTransposed(e.transpose[i][first:], e.W.Of(e.W.Data, i, Weight2), l.In, 1, l.Hidden)
		return
	}
	kernel.PackTransposed(e.transpose[i], w, l.Out, l.Taps(), l.In)
}

// DeriveKernel writes the taps of kernel size k of a depthwise layer, [k²][Out], from
// its full weights: from each size to the next smaller one, crop the centre and multiply
// by that size's matrix (OFA's kernel transform).
func (w *Weights) DeriveKernel(layer, k int) []float32 {
	l := &w.Layers[layer]
	cur := w.Of(w.Data, layer, Weight)
	for _, size := range l.Kernels {
		if size < k {
			break
		}
		t := size * size
		m := w.TransformOf(w.Data, layer, size)
		next := tensor.Floats(t * l.Out)
		for o := range t {
			for i := range t {
				f := m[o*t+i]
				if f == 0 {
					continue
				}
				for ch := range l.Out {
					next[o*l.Out+ch] += f * cur[i*l.Out+ch]
				}
			}
		}
		cur = next
	}
	return cur
}

func (e *Exec) derive(layer, k int) {
	key := derivedKey{layer, k}
	if e.derived[key] == nil {
		e.derived[key] = e.W.DeriveKernel(layer, k)
	}
}

// depthwiseWeights returns the weights in use by a depthwise operation.
func (e *Exec) depthwiseWeights(op *Op) []float32 {
	if op.K == e.W.Layers[op.Layer].K {
		return e.W.Of(e.W.Data, op.Layer, Weight)
	}
	return e.derived[derivedKey{op.Layer, op.K}]
}

// foldDerived carries the gradients of smaller kernels back through their matrices: for
// next = M·crop(cur), dM += dnext·curᵀ and dcur += Mᵀ·dnext, from the smallest up.
func (e *Exec) foldDerived() {
	for layer := range e.W.Layers {
		for _, k := range e.W.Layers[layer].Kernels {
			if d := e.derivedDW[derivedKey{layer, k}]; d != nil {
				e.foldKernel(layer, k, d)
				clear(d)
			}
		}
	}
}

func (e *Exec) foldKernel(layer, k int, d []float32) {
	l := &e.W.Layers[layer]
	sizes := []int{l.K}
	for _, s := range l.Kernels {
		if s >= k {
			sizes = append(sizes, s)
		}
	}
	for i := len(sizes) - 1; i > 0; i-- {
		t := sizes[i] * sizes[i]
		m, dm := e.W.TransformOf(e.W.Data, layer, sizes[i]), e.W.TransformOf(e.Grad, layer, sizes[i])
		cur := e.W.DeriveKernel(layer, sizes[i-1])
		up := tensor.Floats(sizes[i-1] * sizes[i-1] * l.Out) // zero outside the crop
		for o := range t {
			for j := range t {
				var dot float32
				for ch := range l.Out {
					dot += d[o*l.Out+ch] * cur[j*l.Out+ch]
					up[j*l.Out+ch] += m[o*t+j] * d[o*l.Out+ch]
				}
				dm[o*t+j] += dot
			}
		}
		d = up
	}
	kernel.Add(e.W.Of(e.Grad, layer, Weight)[:len(d)], d)
}
