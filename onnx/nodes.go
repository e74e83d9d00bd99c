package onnx

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"weft/kernel"
	"weft/nn"
	"weft/onnx/internal/pb"
	"weft/tensor"
)

// operators are the ones that are read, by name; they get a node whose inputs exist.
var operators = map[string]func(*importer, *call) error{
	"Conv":               (*importer).conv,
	"BatchNormalization": (*importer).batchNorm,
	"Gemm":               (*importer).gemm,
	"MatMul":             (*importer).gemm,
	"Relu":               func(im *importer, c *call) error { return im.activate(c, kernel.ReLU, 1) },
	"HardSwish":          func(im *importer, c *call) error { return im.activate(c, kernel.HSwish, 1) },
	"HardSigmoid":        (*importer).hardSigmoid,
	"Clip":               (*importer).clip,
	"Add":                (*importer).arithmetic,
	"Sub":                (*importer).arithmetic,
	"Mul":                (*importer).arithmetic,
	"Div":                (*importer).arithmetic,
	"MaxPool":            (*importer).pool,
	"AveragePool":        (*importer).pool,
	"GlobalAveragePool":  (*importer).globalPool,
	"ReduceMean":         (*importer).reduceMean,
	"Flatten":            (*importer).flatten,
	"Reshape":            (*importer).reshape,
	"Squeeze":            (*importer).squeeze,
	"Unsqueeze":          (*importer).unsqueeze,
	"Transpose":          (*importer).transpose,
	"Pad":                (*importer).pad,
	"Identity":           (*importer).same,
	"Dropout":            (*importer).same,
	"Softmax":            (*importer).softmax,
	"LogSoftmax":         (*importer).softmax,
}

