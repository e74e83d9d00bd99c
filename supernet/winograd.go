package supernet

import (
	"cmp"
	"slices"

	"weft/kernel"
	"weft/nn"
	"weft/tensor"
)

// Tuning says which 3x3 layers are computed by Winograd's algorithm
// (kernel.Winograd) instead of directly. It depends on the machine; the same Tuning gives
// the same bits on every machine with the same tier of kernels.
type Tuning struct {
	Bytes  int           `json:"bytes"`            // that transformed weights might take
	Layers []LayerTuning `json:"layers,omitempty"` // in the order of the supernet's layers
}

// LayerTuning is the choice for one layer.
type LayerTuning struct {
	Layer  string `json:"layer"`
	M      int    `json:"m"`      // tiles of m by m outputs: 2 or 4, with stride 2 only 2
	Images int    `json:"images"` // from so many images on, worked on together; directly below
}

// of returns the choice for a layer, nil where it is to be computed directly.
func (t *Tuning) of(layer string) *LayerTuning {
	for i := range t.Layers {
		if l := &t.Layers[i]; l.Layer == layer {
			return l
		}
	}
	return nil
}

// WinogradBytes is how much memory transformed weights may take unless the user says
// otherwise: half of what the weights take, and 16 MiB in any case.
func (s *Supernet) WinogradBytes() int { return max(4*len(s.W.Data)/2, 16<<20) }

// Rule returns the Tuning that goes by shapes alone, for when nothing was measured:
// F(4×4, 3×3) or F(2×2, 3×3) for the layers that save most time per byte of transformed
// weights, as long as these take no more than so many bytes. A layer saves in proportion
// to its pixels; F(2×2) is taken to save 44 %, with stride 2 only 15 %, for 16/9 of the bytes
// of the weights, F(4×4) 63 % for four times the bytes, where an image has several tiles.
func (s *Supernet) Rule(bytes int) Tuning {
	type option struct {
		layer, m, bytes int
		value           float64 // saved by an image, per byte
	}
	var options []option
	squares := s.squares()
	for layer, o := range squares {
		l, pix := &s.W.Layers[layer], float64(o.out.Pixels())
		direct := kernel.PackedLen(l.Out, 9, l.In)
		two, four := kernel.WinogradLen(2, l.Out, l.In), kernel.WinogradLen(4, l.Out, l.In)
		per := pix * float64(direct)
		if o.stride == 2 {
			options = append(options, option{layer, 2, 4 * two, 0.15 * per / float64(two)})
			continue
		}
		options = append(options, option{layer, 2, 4 * two, 0.44 * per / float64(two)})
		if fewest(o.out, 4) == 1 {
			options = append(options, option{layer, 4, 4 * (four - two), 0.19 * per / float64(four-two)})
		}
	}
	slices.SortFunc(options, func(a, b option) int {
		return cmp.Or(cmp.Compare(b.value, a.value), cmp.Compare(a.layer, b.layer), cmp.Compare(a.m, b.m))
	})
	t := Tuning{Bytes: bytes}
	size := map[int]int{}
	for _, o := range options {
		if o.bytes <= bytes && (o.m == 2 || size[o.layer] == 2) {
			size[o.layer] = o.m
			bytes -= o.bytes
		}
	}
	for layer := range s.W.Layers {
		if m := size[layer]; m != 0 {
			t.Layers = append(t.Layers, LayerTuning{s.W.Layers[layer].Name, m, fewest(squares[layer].out, m)})
		}
	}
	return t
}

// square is a layer that Winograd's algorithm can compute, in the largest subnet.
type square struct {
	in, out tensor.Shape
	stride  int
}

// takes reports whether it can be computed by tiles of m by m outputs.
func (q *square) takes(m int) bool { return m == 2 || q.stride == 1 }

// squares returns the layers that Winograd's algorithm can compute by their number.
func (s *Supernet) squares() map[int]square {
	g := s.Space.lower(s.Space.Max())
	m := map[int]square{}
	for i := range g.Ops {
		o := &g.Ops[i]
		if q := (square{g.Values[o.In], g.Values[o.Out], o.Stride}); winogradFits(o, q.in, q.out) {
			m[o.Layer] = q
		}
	}
	return m
}

// winogradFits reports whether Winograd's algorithm can compute an operation and may be
// faster: with stride 2 it is not for 16 outputs.
func winogradFits(o *nn.Op, in, out tensor.Shape) bool {
	switch {
	case o.Kind != nn.Conv || o.K != 3 || out.C%8 != 0:
		return false
	case o.Stride == 1:
		return in.C%8 == 0 || in.C == kernel.WinogradFew
	default:
		return o.Stride == 2 && in.C%8 == 0 && out.C > kernel.Panel
	}
}

// fewest returns from how many images on a layer has enough tiles: transformed weights are
// read whole however few there are.
func fewest(out tensor.Shape, m int) int {
	const enough = 4
	tiles := ((out.H + m - 1) / m) * ((out.W + m - 1) / m)
	return (enough + tiles - 1) / tiles
}

// transformed returns the weights of a layer transformed for tiles of m by m, made once.
func (t *Table) transformed(layer, m, stride int) []float32 {
	key := kernelKey{layer, m}
	if t.wino[key] == nil {
		l := &t.net.W.Layers[layer]
		u := tensor.Floats(kernel.WinogradLen(m, l.Out, l.In))
		kernel.WinogradPack(u, t.net.W.Of(t.net.W.Data, layer, nn.Weight), m, stride, l.Out, l.In)
		t.wino[key] = u
	}
	return t.wino[key]
}

// winograd gives the operation its other way to be computed, if the tuning has one.
func (t *Table) winograd(d *op, o *nn.Op) {
	choice := t.options.Tuning.of(d.name)
	if choice == nil || !winogradFits(o, d.in, d.out) || choice.M == 4 && o.Stride == 2 {
		return
	}
	d.many = choice.Images
	d.wino = &kernel.Winograd{
		M: choice.M, Stride: o.Stride, H: d.in.H, W: d.in.W, U: t.transformed(o.Layer, choice.M, o.Stride), Cin: d.in.C, Cout: d.out.C,
		XPitch: d.in.C, YPitch: d.out.C, InMax: t.net.W.Layers[o.Layer].In, Act: o.Act,
	}
}

// asTiles reports whether the job is computed by Winograd's algorithm; its rows then are
// tiles.
func (j *job) asTiles() bool { return j.op.wino != nil && j.images >= j.op.many }

// tiles computes the tiles [lo, hi) of the panels [from, to).
func (j *job) tiles(t *tool, lo, hi, from, to int) {
	t.wino = *j.op.wino
	k := &t.wino
	k.X, k.Y, k.Res = j.x, j.y, j.res
	k.Scale, k.Shift = j.scale, j.shift
	if from > 0 || to < kernel.Panels(k.Cout) {
		at := from * kernel.Panel
		k.U = k.U[kernel.PackedIndex((k.M+2)*(k.M+2), k.InMax, at, 0, 0):]
		k.Cout = min(k.Cout, to*kernel.Panel) - at
		k.Y, k.Scale, k.Shift, k.Res = tail(k.Y, at), tail(k.Scale, at), tail(k.Shift, at), tail(k.Res, at)
	}
	k.Run(lo, hi, t.scratch)
}

// tail returns s from element at on; nil stays nil.
func tail(s []float32, at int) []float32 {
	if s == nil {
		return nil
	}
	return s[at:]
}
