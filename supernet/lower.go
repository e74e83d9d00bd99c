package supernet

import (
	"math"
	"strconv"

	"weft/kernel"
	"weft/nn"
)

// Layers returns every layer of the supernet at its maximum size, in the order in which
// the largest subnet runs them. All graphs of the space share the slice.
func (s *Space) Layers() []nn.Layer {
	s.once.Do(func() { s.layers = s.layout().Layers })
	return s.layers
}

// Lower returns the graph of one subnet. Each stage keeps its first blocks (SuperServe's
// LayerSelect) and each layer the first of its channels (WeightSlice), so that the graph
// names weights of the supernet and owns none.
func (s *Space) Lower(a Arch) (*nn.Graph, error) {
	if err := s.check(a); err != nil {
		return nil, err
	}
	return s.lower(a), nil
}

func (s *Space) lower(a Arch) *nn.Graph {
	b := builder{s: s, a: a, g: &nn.Graph{Layers: s.Layers()}}
	b.build()
	return b.g
}

// layout builds the largest subnet and, as it goes, the layers.
func (s *Space) layout() *nn.Graph {
	b := builder{s: s, a: s.Max(), g: &nn.Graph{}, layout: true}
	b.build()
	return b.g
}

// A builder walks through a network in the order of its layers and appends operations. It
// walks through blocks that the subnet skips as well, so that layers are known by their
// turn.
type builder struct {
	s      *Space
	a      Arch
	g      *nn.Graph
	layout bool   // append layers to the graph as well
	prefix string // of the layers' names; kept up only in layout
	skip   bool   // pass by layers without using them
	layer  int    // the next one
	cur    int    // the value that the network has come to
}

// step is an operation to append; its input is the current value, unless from says so.
type step struct {
	name    string // without the prefix; empty for pooling
	kind    nn.Kind
	out     int // channels
	k       int
	stride  int
	hidden  int
	act     kernel.Act
	norm    bool
	kernels []int // smaller kernels that the layer offers
	from    *int
	res     *int
}

func (b *builder) build() {
	b.g.Values = append(b.g.Values, b.s.Input)
	switch b.s.Family {
	case Fixed:
		for i := range b.s.Nodes {
			b.node(&b.s.Nodes[i])
		}
		return
	case MBV3:
		b.mbv3Stem()
	case Bottleneck:
		b.deepStem()
	default:
		b.basicStem()
	}
	for m := range b.s.Stages {
		for i := range b.s.maxDepth(m) {
			b.skip = i >= b.s.depth(b.a, m)
			if b.layout {
				b.prefix = "s" + strconv.Itoa(m+1) + ".b" + strconv.Itoa(i) + "."
			}
			b.block(m, i)
		}
	}
	b.skip, b.prefix = false, ""
	if b.s.Family == MBV3 {
		b.mbv3Head()
	} else {
		b.add(step{kind: nn.GlobalPool, out: b.channels()})
	}
	b.add(step{name: "fc", kind: nn.FC, out: b.s.Classes})
}

func (b *builder) block(m, i int) {
	switch b.s.Family {
	case MBV3:
		b.invertedBlock(m, i)
	case Bottleneck:
		b.bottleneckBlock(m, i)
	default:
		b.basicBlock(m, i)
	}
}

// add appends an operation, makes its output the current value and returns that.
func (b *builder) add(st step) int {
	in := b.cur
	if st.from != nil {
		in = *st.from
	}
	inputs := b.g.Values[in].C
	if st.kind == nn.FC {
		inputs = b.g.Values[in].Size()
	}
	layer := -1
	if st.name != "" {
		layer = b.layer
		b.layer++
		if b.layout {
			b.g.Layers = append(b.g.Layers, nn.Layer{
				Name: b.prefix + st.name, Kind: st.kind, In: inputs, Out: st.out,
				Hidden: st.hidden, K: st.k, Kernels: st.kernels, Norm: st.norm,
			})
		}
	}
	if b.skip {
		return b.cur
	}
	op := nn.Op{
		Kind: st.kind, Layer: layer, In: in, Out: len(b.g.Values), Res: -1,
		K: st.k, Stride: st.stride, Hidden: st.hidden, Act: st.act,
	}
	if st.res != nil {
		op.Res = *st.res
	}
	shape := b.g.Values[in]
	shape.C = st.out
	switch st.kind {
	case nn.Conv, nn.Depthwise, nn.MaxPool, nn.AvgPool:
		p := (st.k - 1) / 2
		shape.H, shape.W = (shape.H+2*p-st.k)/st.stride+1, (shape.W+2*p-st.k)/st.stride+1
	case nn.GlobalPool, nn.FC:
		shape.H, shape.W = 1, 1
	}
	b.g.Values = append(b.g.Values, shape)
	b.g.Ops = append(b.g.Ops, op)
	b.cur = op.Out
	return b.cur
}

// conv appends a convolution with normalisation, over the current value.
func (b *builder) conv(name string, out, k, stride int, act kernel.Act) int {
	return b.add(step{name: name, kind: nn.Conv, out: out, k: k, stride: stride, act: act, norm: true})
}

// channels returns those of the current value.
func (b *builder) channels() int { return b.g.Values[b.cur].C }

// stride returns that of block i of stage m.
func (b *builder) stride(m, i int) int {
	if i > 0 {
		return 1
	}
	return b.s.Stages[m].Stride
}

// middle returns the middle channels of block i of stage m from those that the expansion
// multiplies.
func (b *builder) middle(m, i, channels int) int {
	return expand(channels, b.s.Expansions[b.a.Expand[b.s.block(m, i)]])
}

// expand multiplies channels by an expansion (rounded to even like OFA's).
func expand(channels int, expansion float64) int {
	return MakeDivisible(math.RoundToEven(float64(channels) * expansion))
}

// identity reports whether the shortcut of block i of stage m is the identity in every
// subnet: inputs and outputs have equal shapes whatever was chosen.
func (b *builder) identity(m, i int) bool {
	switch st := b.s.Stages[m]; {
	case i > 0:
		return true
	case st.Stride != 1:
		return false
	case m > 0:
		return len(b.s.Widths) == 1 && st.Width == b.s.Stages[m-1].Width
	case b.s.Family == MBV3:
		return st.Width == b.s.Stem.Block
	case b.s.Family == Basic:
		return st.Width == b.s.Stem.Width
	default:
		return len(b.s.Widths) == 1 && st.Width == b.s.Stem.Width
	}
}
