package onnx

import (
	"errors"
	"fmt"
	"slices"

	"weft/kernel"
	"weft/nn"
	"weft/supernet"
)

// finish makes v, the file's output, the logits of a fully connected layer.
func (im *importer) finish(v value) error {
	switch {
	case v.op == 0:
		return errors.New("is the input")
	case v.shape.Pixels() != 1:
		return fmt.Errorf("is an image of %v and no vector of logits", v.shape)
	}
	op := &im.ops[v.op-1]
	if last := v.op == len(im.ops); last && !v.shared && v.factor > 0 && op.res < 0 && op.act == kernel.Linear &&
		(op.kind == nn.FC || op.kind == nn.Conv && op.k == 1 && im.pixelsOf(op.in) == 1) {
		op.kind, op.k, op.stride = nn.FC, 0, 0
		for i := range op.scale {
			op.scale[i] *= v.factor
			op.shift[i] *= v.factor
		}
		return nil
	}
	n := v.shape.C
	if n > 1<<12 {
		return fmt.Errorf("has %d values, too many for logits that no fully connected layer makes", n)
	}
	fc := operation{kind: nn.FC, name: im.unique("logits"), in: v.op, res: -1, out: vector(n), weight: make([]float32, n*n), scale: slices.Repeat([]float64{v.factor}, n), shift: make([]float64, n)}
	for i := range n {
		fc.weight[i*n+i] = 1
	}
	im.ops = append(im.ops, fc)
	return nil
}

func (im *importer) pixelsOf(v int) int {
	if v == 0 {
		return im.input.Pixels()
	}
	return im.ops[v-1].out.Pixels()
}

// padded is the number of channels that n become: kernels work on multiples of 8. The
// additional ones are zero, or at least read by weights of zero alone.
func padded(n int) int { return (n + 7) &^ 7 }

// emit makes a Fixed network of the operations that are alive.
func (im *importer) emit(name string) (*supernet.Supernet, supernet.Norms, error) {
	number := make([]int, len(im.ops)+1) // of each value among the nodes
	var nodes []supernet.Node
	var alive []*operation
	for i := range im.ops {
		op := &im.ops[i]
		if op.dead {
			continue
		}
		n := supernet.Node{
			Kind: op.kind, Name: op.name, In: number[op.in], Out: padded(op.out.C), K: op.k, Stride: op.stride,
			Act: op.act, Norm: op.normed(),
		}
		if op.res >= 0 {
			n.Res = number[op.res]
		}
		if op.kind == nn.SE {
			n.Hidden = padded(op.hidden)
		}
		nodes, alive = append(nodes, n), append(alive, op)
		number[i+1] = len(nodes)
	}
	nodes[len(nodes)-1].Out = alive[len(alive)-1].out.C
	space, err := supernet.NewFixed(name, im.input, nodes)
	if err != nil {
		return nil, nil, err
	}
	net := &supernet.Supernet{Space: space, W: nn.NewWeights(space.Layers()), Mean: rounded(im.mean), Std: rounded(im.std)}
	g, err := space.Lower(space.Max())
	if err != nil {
		return nil, nil, err
	}
	norms, keys := supernet.Norms{}, g.NormKeys()
	for i, op := range alive {
		layer := g.Ops[i].Layer
		if layer < 0 {
			continue
		}
		im.weights(net.W, layer, op)
		if keys[i] != 0 {
			norms[keys[i]] = identity(g.Values[g.Ops[i].Out].C)
		}
	}
	return net, norms, nil
}

// normed reports whether an operation has a scale or shift that does something.
func (op *operation) normed() bool {
	return (op.kind == nn.Conv || op.kind == nn.Depthwise) &&
		(slices.ContainsFunc(op.scale, func(v float64) bool { return v != 1 }) || slices.ContainsFunc(op.shift, func(v float64) bool { return v != 0 }))
}

// identity are statistics that change nothing, as scale and shift hold it all: (x−0)/√(var+ε) = x.
func identity(channels int) supernet.Stats {
	return supernet.Stats{Mean: make([]float32, channels), Var: repeat(1-nn.Eps, channels)}
}

// weights stores an operation's arrays in its layer.
func (im *importer) weights(w *nn.Weights, layer int, op *operation) {
	set := func(r nn.Role, vals []float32, from ...int) {
		if i := w.Find(layer, r); i >= 0 {
			w.SetCanonical(w.Data, i, grow(vals, from, w.Params[i].Shape))
		}
	}
	out, in := op.out.C, im.channelsOf(op.in)
	switch op.kind {
	case nn.Conv:
		set(nn.Weight, op.weight, out, op.k, op.k, in)
	case nn.Depthwise:
		set(nn.Weight, op.weight, out, op.k, op.k)
	case nn.SE:
		set(nn.Weight, op.weight, op.hidden, in)
		set(nn.Bias, op.bias, op.hidden)
		set(nn.Weight2, op.weight2, in, op.hidden)
		set(nn.Bias2, rounded(op.shift), in)
	case nn.FC:
		pix := im.pixelsOf(op.in)
		i, l := w.Find(layer, nn.Weight), &w.Layers[layer]
		w.SetCanonical(w.Data, i, grow(scaled(op), []int{out, pix, in}, []int{l.Out, pix, l.In / pix}))
		set(nn.Bias, rounded(op.shift), out)
	}
	set(nn.Gamma, rounded(op.scale), out)
	set(nn.Beta, rounded(op.shift), out)
}

func (im *importer) channelsOf(v int) int {
	if v == 0 {
		return im.input.C
	}
	return im.ops[v-1].out.C
}

// grow puts an array into the corner of a larger one of zeros.
func grow(src []float32, from, to []int) []float32 {
	if slices.Equal(from, to) {
		return src
	}
	n := 1
	for _, d := range to {
		n *= d
	}
	dst := make([]float32, n)
	if len(to) == 1 {
		copy(dst, src)
		return dst
	}
	a, b := len(src)/from[0], n/to[0]
	for i := range from[0] {
		copy(dst[i*b:], grow(src[i*a:(i+1)*a], from[1:], to[1:]))
	}
	return dst
}
