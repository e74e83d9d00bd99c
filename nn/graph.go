// Package nn runs networks forwards and backwards over the kernels: it knows layers,
// graphs of operations over a prefix of each layer's weights, batch normalisation,
// losses and gradients. It does not know what may vary between subnets; package
// supernet lowers an architecture to a Graph.
package nn

import (
	"errors"
	"fmt"

	"weft/kernel"
	"weft/tensor"
)

// Kind says what an operation computes.
type Kind uint8

// Kinds of operations. Conv and Depthwise are followed by normalisation when the layer
// has one, then by the residual, then by the activation. SE multiplies its input by
// h-sigmoid(W2·relu(W1·mean(x)+b1)+b2) per channel. FC is a fully connected layer with
// bias over all values of its input, [H][W][C]. GlobalPool averages all pixels. Add is act(a + b) of two values, In and Res.
const (
	Conv Kind = iota
	Depthwise
	SE
	MaxPool
	AvgPool
	GlobalPool
	FC
	Add
)

func (k Kind) String() string {
	return [...]string{"conv", "depthwise", "se", "maxpool", "avgpool", "globalpool", "fc", "add"}[k]
}

// Layer is one set of weights at its maximum size.
type Layer struct {
	Name   string
	Kind   Kind // Conv, Depthwise, SE or FC
	In     int  // maximum inputs (channels for Depthwise and SE)
	Out    int  // maximum outputs
	Hidden int  // SE: maximum hidden channels
	K      int  // maximum kernel
	// Kernels lists, for an elastic depthwise kernel, the sizes below K in descending
	// order; each has a matrix that maps the centre of the next larger kernel to it
	// (OFA's kernel transform).
	Kernels []int
	Norm    bool // followed by batch normalisation over Out channels
}

// Taps returns the number of kernel positions, 1 for layers without a kernel.
func (l *Layer) Taps() int { return max(l.K*l.K, 1) }

// Weights returns how many weights the layer has, without biases, normalisation and the
// matrices of elastic kernels.
func (l *Layer) Weights() int {
	switch l.Kind {
	case Depthwise:
		return l.Out * l.Taps()
	case SE:
		return 2 * l.In * l.Hidden
	default:
		return l.In * l.Out * l.Taps()
	}
}

// Op is one operation of a Graph on values; it uses the prefix of its layer's weights
// that the shapes of its values imply.
type Op struct {
	Kind   Kind
	Layer  int // index into the supernet's layers, -1 for pooling
	In     int // value read
	Out    int // value written
	Res    int // value added before the activation, or -1; of Add the second value
	K      int // kernel in use
	Stride int
	Hidden int // SE: hidden channels in use
	Act    kernel.Act
}

// Graph is a network ready to be run: values and the operations in order. Value 0 is the
// input; the last operation writes the logits.
type Graph struct {
	Layers []Layer // of the whole supernet, shared by all graphs
	Values []tensor.Shape
	Ops    []Op
}

// Output returns the number of the value that the last operation writes.
func (g *Graph) Output() int { return g.Ops[len(g.Ops)-1].Out }

// MACs counts multiply-accumulates of one image: convolutions, fully connected layers
// and the two layers of squeeze-and-excite, as OFA and DepS count (papers' figures).
func (g *Graph) MACs() int {
	n := 0
	for i := range g.Ops {
		n += g.OpMACs(&g.Ops[i])
	}
	return n
}

// OpMACs counts the multiply-accumulates of one operation.
func (g *Graph) OpMACs(op *Op) int {
	in, out := g.Values[op.In], g.Values[op.Out]
	switch op.Kind {
	case Conv:
		return out.Size() * op.K * op.K * in.C
	case Depthwise:
		return out.Size() * op.K * op.K
	case SE:
		return 2 * in.C * op.Hidden
	case FC:
		return in.Size() * out.C
	default:
		return 0
	}
}

// Params counts the parameters that the graph uses: weights, biases, and scale and shift
// of normalisation, without running statistics.
func (g *Graph) Params() int {
	n := 0
	for i := range g.Ops {
		op := &g.Ops[i]
		in, out := g.Values[op.In].C, g.Values[op.Out].C
		switch op.Kind {
		case Conv:
			n += in * out * op.K * op.K
		case Depthwise:
			n += out * op.K * op.K
		case SE:
			n += 2*in*op.Hidden + op.Hidden + in
		case FC:
			n += g.Values[op.In].Size()*out + out
		}
		if op.Layer >= 0 && g.Layers[op.Layer].Norm {
			n += 2 * out
		}
	}
	return n
}

