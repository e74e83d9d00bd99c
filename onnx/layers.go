package onnx

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"weft/kernel"
	"weft/nn"
	"weft/tensor"
)

// Limits on what an import may grow to.
const (
	maxKernel  = 7
	maxWeights = 1 << 27 // of one layer, with padding
)

// A frame is where a window lies: its size with dilation, its strides, and the zeros
// around the input (top, left, bottom, right).
type frame struct {
	kh, kw, dh, dw, sh, sw int
	pads                   [4]int
	out                    tensor.Shape
}

// height and width of the window with the gaps of dilation.
func (f *frame) height() int { return (f.kh-1)*f.dh + 1 }
func (f *frame) width() int  { return (f.kw-1)*f.dw + 1 }

// frame reads the geometry of a convolution or pool whose kernel is kh by kw.
func (c *call) frame(kh, kw int) (frame, error) {
	in := c.x.shape
	f := frame{kh: kh, kw: kw}
	pairs := []struct {
		name string
		a, b *int
	}{{"strides", &f.sh, &f.sw}, {"dilations", &f.dh, &f.dw}}
	for _, p := range pairs {
		v := c.attrs.ints(p.name, 1, 1)
		if len(v) != 2 || v[0] < 1 || v[1] < 1 || v[0] > 1<<16 || v[1] > 1<<16 {
			return f, fmt.Errorf("has %s %v", p.name, v)
		}
		*p.a, *p.b = v[0], v[1]
	}
	if kh < 1 || kw < 1 || kh > 1<<16 || kw > 1<<16 {
		return f, fmt.Errorf("has a kernel of %d by %d", kh, kw)
	}
	pads := c.attrs.ints("pads", 0, 0, 0, 0)
	auto := c.attrs.text("auto_pad")
	switch {
	case auto == "SAME_UPPER" || auto == "SAME_LOWER":
		pads = make([]int, 4)
		for i, d := range [][3]int{{in.H, f.sh, f.height()}, {in.W, f.sw, f.width()}} {
			total := max((((d[0]+d[1]-1)/d[1])-1)*d[1]+d[2]-d[0], 0)
			pads[i], pads[i+2] = total/2, total-total/2
			if auto == "SAME_LOWER" {
				pads[i], pads[i+2] = pads[i+2], pads[i]
			}
		}
	case auto == "VALID":
		pads = make([]int, 4)
	case auto != "" && auto != "NOTSET" || len(pads) != 4:
		return f, fmt.Errorf("has pads %v and auto_pad %q", pads, auto)
	}
	for i, p := range pads {
		if c.x.pads != nil {
			p += c.x.pads[i]
		}
		if p < 0 || p > 1<<16 {
			return f, fmt.Errorf("has pads %v", pads)
		}
		f.pads[i] = p
	}
	h, w := in.H+f.pads[0]+f.pads[2]-f.height(), in.W+f.pads[1]+f.pads[3]-f.width()
	if h < 0 || w < 0 {
		return f, fmt.Errorf("has a kernel larger than its input of %v", in)
	}
	if c.attrs.int("ceil_mode", 0) != 0 {
		h, w = h+f.sh-1, w+f.sw-1
	}
	f.out = tensor.Shape{H: h/f.sh + 1, W: w/f.sw + 1}
	return f, nil
}

// square finds the kernel of weft, k by k with (k−1)/2 zeros on every side, that the
// window fits in, and the row and column of the window's corner in it.
func (f *frame) square(in tensor.Shape, odd bool) (k, top, left int, err error) {
	for k := max(f.height(), f.width()); k <= maxKernel && f.sh == f.sw; k++ {
		p := (k - 1) / 2
		top, left := p-f.pads[0], p-f.pads[1]
		fits := top >= 0 && left >= 0 && top+f.height() <= k && left+f.width() <= k
		if (odd && k%2 == 0) || !fits || in.H+2*p < k || in.W+2*p < k {
			continue
		}
		if (in.H+2*p-k)/f.sh+1 == f.out.H && (in.W+2*p-k)/f.sw+1 == f.out.W {
			return k, top, left, nil
		}
	}
	return 0, 0, 0, fmt.Errorf("has a kernel of %d by %d, dilation %d by %d, stride %d by %d and pads %v, which weft's windows of up to %d by %d with equal strides and padding on every side cannot do",
		f.kh, f.kw, f.dh, f.dw, f.sh, f.sw, f.pads, maxKernel, maxKernel)
}

