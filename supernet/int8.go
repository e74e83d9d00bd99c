package supernet

import (
	"fmt"

	"weft/kernel"
	"weft/nn"
	"weft/quant"
	"weft/tensor"
)

// Int8 holds what the int8 plans of a supernet share: one int8 copy of its weights, made
// from the float32 ones layer by layer as plans need them, geometries, and the ranges of
// activations. It is not safe for concurrent use; the plans that it makes are.
type Int8 struct {
	// WinogradBytes is how much memory transformed weights may take; it may be changed
	// before the first plan. The results are the same bits with any.
	WinogradBytes int

	net     *Supernet
	norms   Norms
	ranges  Ranges
	weights map[weightKey]*quant.Weights
	slab    []int8 // room for more of them
	windows kernel.Windows
	columns map[windowKey8]*columns
	rings   map[windowKey8]*kernel.Gather // of depthwise layers
	ops     map[opKey8]*op8

	chosen      map[string]bool // layers whose weights may be transformed, nil before the first plan
	transformed map[*quant.Weights][]int16
	tiles       map[windowKey8]*kernel.Tiles8
}

// opKey8 names an operation: the value that the graph's operation writes, which says how
// it came about, and which of the int8 operations that make it up.
type opKey8 struct {
	value nn.NormKey
	part  int
}

// weightKey names weights of a layer; k is the kernel of a depthwise one.
type weightKey struct {
	layer int
	role  nn.Role
	k     int
}

// NewInt8 returns an empty table over the statistics and ranges of a supernet, whose
// weights must not change while it is in use.
func NewInt8(net *Supernet, norms Norms, ranges Ranges) *Int8 {
	return &Int8{
		net: net, norms: norms, ranges: ranges, WinogradBytes: net.WinogradBytes(),
		transformed: map[*quant.Weights][]int16{}, tiles: map[windowKey8]*kernel.Tiles8{},
		weights: map[weightKey]*quant.Weights{}, columns: map[windowKey8]*columns{}, rings: map[windowKey8]*kernel.Gather{}, ops: map[opKey8]*op8{},
	}
}

// Bytes returns the memory that the plans of this table share: int8 weights, those that
// are transformed for Winograd's algorithm, and operations with their folded
// normalisations and geometries.
func (t *Int8) Bytes() (weights, transformed, tables int) {
	for _, w := range t.weights {
		weights += len(w.Data) + 4*len(w.Scale)
	}
	for _, o := range t.ops {
		tables += o.bytes()
	}
	for _, c := range t.columns {
		tables += 4 * len(c.gather.In)
	}
	for _, g := range t.rings {
		tables += 4 * len(g.In)
	}
	for _, u := range t.transformed {
		transformed += 2 * len(u)
	}
	for _, g := range t.tiles {
		tables += g.Bytes()
	}
	return weights, transformed, tables + t.windows.Bytes()
}

// Network describes a subnet in int8. It fails when statistics or ranges are missing, or
// for an operation that has no int8 form.
func (t *Int8) Network(a Arch) (*quant.Network, error) {
	b, err := t.network(a)
	if err != nil {
		return nil, err
	}
	return b.n, nil
}

func (t *Int8) network(a Arch) (*network8, error) {
	g, err := t.net.Space.Lower(a)
	if err != nil {
		return nil, err
	}
	b := &network8{
		t: t, g: g, norms: g.NormKeys(), keys: g.ValueKeys(), values: make([]int, len(g.Values)),
		n: &quant.Network{Mean: t.net.Mean, Std: t.net.Std},
	}
	b.add(g.Values[0], inputRange(t.net.Mean, t.net.Std).Params())
	for i := range g.Ops {
		if err := b.op(i); err != nil {
			return nil, fmt.Errorf("subnet %s in int8: %w", t.net.Space.Format(a), err)
		}
		for part := 0; len(b.ops) < len(b.n.Ops); part++ {
			b.ops = append(b.ops, opKey8{b.keys[g.Ops[i].Out], part})
		}
	}
	return b, nil
}