// Operators returns the names of the operators that Import reads, sorted.
func Operators() []string {
	names := []string{"Constant", "Shape", "Gather", "Concat", "Cast"}
	for n := range operators {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// A call is a node with its inputs looked up.
type call struct {
	*pb.Node
	attrs attrs
	x     value     // the first input that depends on the image
	y     *value    // the second such one
	k     *constant // the first constant input
	first bool      // x comes before k
}

// node reads one node.
func (im *importer) node(n *pb.Node) error {
	if len(n.Output) == 0 {
		return errors.New("has no output; the file is damaged")
	}
	if n.Domain != "" && n.Domain != "ai.onnx" {
		return fmt.Errorf("operator of the extension %s; export the network with standard operators alone", n.Domain)
	}
	if done, err := im.constant(n); done || err != nil {
		return err
	}
	read, ok := operators[n.OpType]
	if !ok {
		hint := ""
		if strings.HasSuffix(n.OpType, "Linear") || strings.HasPrefix(n.OpType, "QLinear") {
			hint = " (this network is quantised: import the floating-point one)"
		}
		return fmt.Errorf("operator is not supported%s; those that are: %s", hint, strings.Join(Operators(), ", "))
	}
	c := &call{Node: n, attrs: attributes(n)}
	values := 0
	for i, in := range n.Input {
		if in == "" {
			continue
		}
		v, isValue := im.values[in]
		k := im.consts[in]
		switch {
		case isValue && values == 0:
			c.x, c.first = v, c.k == nil
			values++
		case isValue && values == 1:
			c.y = &v
			values++
		case k != nil && c.k == nil:
			c.k = k
		case k == nil:
			return fmt.Errorf("input %d, %q, is made by no node before it, or has no fixed value", i+1, in)
		}
	}
	if values == 0 {
		return errors.New("reads constants alone, which is not supported; export the network with constant folding")
	}
	if (c.x.pads != nil || c.y != nil && c.y.pads != nil) && n.OpType != "Conv" {
		return errors.New("follows a Pad; only Conv may")
	}
	return read(im, c)
}

// constOf returns a constant input, nil without it.
func (im *importer) constOf(c *call, i int) *constant {
	if i >= len(c.Input) {
		return nil
	}
	return im.consts[c.Input[i]]
}

// set says what the node's output is.
func (im *importer) set(c *call, v value) error {
	v.name = c.Output[0]
	im.values[v.name] = v
	return nil
}

// view says that the output is an input seen otherwise.
func (im *importer) view(c *call, v value) error {
	v.shared = v.shared || im.uses[v.name] > 1
	return im.set(c, v)
}

// add appends an operation and says that the output is its value.
func (im *importer) add(c *call, op operation) error {
	op.name = im.unique(op.name)
	im.ops = append(im.ops, op)
	return im.set(c, value{op: len(im.ops), shape: op.out, factor: 1})
}

// unique makes the name of a layer.
func (im *importer) unique(name string) string {
	if name == "" {
		return ""
	}
	name = strings.TrimSuffix(strings.TrimSuffix(name, ".weight"), "_weight")
	im.names[name]++
	for n := im.names[name]; n > 1; n++ {
		if again := fmt.Sprintf("%s.%d", name, n); im.names[again] == 0 {
			im.names[again]++
			return again
		}
	}
	return name
}

// open returns the operation behind v when more can be done to its output in place: it is
// a convolution or sum without activation that nothing else reads.
func (im *importer) open(v value, readers int) *operation {
	if v.op == 0 || v.shared || im.uses[v.name] > readers || v.factor != 1 {
		return nil
	}
	op := &im.ops[v.op-1]
	if op.act != kernel.Linear || op.kind != nn.Conv && op.kind != nn.Depthwise && op.kind != nn.Add {
		return nil
	}
	return op
}

// pointwise appends a depthwise 1x1 operation that does nothing yet, for what no
// operation before it can take up, and returns its value.
func (im *importer) pointwise(c *call, v value) (value, error) {
	if v.op == 0 {
		return v, errors.New("works on the image itself, which only Conv, normalisation and Gemm may")
	}
	n := v.shape.C
	op := operation{
		kind: nn.Depthwise, name: im.unique(c.Output[0] + ".pointwise"), in: v.op, res: -1, out: v.shape, k: 1, stride: 1,
		weight: repeat(1, n), scale: slices.Repeat([]float64{v.factor}, n), shift: make([]float64, n),
	}
	im.ops = append(im.ops, op)
	v.op, v.factor, v.shared, v.name = len(im.ops), 1, false, "\x00"+op.name
	im.uses[v.name] = 1 // by the node at hand
	return v, nil
}

func repeat(x float32, n int) []float32 { return slices.Repeat([]float32{x}, n) }

// plain returns v with factor 1.
func (im *importer) plain(c *call, v value) (value, error) {
	if v.factor == 1 {
		return v, nil
	}
	return im.pointwise(c, v)
}

// activate applies act, whose result times factor is the file's.
func (im *importer) activate(c *call, act kernel.Act, factor float64) error {
	v := c.x
	op := im.open(v, 1)
	if op == nil || op.res >= 0 && act != kernel.ReLU {
		var err error
		if v, err = im.pointwise(c, v); err != nil {
			return err
		}
		op = &im.ops[v.op-1]
	}
	op.act, v.factor, v.shared = act, factor, false
	return im.set(c, v)
}

func (im *importer) hardSigmoid(c *call) error {
	a, b := c.attrs.float("alpha", 0.2), c.attrs.float("beta", 0.5)
	if math.Abs(a-1.0/6) > 1e-6 || b != 0.5 {
		return fmt.Errorf("has alpha %v and beta %v; only 1/6 and 1/2, MobileNetV3's, are supported", a, b)
	}
	return im.activate(c, kernel.HSigmoid, 1)
}

// clip reads a clip from 0 to m as m·h-sigmoid(6/m·x − 3), and one without an upper end
// as a ReLU.
func (im *importer) clip(c *call) error {
	lo, hi := c.attrs.float("min", math.Inf(-1)), c.attrs.float("max", math.Inf(1))
	for i, end := range []*float64{&lo, &hi} {
		if k := im.constOf(c, i+1); k != nil {
			if len(k.floats) != 1 {
				return errors.New("has ends that are no single numbers")
			}
			*end = float64(k.floats[0])
		}
	}
	switch {
	case lo != 0 || !(hi > 1e-3):
		return fmt.Errorf("clips to [%v, %v]; only clips from 0 on are supported", lo, hi)
	case hi >= math.MaxFloat32:
		return im.activate(c, kernel.ReLU, 1)
	}
	v := c.x
	op := im.open(v, 1)
	if op == nil || op.kind == nn.Add || op.res >= 0 {
		var err error
		if v, err = im.pointwise(c, v); err != nil {
			return err
		}
		op = &im.ops[v.op-1]
	}
	for ch := range op.scale {
		op.scale[ch] *= 6 / hi
		op.shift[ch] = op.shift[ch]*6/hi - 3
	}
	op.act, v.factor, v.shared = kernel.HSigmoid, hi, false
	return im.set(c, v)
}

func (im *importer) batchNorm(c *call) error {
	var p [4][]float32
	for i := range p {
		k := im.constOf(c, i+1)
		if k == nil || len(k.floats) != c.x.shape.C {
			return fmt.Errorf("has no constant of %d values as input %d", c.x.shape.C, i+2)
		}
		p[i] = k.floats
	}
	if c.attrs.int("training_mode", 0) != 0 || c.attrs.int("spatial", 1) == 0 {
		return errors.New("normalises by the batch or by the pixel; export the network in evaluation mode")
	}
	eps := c.attrs.float("epsilon", 1e-5)
	scale, shift := make([]float64, c.x.shape.C), make([]float64, c.x.shape.C)
	for i := range scale {
		v := float64(p[3][i]) + eps
		if !(v > 0) {
			return fmt.Errorf("has a variance of %v", p[3][i])
		}
		scale[i] = float64(p[0][i]) / math.Sqrt(v)
		shift[i] = float64(p[1][i]) - float64(p[2][i])*scale[i]
	}
	return im.affine(c, scale, shift)
}

// affine applies x·scale + shift a channel.
func (im *importer) affine(c *call, scale, shift []float64) error {
	v := c.x
	for i := range scale {
		if s, t := scale[i], shift[i]; s-s != 0 || t-t != 0 || math.Abs(s) > math.MaxFloat32 || math.Abs(t) > math.MaxFloat32 {
			return fmt.Errorf("multiplies by %v and adds %v", s, t)
		}
	}
	if v.op == 0 {
		return im.normalise(c, scale, shift)
	}
	uniform := scale[0] > 0 && !slices.ContainsFunc(scale, func(s float64) bool { return s != scale[0] }) &&
		!slices.ContainsFunc(shift, func(s float64) bool { return s != 0 })
	if uniform {
		v.factor *= scale[0]
		return im.view(c, v)
	}
	op := im.open(v, 1)
	if last := &im.ops[v.op-1]; op == nil && last.kind == nn.FC && !v.shared && im.uses[v.name] == 1 && v.factor == 1 {
		op = last
	}
	if op == nil || op.kind == nn.Add || op.res >= 0 {
		var err error
		if v, err = im.pointwise(c, v); err != nil {
			return err
		}
		op = &im.ops[v.op-1]
	}
	for ch := range scale {
		op.scale[ch] *= scale[ch]
		op.shift[ch] = op.shift[ch]*scale[ch] + shift[ch]
	}
	v.shared = false
	return im.set(c, v)
}

// normalise takes x·scale + shift of the image up into its mean and std.
func (im *importer) normalise(c *call, scale, shift []float64) error {
	if c.x.shared || im.uses[c.x.name] > 1 {
		return errors.New("works on the image, which something else reads as well")
	}
	for ch := range scale {
		if !(scale[ch] > 0) {
			return fmt.Errorf("multiplies the image by %v; only factors above 0 are supported", scale[ch])
		}
		im.mean[ch] -= shift[ch] * im.std[ch] / scale[ch]
		im.std[ch] /= scale[ch]
	}
	return im.view(c, c.x)
}

// arithmetic reads Add, Sub, Mul and Div, of two values or of a value and a constant.
func (im *importer) arithmetic(c *call) error {
	switch {
	case c.y != nil && c.OpType == "Add":
		return im.sum(c)
	case c.y != nil && c.OpType == "Mul":
		return im.gate(c)
	case c.y != nil:
		return errors.New("works on two values, which only Add and Mul (by squeeze-and-excite or h-swish) may")
	case c.k == nil || c.k.floats == nil:
		return errors.New("has no constant of floats")
	}
	k, err := broadcast(c.k, c.x)
	if err != nil {
		return err
	}
	scale, shift := slices.Repeat([]float64{1}, len(k)), make([]float64, len(k))
	for i, v := range k {
		switch {
		case c.OpType == "Add":
			shift[i] = v
		case c.OpType == "Sub" && c.first:
			shift[i] = -v
		case c.OpType == "Sub":
			scale[i], shift[i] = -1, v
		case c.OpType == "Mul":
			scale[i] = v
		case c.first && v != 0:
			scale[i] = 1 / v
		default:
			return errors.New("divides by the value, or by 0")
		}
	}
	return im.affine(c, scale, shift)
}

// broadcast returns a constant as one number a channel of v.
func broadcast(k *constant, v value) ([]float64, error) {
	n := v.shape.C
	axis := 2 // of the channels, counted from the last
	switch {
	case v.flat:
		axis, n = 0, v.shape.Size()
	case v.last:
		axis = 0
	}
	for i, d := range k.dims {
		if i != len(k.dims)-1-axis && d != 1 {
			return nil, fmt.Errorf("has a constant of shape %v, which is no number a channel", k.dims)
		}
	}
	out := make([]float64, n)
	for i := range out {
		switch len(k.floats) {
		case 1:
			out[i] = float64(k.floats[0])
		case n:
			out[i] = float64(k.floats[i])
		default:
			return nil, fmt.Errorf("has a constant of shape %v for %d channels", k.dims, n)
		}
	}
	if v.flat && v.shape.Pixels() > 1 {
		return nil, errors.New("works on flattened pixels, which only Gemm may")
	}
	return out, nil
}

// sum adds two values: in the later one's convolution if that can still take it.
func (im *importer) sum(c *call) error {
	a, err := im.plain(c, c.x)
	if err != nil {
		return err
	}
	b, err := im.plain(c, *c.y)
	if err != nil {
		return err
	}
	if a.op < b.op {
		a, b = b, a
	}
	switch {
	case b.op == 0:
		return errors.New("adds the image itself")
	case a.shape != b.shape || a.flat != b.flat:
		return fmt.Errorf("adds %v and %v", a.shape, b.shape)
	}
	if op := im.open(a, 1); op != nil && op.kind != nn.Add && op.res < 0 && a.op != b.op {
		op.res = b.op
		return im.set(c, a)
	}
	flat := a.flat
	if err := im.add(c, operation{kind: nn.Add, in: a.op, res: b.op, out: a.shape}); err != nil {
		return err
	}
	v := im.values[c.Output[0]]
	v.flat = flat
	return im.set(c, v)
}

// softmax is left out at the end: weft gives logits.
func (im *importer) softmax(c *call) error {
	if !slices.ContainsFunc(im.graph.Output, func(v *pb.Value) bool { return v.GetName() == c.Output[0] }) {
		return errors.New("is not the last operator; only there it is supported")
	}
	im.notes = append(im.notes, fmt.Sprintf("the %s at the end is left out: weft gives logits", c.OpType))
	return im.view(c, c.x)
}

func (im *importer) same(c *call) error { return im.view(c, c.x) }

// vector is the shape of n values of one pixel.
func vector(n int) tensor.Shape { return tensor.Shape{H: 1, W: 1, C: n} }