// layer names the layer after its weights, or after the node where those have no name of
// their own.
func (c *call) layer() string {
	if name := c.Input[1]; !strings.Contains(name, "::") || c.Name == "" {
		return name
	}
	return c.Name
}

// conv reads a convolution: dense, depthwise, or in groups, which become dense.
func (im *importer) conv(c *call) error {
	k := im.constOf(c, 1)
	if k == nil || k.floats == nil || len(k.dims) != 4 {
		return errors.New("has no constant weights of four axes")
	}
	if c.x.flat || c.x.last {
		return errors.New("works on an image whose channels are not the second axis; only a Transpose right after the input may change axes")
	}
	out, per, groups, in := k.dims[0], k.dims[1], c.attrs.int("group", 1), c.x.shape
	if groups < 1 || in.C != per*groups || out < 1 || out%groups != 0 {
		return fmt.Errorf("has weights of shape %v in %d groups for %d channels", k.dims, groups, in.C)
	}
	f, err := c.frame(k.dims[2], k.dims[3])
	if err != nil {
		return err
	}
	if whole := f.kh == in.H && f.kw == in.W && f.pads == [4]int{} && f.dh == 1 && f.dw == 1; whole && groups == 1 && in.Pixels() > 1 {
		return im.dense(c, out, k.floats)
	}
	depthwise := groups == in.C && out == in.C && groups > 1 && c.x.op > 0
	size, top, left, err := f.square(in, depthwise)
	if err != nil {
		return err
	}
	op := operation{
		kind: nn.Conv, name: c.layer(), in: c.x.op, res: -1, out: tensor.Shape{H: f.out.H, W: f.out.W, C: out},
		k: size, stride: f.sh, alone: im.alone(c.x),
	}
	if op.scale, op.shift, err = im.epilogue(c, out); err != nil {
		return err
	}
	wide := in.C
	if depthwise {
		op.kind, wide = nn.Depthwise, 1
	} else if groups > 1 {
		im.notes = append(im.notes, fmt.Sprintf("%s, a convolution in %d groups, becomes a dense one of %d times the work", op.name, groups, groups))
	}
	if out > maxWeights/(wide*size*size) {
		return fmt.Errorf("has more than %d weights when it is dense", maxWeights)
	}
	op.weight = make([]float32, out*size*size*wide)
	for o := range out {
		first := o / (out / groups) * per // channel that the group begins with
		if depthwise {
			first = 0
		}
		for i := range per {
			for y := range f.kh {
				for x := range f.kw {
					tap := (top+y*f.dh)*size + left + x*f.dw
					op.weight[(o*size*size+tap)*wide+first+i] = k.floats[((o*per+i)*f.kh+y)*f.kw+x]
				}
			}
		}
	}
	return im.add(c, op)
}

// alone reports whether the node at hand is the only reader of v.
func (im *importer) alone(v value) bool { return !v.shared && im.uses[v.name] == 1 }

// epilogue returns scale and shift of a layer of so many outputs, from the input's factor
// and the bias, the third input.
func (im *importer) epilogue(c *call, out int) (scale, shift []float64, err error) {
	scale, shift = slices.Repeat([]float64{c.x.factor}, out), make([]float64, out)
	if len(c.Input) < 3 || c.Input[2] == "" {
		return scale, shift, nil
	}
	b := im.constOf(c, 2)
	if b == nil || len(b.floats) != out && len(b.floats) != 1 {
		return nil, nil, fmt.Errorf("has no constant bias of %d values", out)
	}
	for i := range shift {
		shift[i] = float64(b.floats[i%len(b.floats)])
	}
	return scale, shift, nil
}

// gemm reads a fully connected layer: of one pixel it is a 1x1 convolution, which others
// may follow.
func (im *importer) gemm(c *call) error {
	k := im.constOf(c, 1)
	if k == nil || k.floats == nil || len(k.dims) != 2 || c.attrs.int("transA", 0) != 0 {
		return errors.New("is no product of a value and a constant matrix")
	}
	rows, cols := k.dims[1], k.dims[0] // outputs, inputs
	at := func(o, i int) float32 { return k.floats[i*rows+o] }
	if c.attrs.int("transB", 0) != 0 {
		rows, cols = cols, rows
		at = func(o, i int) float32 { return k.floats[o*cols+i] }
	}
	in := c.x.shape
	if !c.x.flat || cols != in.Size() || rows < 1 || c.x.last {
		return fmt.Errorf("has a matrix of shape %v for %v, which must be flattened first", k.dims, in)
	}
	matrix := make([]float32, rows*cols)
	for o := range rows {
		for i := range cols {
			matrix[o*cols+i] = at(o, i)
		}
	}
	if err := im.dense(c, rows, matrix); err != nil {
		return err
	}
	v := im.values[c.Output[0]]
	v.flat = true
	return im.set(c, v)
}