// inputRange is that of normalised pixels.
func inputRange(mean, std []float32) quant.Range {
	var r quant.Range
	for c, m := range mean {
		r.Lo, r.Hi = min(r.Lo, -m/std[c]), max(r.Hi, (1-m)/std[c])
	}
	return r
}

// network8 builds a quant.Network from a graph.
type network8 struct {
	t      *Int8
	g      *nn.Graph
	norms  []nn.NormKey
	keys   []nn.NormKey
	values []int // of the graph -> of the network
	n      *quant.Network
	ops    []opKey8 // of n.Ops
}

// add appends a value.
func (b *network8) add(s tensor.Shape, p quant.Params) int {
	b.n.Values = append(b.n.Values, quant.Value{Shape: s, Params: p})
	return len(b.n.Values) - 1
}

// emit appends an operation that writes a new value.
func (b *network8) emit(o quant.Op, s tensor.Shape, p quant.Params) int {
	o.Out = b.add(s, p)
	b.n.Ops = append(b.n.Ops, o)
	return o.Out
}

// value returns a value of the network.
func (b *network8) value(i int) quant.Value { return b.n.Values[i] }

// weightsOf quantises the weights of a layer once.
func (t *Int8) weightsOf(layer int, role nn.Role, k int) (*quant.Weights, error) {
	key := weightKey{layer, role, k}
	if w := t.weights[key]; w != nil {
		return w, nil
	}
	l := &t.net.W.Layers[layer]
	packed := t.net.W.Of(t.net.W.Data, layer, role)
	var w *quant.Weights
	var err error
	switch {
	case l.Kind == nn.Depthwise:
		w, err = quant.NewDepthwise(t.net.W.DeriveKernel(layer, k), k*k, l.Out)
	case l.Kind == nn.SE && role == nn.Weight:
		w, err = quant.NewDense(packed, l.Hidden, 1, l.In)
	case l.Kind == nn.SE:
		w, err = quant.NewDense(packed, l.In, 1, l.Hidden)
	default:
		w, err = quant.NewDense(packed, l.Out, l.Taps(), l.In)
	}
	if err != nil {
		return nil, fmt.Errorf("layer %s: %w", l.Name, err)
	}
	w.Data = t.keep(w.Data)
	t.weights[key] = w
	return w, nil
}

// slabBytes is what keep takes from the system at a time.
const slabBytes = 16 << 20

// keep moves weights into one of a few large arrays, which lie on huge pages.
func (t *Int8) keep(w []int8) []int8 {
	n := (len(w) + tensor.Align - 1) &^ (tensor.Align - 1)
	if n > slabBytes {
		return w
	}
	if n > len(t.slab) {
		t.slab = tensor.Make[int8](slabBytes)
	}
	copy(t.slab, w)
	w, t.slab = t.slab[:len(w):len(w)], t.slab[n:]
	return w
}

// op appends the int8 form of operation i of the graph.
func (b *network8) op(i int) error {
	op := &b.g.Ops[i]
	in := b.values[op.In]
	x, shape := b.value(in), b.g.Values[op.Out]
	o := quant.Op{In: in, Res: -1, K: op.K, Stride: op.Stride, Act: op.Act}
	if op.Res >= 0 {
		o.Res = b.values[op.Res]
	}
	r, ok := b.t.ranges[b.keys[op.Out]]
	if want := rangesOf(op); len(want) > 0 && (!ok || len(r) != len(want)) {
		return fmt.Errorf("no ranges of the activations of operation %d (%s); calibrate it first", i, op.Kind)
	}
	var out quant.Params
	if len(r) > 0 {
		out = r[len(r)-1].Params()
	}
	o.Own = out
	if len(r) > 1 {
		o.Own = r[0].Params()
	}
	switch op.Kind {
	case nn.Conv, nn.Depthwise, nn.FC:
		if op.Kind == nn.FC && i < len(b.g.Ops)-1 {
			return fmt.Errorf("operation %d (%s) has no int8 form before the end", i, op.Kind)
		}
		if op.Res >= 0 && o.Looked() {
			return fmt.Errorf("operation %d has %v after a residual, which has no int8 form", i, op.Act)
		}
		if err := b.convolution(&o, i, x, shape.C); err != nil {
			return err
		}
	case nn.SE:
		out, err := b.squeeze(op, in, r)
		b.values[op.Out] = out
		return err
	case nn.MaxPool, nn.AvgPool:
		o.Kind, out = quant.MaxPool, x.Params
		if op.Kind == nn.AvgPool {
			o.Kind = quant.AvgPool
		}
	case nn.GlobalPool:
		o.Kind = quant.GlobalPool
	case nn.Add:
		if o.Looked() {
			return fmt.Errorf("operation %d has %v after a sum, which has no int8 form", i, op.Act)
		}
		o.Kind = quant.Add
	default:
		return fmt.Errorf("operation %d (%s) has no int8 form", i, op.Kind)
	}
	b.values[op.Out] = b.emit(o, shape, out)
	return nil
}

