package supernet

import (
	"unsafe"

	"weft/kernel"
	"weft/nn"
	"weft/tensor"
)

// op describes a kernel call for one layer and one pair of shapes, without the memory that
// it works on. All plans of a table share it.
type op struct {
	kind    nn.Kind
	act     kernel.Act
	in, out tensor.Shape
	name    string // of the layer
	k       int
	stride  int
	macs    int              // of one image
	conv    kernel.Conv      // Conv and FC; SE: to the hidden channels; pixels and Add: the affine
	wino    *kernel.Winograd // Conv, from many images on, if not nil
	many    int
	second  kernel.Conv // SE: back to the channels
	dw      kernel.Depthwise
	gather  *kernel.Gather // MaxPool and AvgPool
}

// pixels is the kind of the operation that normalises pixel/255: y = x·Scale + Shift of
// op.conv, on rows of eight pixels.
const pixels = nn.Kind(255)

// opKey is what an op depends on.
type opKey struct {
	kind              nn.Kind
	act               kernel.Act
	layer             int
	k, stride, hidden int
	in, out           tensor.Shape
}

// op returns the description of operation i.
func (t *Table) op(g *nn.Graph, i int) *op {
	o := &g.Ops[i]
	key := opKey{o.Kind, o.Act, o.Layer, o.K, o.Stride, o.Hidden, g.Values[o.In], g.Values[o.Out]}
	if d := t.ops[key]; d != nil {
		return d
	}
	d := &op{kind: o.Kind, act: o.Act, in: key.in, out: key.out, k: o.K, stride: o.Stride, macs: g.OpMACs(o)}
	if o.Layer >= 0 {
		d.name = g.Layers[o.Layer].Name
	}
	t.ops[key] = d
	w, in, out := t.net.W, key.in, key.out
	switch o.Kind {
	case nn.Conv:
		l := &g.Layers[o.Layer]
		d.conv = kernel.Conv{
			G: t.windows.Forward(in.H, in.W, o.K, o.Stride, false), W: w.Of(w.Data, o.Layer, nn.Weight),
			Cin: in.C, Cout: out.C, XPitch: in.C, YPitch: out.C, Taps: l.Taps(), InMax: l.In, Act: o.Act,
		}
		t.winograd(d, o)
	case nn.Depthwise:
		d.dw = kernel.Depthwise{
			G: t.windows.Forward(in.H, in.W, o.K, o.Stride, true), W: t.kernel(o.Layer, o.K),
			C: out.C, CMax: g.Layers[o.Layer].Out, Act: o.Act,
		}
	case nn.FC:
		d.conv = denseConv(w, o.Layer, nn.Weight, nn.Bias, in.Size(), pitch(out.C), g.Layers[o.Layer].In, kernel.Linear)
	case nn.SE:
		l := &g.Layers[o.Layer]
		d.conv = denseConv(w, o.Layer, nn.Weight, nn.Bias, in.C, o.Hidden, l.In, kernel.ReLU)
		d.second = denseConv(w, o.Layer, nn.Weight2, nn.Bias2, o.Hidden, in.C, l.Hidden, kernel.HSigmoid)
	case nn.Add:
		d.conv.Scale, d.conv.Shift = tensor.Floats(out.C), zeros[:]
		for i := range d.conv.Scale {
			d.conv.Scale[i] = 1
		}
	case nn.MaxPool, nn.AvgPool:
		d.gather = t.windows.Forward(in.H, in.W, o.K, o.Stride, false)
	}
	return d
}

// pixels returns the operation that computes (pixel/255 − mean)/std as pixel/255·Scale +
// Shift. Its vectors repeat those of a pixel eight times, so that rows are whole vectors.
func (t *Table) pixels(in tensor.Shape) *op {
	key := opKey{kind: pixels, in: in}
	if d := t.ops[key]; d != nil {
		return d
	}
	d := &op{kind: pixels, in: in, out: in}
	d.conv.Scale, d.conv.Shift = tensor.Floats(8*in.C), tensor.Floats(8*in.C)
	for i := range d.conv.Scale {
		inv := 1 / t.net.Std[i%in.C]
		d.conv.Scale[i], d.conv.Shift[i] = inv, -t.net.Mean[i%in.C]*inv
	}
	t.ops[key] = d
	return d
}

func denseConv(w *nn.Weights, layer int, r, b nn.Role, cin, cout, inMax int, act kernel.Act) kernel.Conv {
	return kernel.Conv{
		G: kernel.IdentityGather(1), W: w.Of(w.Data, layer, r), Cin: cin, Cout: cout,
		XPitch: pitch(cin), YPitch: cout, Taps: 1, InMax: inMax, Shift: w.Of(w.Data, layer, b), Act: act,
	}
}

// pitch is the row length of a value with c channels: whole vectors of 8.
func pitch(c int) int { return (c + 7) &^ 7 }

// strips is how many parts the pixels of an image are added up in, one after the other
// within a part. It follows from the shape alone, so that means do not depend on threads.
func (o *op) strips() int { return min(max(o.in.Pixels()/64, 1), 8) }

// strip returns the pixels of part i.
func (o *op) strip(i int) (lo, hi int) {
	n, parts := o.in.Pixels(), o.strips()
	return i * n / parts, (i + 1) * n / parts
}

// scratch returns how many floats the operation needs for an image besides its input and
// output.
func (o *op) scratch() int {
	switch o.kind {
	case nn.GlobalPool:
		return o.strips() * o.in.C
	case nn.SE: // sums, means, hidden channels, gate
		return (o.strips()+2)*o.in.C + pitch(o.conv.Cout)
	default:
		return 0
	}
}

// bytes returns the memory that the description takes, without weights and windows.
func (o *op) bytes() int {
	n := int(unsafe.Sizeof(*o)) + int(unsafe.Sizeof(opKey{}))
	if o.wino != nil {
		n += int(unsafe.Sizeof(*o.wino))
	}
	switch o.kind {
	case pixels:
		n += 8 * len(o.conv.Scale)
	case nn.Add:
		n += 4 * len(o.conv.Scale)
	}
	return n
}

// inSize returns the floats of an image of the input. What a fully connected layer reads
// is padded like what it writes.
func (o *op) inSize() int {
	if o.kind == nn.FC {
		return pitch(o.in.Size())
	}
	return o.in.Size()
}

// outSize returns the floats of an image of the output, with the padding of its rows.
func (o *op) outSize() int { return o.out.Pixels() * pitch(o.out.C) }