// dense appends the product of an image, flattened channel by channel, and a matrix
// [rows][values]. Of one pixel it is a 1x1 convolution.
func (im *importer) dense(c *call, rows int, matrix []float32) error {
	in := c.x.shape
	op := operation{kind: nn.Conv, name: c.layer(), in: c.x.op, res: -1, out: vector(rows), k: 1, stride: 1, alone: im.alone(c.x)}
	if in.Pixels() > 1 || c.x.op == 0 {
		op.kind, op.k, op.stride = nn.FC, 0, 0
	}
	var err error
	if op.scale, op.shift, err = im.epilogue(c, rows); err != nil {
		return err
	}
	alpha, beta := c.attrs.float("alpha", 1), c.attrs.float("beta", 1) // of Gemm
	for i := range op.scale {
		op.scale[i] *= alpha
		op.shift[i] *= beta
	}
	op.weight = make([]float32, len(matrix))
	pixels, n := in.Pixels(), in.Size()
	for i, v := range matrix {
		row, ch, pix := i/n, i%n/pixels, i%pixels
		op.weight[row*n+pix*in.C+ch] = v
	}
	return im.add(c, op)
}

// pool reads a maximum or mean of windows.
func (im *importer) pool(c *call) error {
	size := c.attrs.ints("kernel_shape")
	if len(size) != 2 || c.x.op == 0 || c.x.flat || len(c.Output) > 1 {
		return errors.New("is no pool of two axes over what a convolution made")
	}
	f, err := c.frame(size[0], size[1])
	if err != nil {
		return err
	}
	in, p := c.x.shape, (f.kh-1)/2
	mean := c.OpType == "AveragePool"
	padded := f.pads != [4]int{} && c.attrs.int("count_include_pad", 0) != 0
	whole := f.kh == in.H && f.kw == in.W && f.out.H == 1 && f.out.W == 1 && f.pads == [4]int{}
	if mean && whole {
		return im.globalPool(c)
	}
	exact := f.kh == f.kw && f.sh == f.sw && f.dh == 1 && f.dw == 1 && f.kh <= maxKernel && f.pads[0] == p && f.pads[1] == p &&
		(in.H+2*p-f.kh)/f.sh+1 == f.out.H && (in.W+2*p-f.kw)/f.sw+1 == f.out.W
	out := tensor.Shape{H: f.out.H, W: f.out.W, C: in.C}
	switch {
	case exact && !padded:
		kind := nn.MaxPool
		if mean {
			kind = nn.AvgPool
		}
		return im.pooled(c, operation{kind: kind, in: c.x.op, res: -1, out: out, k: f.kh, stride: f.sh})
	case mean && (padded || f.pads == [4]int{}) && c.attrs.int("ceil_mode", 0) == 0:
		return im.meanConv(c, f, out)
	}
	return fmt.Errorf("has a kernel of %d by %d, stride %d by %d and pads %v; weft pools squares of up to %d with (k-1)/2 pixels of padding on every side",
		f.kh, f.kw, f.sh, f.sw, f.pads, maxKernel)
}

// pooled appends an operation that leaves the factor as it is.
func (im *importer) pooled(c *call, op operation) error {
	op.alone = im.alone(c.x)
	if err := im.add(c, op); err != nil {
		return err
	}
	v := im.values[c.Output[0]]
	v.factor = c.x.factor
	return im.set(c, v)
}

// meanConv is a mean of windows as a depthwise convolution.
func (im *importer) meanConv(c *call, f frame, out tensor.Shape) error {
	k, top, left, err := f.square(c.x.shape, true)
	if err != nil {
		return err
	}
	op := operation{
		kind: nn.Depthwise, name: "mean", in: c.x.op, res: -1, out: out, k: k, stride: f.sh,
		weight: make([]float32, out.C*k*k), scale: slices.Repeat([]float64{c.x.factor / float64(f.kh*f.kw)}, out.C), shift: make([]float64, out.C),
	}
	for ch := range out.C {
		for y := range f.kh {
			for x := range f.kw {
				op.weight[(ch*k+top+y*f.dh)*k+left+x*f.dw] = 1
			}
		}
	}
	return im.add(c, op)
}

