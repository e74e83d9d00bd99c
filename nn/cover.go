package nn

import "weft/kernel"

// Cover adds v to every element of vec, which lies like the weights, that the graph uses:
// the prefixes of its layers and, of elastic kernels, the taps and matrices that its kernels
// are made of.
func (w *Weights) Cover(vec []float32, g *Graph, v float32) {
	for i := range g.Ops {
		op := &g.Ops[i]
		if op.Layer < 0 {
			continue
		}
		in, out := g.Values[op.In].C, g.Values[op.Out].C
		switch op.Kind {
		case Conv:
			l := &w.Layers[op.Layer]
			addPacked(w.Of(vec, op.Layer, Weight), out, l.Taps(), l.In, in, v)
		case FC:
			addPacked(w.Of(vec, op.Layer, Weight), out, 1, w.Layers[op.Layer].In, g.Values[op.In].Size(), v)
			addTo(w.Of(vec, op.Layer, Bias), out, v)
		case SE:
			l := &w.Layers[op.Layer]
			addPacked(w.Of(vec, op.Layer, Weight), op.Hidden, 1, l.In, in, v)
			addTo(w.Of(vec, op.Layer, Bias), op.Hidden, v)
			addPacked(w.Of(vec, op.Layer, Weight2), in, 1, l.Hidden, op.Hidden, v)
			addTo(w.Of(vec, op.Layer, Bias2), in, v)
		case Depthwise:
			w.coverDepthwise(vec, op, out, v)
		}
		if w.Layers[op.Layer].Norm {
			addTo(w.Of(vec, op.Layer, Gamma), out, v)
			addTo(w.Of(vec, op.Layer, Beta), out, v)
		}
	}
}

// coverDepthwise covers the taps that the kernel in use is made of: all of the largest, or
// the centre that the first matrix reads.
func (w *Weights) coverDepthwise(vec []float32, op *Op, channels int, v float32) {
	l := &w.Layers[op.Layer]
	taps := op.K * op.K
	if op.K < l.K {
		taps = l.Kernels[0] * l.Kernels[0]
	}
	weight := w.Of(vec, op.Layer, Weight)
	for t := range taps {
		addTo(weight[t*l.Out:], channels, v)
	}
	for _, k := range l.Kernels {
		if k >= op.K && op.K < l.K {
			m := w.TransformOf(vec, op.Layer, k)
			addTo(m, len(m), v)
		}
	}
}

// addPacked adds v to the given outputs and inputs of dense weights, whose rows hold inMax
// inputs.
func addPacked(x []float32, out, taps, inMax, in int, v float32) {
	for p := range kernel.Panels(out) {
		width := min(out-p*kernel.Panel, kernel.Panel)
		for t := range taps {
			for i := range in {
				addTo(x[((p*taps+t)*inMax+i)*kernel.Panel:], width, v)
			}
		}
	}
}

func addTo(x []float32, n int, v float32) {
	for i := range x[:n] {
		x[i] += v
	}
}