// convolution fills in weights, scales and biases.
func (b *network8) convolution(o *quant.Op, i int, x quant.Value, outputs int) (err error) {
	op := &b.g.Ops[i]
	l := &b.g.Layers[op.Layer]
	o.Name, o.Kind = l.Name, quant.Conv
	if op.Kind == nn.Depthwise {
		o.Kind = quant.Depthwise
	}
	if o.W, err = b.t.weightsOf(op.Layer, nn.Weight, op.K); err != nil {
		return err
	}
	var norm Affine
	if op.Kind == nn.FC {
		o.Kind = quant.FC
		norm.Shift = b.t.net.W.Of(b.t.net.W.Data, op.Layer, nn.Bias)
	} else if key := b.norms[i]; key != 0 {
		st, ok := b.t.norms[key]
		if !ok {
			return fmt.Errorf("no statistics for layer %s; calibrate it first", l.Name)
		}
		norm = b.t.net.fold(op.Layer, st)
		if !finite(norm.Scale) || !finite(norm.Shift) {
			return fmt.Errorf("the statistics of layer %s are not finite; calibrate it again", l.Name)
		}
	}
	o.Affine(x.Scale, norm.Scale, norm.Shift, outputs)
	return nil
}

// squeeze appends squeeze-and-excite: the mean, two convolutions of one pixel, the gate.
func (b *network8) squeeze(op *nn.Op, in int, r []quant.Range) (int, error) {
	x := b.value(in)
	one := tensor.Shape{H: 1, W: 1, C: x.C}
	mean := b.emit(quant.Op{Kind: quant.GlobalPool, In: in, Res: -1}, one, r[0].Params())
	dense := func(role, bias nn.Role, in int, act kernel.Act, own, out quant.Params, channels int) (int, error) {
		o := quant.Op{
			Kind: quant.Conv, Name: b.g.Layers[op.Layer].Name, In: in, Res: -1, K: 1, Stride: 1, Act: act, Own: own,
		}
		if role == nn.Weight2 {
			o.Name += "2"
		}
		w, err := b.t.weightsOf(op.Layer, role, 1)
		if err != nil {
			return 0, err
		}
		o.W = w
		o.Affine(b.value(in).Scale, nil, b.t.net.W.Of(b.t.net.W.Data, op.Layer, bias), channels)
		return b.emit(o, tensor.Shape{H: 1, W: 1, C: channels}, out), nil
	}
	hidden, err := dense(nn.Weight, nn.Bias, mean, kernel.ReLU, r[1].Params(), r[1].Params(), op.Hidden)
	if err != nil {
		return 0, err
	}
	gate, err := dense(nn.Weight2, nn.Bias2, hidden, kernel.HSigmoid, r[2].Params(), r[2].Act(kernel.HSigmoid).Params(), x.C)
	if err != nil {
		return 0, err
	}
	return b.emit(quant.Op{Kind: quant.Mul, In: in, Res: gate}, x.Shape, r[3].Params()), nil
}