func (im *importer) globalPool(c *call) error {
	if c.x.op == 0 || c.x.flat {
		return errors.New("does not follow a convolution")
	}
	return im.pooled(c, operation{kind: nn.GlobalPool, in: c.x.op, res: -1, out: vector(c.x.shape.C)})
}

func (im *importer) reduceMean(c *call) error {
	axes := c.attrs.ints("axes")
	if k := im.constOf(c, 1); k != nil {
		for _, a := range k.ints {
			axes = append(axes, int(a))
		}
	}
	for i := range axes {
		if axes[i] < 0 {
			axes[i] += 4
		}
	}
	slices.Sort(axes)
	if !slices.Equal(axes, []int{2, 3}) {
		return fmt.Errorf("has the mean of axes %v; only that of height and width is supported", axes)
	}
	if err := im.globalPool(c); err != nil {
		return err
	}
	v := im.values[c.Output[0]]
	v.flat = c.attrs.int("keepdims", 1) == 0
	return im.set(c, v)
}

// gate reads the product of two values: squeeze-and-excite, or h-swish spelled out.
func (im *importer) gate(c *call) error {
	x, y := c.x, *c.y
	for range 2 {
		if y.op > 0 && im.ops[y.op-1].act == kernel.HSigmoid && im.alone(y) {
			if ok, err := im.hswish(c, x, y); ok || err != nil {
				return err
			}
			if ok, err := im.excite(c, x, y); ok || err != nil {
				return err
			}
		}
		x, y = y, x
	}
	return errors.New("multiplies two values in another way than squeeze-and-excite (mean, 1x1, ReLU, 1x1, h-sigmoid) or h-swish (x times h-sigmoid of x)")
}

// hswish reads x·h-sigmoid(x), where y is the h-sigmoid.
func (im *importer) hswish(c *call, x, y value) (bool, error) {
	op := &im.ops[y.op-1]
	plain := op.kind == nn.Depthwise && op.k == 1 && op.res < 0 && op.in == x.op && x.factor == 1 && x.shape == y.shape
	for ch := range op.scale {
		plain = plain && op.weight[ch] == 1 && math.Abs(op.scale[ch]-1) < 1e-6 && math.Abs(op.shift[ch]) < 1e-6
	}
	if !plain {
		return false, nil
	}
	if before := im.open(x, 2); before != nil && before.res < 0 && before.kind != nn.Add {
		before.act, op.dead = kernel.HSwish, true
		x.factor, x.shared = y.factor, false
		return true, im.set(c, x)
	}
	op.act = kernel.HSwish
	return true, im.set(c, y)
}

// excite reads squeeze-and-excite of x, where y is the gate.
func (im *importer) excite(c *call, x, y value) (bool, error) {
	second := &im.ops[y.op-1]
	if second.kind != nn.Conv || second.k != 1 || second.res >= 0 || !second.alone || second.in == 0 || x.op == 0 {
		return false, nil
	}
	first := &im.ops[second.in-1]
	if first.kind != nn.Conv || first.k != 1 || first.res >= 0 || !first.alone || first.act != kernel.ReLU || first.in == 0 {
		return false, nil
	}
	mean := &im.ops[first.in-1]
	if mean.kind != nn.GlobalPool || mean.in != x.op || y.shape != vector(x.shape.C) {
		return false, nil
	}
	op := operation{
		kind: nn.SE, name: first.name, in: x.op, res: -1, out: x.shape, hidden: first.out.C,
		weight: scaled(first), bias: rounded(first.shift), weight2: scaled(second), shift: second.shift,
	}
	mean.dead, first.dead, second.dead = true, true, true
	if err := im.add(c, op); err != nil {
		return true, err
	}
	v := im.values[c.Output[0]]
	v.factor, v.flat = x.factor*y.factor, x.flat
	return true, im.set(c, v)
}

// scaled returns the weights of an operation with its scale multiplied in.
func scaled(op *operation) []float32 {
	w := make([]float32, len(op.weight))
	per := len(w) / len(op.scale)
	for i, v := range op.weight {
		w[i] = float32(float64(v) * op.scale[i/per])
	}
	return w
}

func rounded(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}
