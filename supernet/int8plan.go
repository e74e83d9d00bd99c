package supernet

import (
	"fmt"
	"unsafe"

	"weft/kernel"
	"weft/quant"
	"weft/tensor"
)

// plan8 is what an int8 Plan runs: operations that all plans of a table share, and where
// this one keeps its values.
type plan8 struct {
	sub, mul []float32 // of the pixels, per channel
	zero     uint8
	steps    []step8
	segments []segment8
	input    place8
	passed   int // bytes an image of what the second segment takes over
	logits   int // floats a row of logits
	scratch  int // bytes that a thread needs beside its values
}

// step8 is an operation of a plan on its values.
type step8 struct {
	op           *op8
	in, out, res place8
}

// op8 is an operation with everything but its values.
type op8 struct {
	kind    quant.Kind
	columns *columns // of the inputs of conv, where its weights take rows of a window
	squared *squared // of conv, nil without
	conv    kernel.Conv8
	dw      kernel.Depthwise8
	gather  *kernel.Gather
	affine  kernel.Affine8 // Add
	scale   float32        // Mul, GlobalPool
	x, res  uint8          // zero points
	zero    uint8
	name    string // of the layer
	k       int    // window and stride
	stride  int
	in, out tensor.Shape
	rows    int // units of work of an image: output pixels, of a mean the image
	macs    int // multiply-adds of a row, or as many as take its time
}

// bytes returns the memory of the operation.
func (o *op8) bytes() int {
	n := int(unsafe.Sizeof(*o))
	for _, r := range []*kernel.Requant8{&o.conv.Requant8, &o.dw.Requant8} {
		n += 4*len(r.Bias) + 4*len(r.Scale)
		if r.Table != nil {
			n += len(r.Table)
		}
	}
	return n
}

// Plan compiles an architecture for int8.
func (t *Int8) Plan(a Arch) (*Plan, error) {
	b, err := t.network(a)
	if err != nil {
		return nil, err
	}
	n, g := b.n, b.g
	q := &plan8{zero: n.Values[0].Zero}
	for c := range n.Mean {
		q.sub = append(q.sub, n.Mean[c])
		q.mul = append(q.mul, 1/(n.Std[c]*n.Values[0].Scale))
	}
	for i := range n.Ops {
		op := t.ops[b.ops[i]]
		if op == nil {
			if op, err = t.compile(n, &n.Ops[i]); err != nil {
				return nil, fmt.Errorf("subnet %s in int8: %w", t.net.Space.Format(a), err)
			}
			t.ops[b.ops[i]] = op
		}
		q.steps = append(q.steps, step8{op: op, res: nowhere8})
		if op.squared != nil {
			q.scratch = max(q.scratch, op.squared.scratch)
		}
	}
	q.arrange(n)
	return &Plan{Arch: a, MACs: g.MACs(), Classes: g.Values[g.Output()].C, Input: g.Values[0], int8: q}, nil
}

// Int8 reports whether the plan computes in int8.
func (p *Plan) Int8() bool { return p.int8 != nil }

// compile turns the description of an operation into kernel calls.
func (t *Int8) compile(n *quant.Network, o *quant.Op) (*op8, error) {
	x, y := n.Values[o.In], n.Values[o.Out]
	op := &op8{
		kind: o.Kind, x: x.Zero, zero: y.Zero, name: o.Name, k: o.K, stride: o.Stride, in: x.Shape, out: y.Shape, rows: y.Pixels(),
	}
	op.macs = 8 * x.Size() / op.rows
	if o.Res >= 0 {
		op.res = n.Values[o.Res].Zero
	}
	switch o.Kind {
	case quant.Conv, quant.FC:
		if o.Res >= 0 && o.W.Window > 0 {
			return nil, fmt.Errorf("layer %s adds a residual to a convolution of the image, which has no int8 form", o.Name)
		}
		op.conv = t.conv(n, o)
		if o.W.Window > 0 {
			op.columns = t.column(x.Shape, o)
		}
		t.winograd(op, o.W)
		op.macs = op.conv.Cin * len(op.conv.G.Taps) * op.conv.Cout
	case quant.Depthwise:
		g := t.ring(x.Shape, o)
		op.dw = kernel.Depthwise8{G: g, W: o.W.Data, C: y.C, Pad: x.Zero, Requant8: requant(n, o, 1, g.Taps)}
		op.macs = o.K * o.K * y.C * 6
	case quant.MaxPool, quant.AvgPool:
		op.gather = t.windows.Forward(x.H, x.W, o.K, o.Stride, false)
	case quant.GlobalPool:
		op.rows, op.macs = 1, 8*x.Size()
		op.scale = x.Scale / (y.Scale * float32(x.Pixels()))
	case quant.Add:
		op.affine = quant.Sum(x.Params, n.Values[o.Res].Params, y.Params)
	case quant.Mul:
		op.scale = x.Scale * n.Values[o.Res].Scale / y.Scale
	}
	return op, nil
}

// conv describes the kernel call of a convolution or fully connected layer.
func (t *Int8) conv(n *quant.Network, o *quant.Op) kernel.Conv8 {
	x, y := n.Values[o.In], n.Values[o.Out]
	in := x.C
	c := kernel.Conv8{
		G: kernel.IdentityGather(1), W: o.W.Data, Cout: y.C, YPitch: y.C,
		Taps: o.W.KernelTaps(), InMax: o.W.KernelIn(o.W.In), Pad: x.Zero,
	}
	switch {
	case o.Kind == quant.FC:
		in = x.Size()
		c.Cout = (y.C + 7) &^ 7
		c.YPitch = c.Cout
	case o.W.Window > 0:
		c.G = &t.column(x.Shape, o).gather
	default:
		c.G = t.windows.Forward(x.H, x.W, o.K, o.Stride, false)
	}
	c.Cin = o.W.KernelIn(in)
	c.XPitch = c.Cin
	c.Requant8 = requant(n, o, in, c.G.Taps)
	return c
}

// requant folds the zero point of the inputs of those taps into the biases, and the scales
// into one.
func requant(n *quant.Network, o *quant.Op, in int, taps []int32) kernel.Requant8 {
	x, y := n.Values[o.In], n.Values[o.Out]
	own := o.Own.Scale
	if o.Kind == quant.FC {
		own = 1
	}
	size, at := kernel.Panels(y.C)*kernel.Panel, func(c int) int { return c }
	if o.Kind == quant.Depthwise {
		size, at = kernel.DepthwisePad8(y.C), kernel.DepthwiseOrder8
	}
	r := kernel.Requant8{Bias: make([]int32, size), Scale: make([]float32, size), Zero: o.Own.Zero}
	for c := range y.C {
		r.Bias[at(c)] = o.Bias[c]
		if x.Zero != 0 {
			r.Bias[at(c)] -= int32(x.Zero) * o.W.Sum(c, in, taps)
		}
		r.Scale[at(c)] = float32(x.Scale*o.WScale[c]) / own
	}
	if o.Looked() {
		r.Table = quant.Table(o.Act, o.Own, y.Params)
	}
	if o.Res >= 0 {
		r.Add = quant.Sum(o.Own, n.Values[o.Res].Params, y.Params)
	}
	return r
}