// NormKey identifies what the statistics of a normalisation layer depend on: the layer
// and the configuration of everything before it. Subnets with equal keys share
// statistics.
type NormKey uint64

// NormKeys returns for every operation the key of its normalisation layer (0 without
// one). The key hashes the operation (layer, kernel, channels) and, recursively, the
// operations that produced its input, so that it reflects exactly the ancestors.
func (g *Graph) NormKeys() []NormKey {
	keys, _ := g.hash()
	return keys
}

// ValueKeys returns for every value a key that it has in every subnet that computes it by
// the same operations; that of the input is 0.
func (g *Graph) ValueKeys() []NormKey {
	_, vals := g.hash()
	return vals
}

func (g *Graph) hash() (keys, vals []NormKey) {
	keys = make([]NormKey, len(g.Ops))
	vals = make([]NormKey, len(g.Values))
	for i := range g.Ops {
		op := &g.Ops[i]
		h := uint64(14695981039346656037) // FNV-1a
		mix := func(v uint64) {
			for range 8 {
				h = (h ^ v&0xff) * 1099511628211
				v >>= 8
			}
		}
		mix(uint64(vals[op.In]))
		for _, v := range []int{int(op.Kind), op.Layer + 1, op.K, op.Stride, op.Hidden, int(op.Act), g.Values[op.In].C, g.Values[op.Out].C} {
			mix(uint64(v))
		}
		if op.Layer >= 0 && g.Layers[op.Layer].Norm {
			keys[i] = NormKey(h)
		}
		if op.Res >= 0 {
			mix(uint64(vals[op.Res]))
		}
		vals[op.Out] = NormKey(h)
	}
	return keys, vals
}

// Check reports the first inconsistency of the graph: an operation that reads a value
// before it is written, shapes that do not follow from the operation, or a prefix larger
// than its layer.
func (g *Graph) Check() error {
	written := make([]bool, len(g.Values))
	written[0] = true
	for i := range g.Ops {
		op := &g.Ops[i]
		if !written[op.In] || op.Res >= 0 && !written[op.Res] {
			return fmt.Errorf("operation %d (%s) reads a value that nothing wrote", i, op.Kind)
		}
		if err := g.checkOp(op); err != nil {
			return fmt.Errorf("operation %d (%s): %w", i, op.Kind, err)
		}
		written[op.Out] = true
	}
	return nil
}

func (g *Graph) checkOp(op *Op) error {
	in, out := g.Values[op.In], g.Values[op.Out]
	if op.Kind == Add && op.Res < 0 {
		return errors.New("adds nothing: it needs a second value")
	}
	if op.Res >= 0 && g.Values[op.Res] != out {
		return fmt.Errorf("residual is %v, output %v", g.Values[op.Res], out)
	}
	if op.Res >= 0 && op.Act != kernel.Linear && op.Act != kernel.ReLU {
		return fmt.Errorf("%v after a residual has no gradient here; use relu or linear", op.Act)
	}
	want := out
	switch op.Kind {
	case Conv, Depthwise, MaxPool, AvgPool:
		p := (op.K - 1) / 2
		want.H, want.W = (in.H+2*p-op.K)/op.Stride+1, (in.W+2*p-op.K)/op.Stride+1
	case SE, Add:
		want.H, want.W = in.H, in.W
	default:
		want.H, want.W = 1, 1
	}
	if op.Kind != Conv && op.Kind != FC {
		want.C = in.C
	}
	if want != out {
		return fmt.Errorf("input %v gives %v, not %v", in, want, out)
	}
	if op.Layer < 0 {
		return nil
	}
	l := &g.Layers[op.Layer]
	inputs := in.C
	if op.Kind == FC {
		inputs = in.Size()
	}
	if l.Kind != op.Kind || inputs > l.In || out.C > l.Out || op.K > l.K || op.Hidden > l.Hidden {
		return fmt.Errorf("does not fit layer %s (%d to %d channels, kernel %d)", l.Name, l.In, l.Out, l.K)
	}
	return nil
}
