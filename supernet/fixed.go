package supernet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"weft/kernel"
	"weft/nn"
	"weft/tensor"
)

// Fixed is the family of spaces that hold one network and nothing to choose: one that was
// imported, or cut out of a supernet. Its only Arch is the zero Arch, written "fixed".
const Fixed Family = "fixed"

const fixedArch = "fixed"

// Limits of a Fixed space; kernels need no more and gathers hold no more.
const (
	maxNodes  = 4096
	maxKernel = 7
)

// Node is one operation of a Fixed space, which runs its nodes in order. Values have
// numbers: 0 is the image and i is the output of the i-th node, counted from 1. Operations
// mean what package nn says; padding is (K−1)/2 on every side. The last node is the fully
// connected layer that gives the logits; the outputs of all others, and squeeze-and-excite's
// hidden channels, are multiples of 8.
type Node struct {
	Kind   nn.Kind
	Name   string // of the layer, unique; operations without weights have none
	In     int    // value read
	Res    int    // value added before the activation (by Add, the second one), 0 without
	Out    int    // channels
	K      int    // Conv, Depthwise and pools of a window
	Stride int    // likewise
	Hidden int    // SE
	Act    kernel.Act
	Norm   bool // followed by normalisation: Conv and Depthwise
}

// nodeText is a Node in a file.
type nodeText struct {
	Kind   string `json:"kind"`
	Name   string `json:"name,omitempty"`
	In     int    `json:"in"`
	Res    int    `json:"res,omitempty"`
	Out    int    `json:"out"`
	K      int    `json:"k,omitempty"`
	Stride int    `json:"stride,omitempty"`
	Hidden int    `json:"hidden,omitempty"`
	Act    string `json:"act,omitempty"`
	Norm   bool   `json:"norm,omitempty"`
}

// MarshalJSON writes kind and activation as words.
func (n Node) MarshalJSON() ([]byte, error) {
	t := nodeText{
		Kind: n.Kind.String(), Name: n.Name, In: n.In, Res: n.Res, Out: n.Out,
		K: n.K, Stride: n.Stride, Hidden: n.Hidden, Norm: n.Norm,
	}
	if n.Act != kernel.Linear {
		t.Act = n.Act.String()
	}
	return json.Marshal(t)
}

// UnmarshalJSON reads what MarshalJSON writes.
func (n *Node) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var t nodeText
	if err := d.Decode(&t); err != nil {
		return err
	}
	*n = Node{
		Name: t.Name, In: t.In, Res: t.Res, Out: t.Out,
		K: t.K, Stride: t.Stride, Hidden: t.Hidden, Norm: t.Norm,
	}
	for n.Kind = nn.Conv; n.Kind.String() != t.Kind; n.Kind++ {
		if n.Kind == nn.Add {
			return fmt.Errorf("no operation is called %q", t.Kind)
		}
	}
	if t.Act == "" {
		return nil
	}
	for n.Act = kernel.ReLU; n.Act.String() != t.Act; n.Act++ {
		if n.Act == kernel.HSigmoid {
			return fmt.Errorf("no activation is called %q", t.Act)
		}
	}
	return nil
}

// NewFixed returns the space of one network.
func NewFixed(name string, input tensor.Shape, nodes []Node) (*Space, error) {
	s := &Space{Name: name, Family: Fixed, Input: input, Nodes: nodes}
	if len(nodes) > 0 {
		s.Classes = nodes[len(nodes)-1].Out
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Space) validateFixed() error {
	switch {
	case len(s.Stages) > 0 || len(s.Expansions) > 0 || len(s.Kernels) > 0 || len(s.Widths) > 0 || s.Stem != Stem{} || s.Head != Head{}:
		return fmt.Errorf("family %s has nodes and nothing to choose", Fixed)
	case len(s.Nodes) < 1 || len(s.Nodes) > maxNodes:
		return fmt.Errorf("has %d nodes: must have 1 to %d", len(s.Nodes), maxNodes)
	case s.Input.C < 1 || s.Input.C > maxChannels:
		return fmt.Errorf("input channels is %d: must be 1 to %d", s.Input.C, maxChannels)
	}
	names := make(map[string]bool, len(s.Nodes))
	g := &nn.Graph{Values: []tensor.Shape{s.Input}}
	b := builder{s: s, g: g, layout: true}
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if err := n.check(g.Values, i == len(s.Nodes)-1); err != nil {
			return fmt.Errorf("node %d (%s %s): %w", i+1, n.Kind, n.Name, err)
		}
		if n.Name != "" && names[n.Name] {
			return fmt.Errorf("node %d: another one is called %s", i+1, n.Name)
		}
		names[n.Name] = true
		b.node(n)
	}
	if last := s.Nodes[len(s.Nodes)-1]; last.Out != s.Classes {
		return fmt.Errorf("classes is %d and the last node gives %d", s.Classes, last.Out)
	}
	if err := g.Check(); err != nil {
		return err
	}
	return checkMemory(g)
}

// check explains why a node cannot follow those that made the values.
func (n *Node) check(values []tensor.Shape, last bool) error {
	if n.In < 0 || n.In >= len(values) || n.Res < 0 || n.Res >= len(values) {
		return fmt.Errorf("reads values %d and %d of %d", n.In, n.Res, len(values))
	}
	in := values[n.In]
	weights := n.Kind == nn.Conv || n.Kind == nn.Depthwise || n.Kind == nn.SE || n.Kind == nn.FC
	window := n.Kind == nn.Conv || n.Kind == nn.Depthwise || n.Kind == nn.MaxPool || n.Kind == nn.AvgPool
	switch {
	case last && n.Kind != nn.FC:
		return errors.New("must be fully connected, as it is the last")
	case weights != (n.Name != ""):
		return errors.New("operations with weights have a name, others none")
	case window && (n.K < 1 || n.K > maxKernel || n.Stride < 1 || n.Stride > maxKernel) || !window && (n.K != 0 || n.Stride != 0):
		return fmt.Errorf("kernel %d and stride %d: must be 1 to %d for windows, else 0", n.K, n.Stride, maxKernel)
	case window && min(in.H, in.W)+2*((n.K-1)/2) < n.K:
		return fmt.Errorf("kernel %d is larger than its input of %v", n.K, in)
	case n.Kind == nn.Depthwise && n.K%2 == 0:
		return fmt.Errorf("kernel %d is even", n.K)
	case n.Norm && n.Kind != nn.Conv && n.Kind != nn.Depthwise:
		return errors.New("only convolutions have normalisation")
	case n.Act != kernel.Linear && n.Kind != nn.Conv && n.Kind != nn.Depthwise && n.Kind != nn.Add:
		return errors.New("only convolutions and add have an activation")
	case n.Res != 0 && n.Kind != nn.Conv && n.Kind != nn.Depthwise && n.Kind != nn.Add:
		return errors.New("only convolutions and add have a second value")
	case (n.Kind == nn.SE) != (n.Hidden != 0) || n.Hidden < 0 || n.Hidden > maxChannels || n.Hidden%8 != 0:
		return fmt.Errorf("%d hidden channels: must be a multiple of 8 for squeeze-and-excite, else 0", n.Hidden)
	case n.Out < 1 || n.Out > maxChannels || n.Out%8 != 0 && !last:
		return fmt.Errorf("%d outputs: must be a multiple of 8 up to %d", n.Out, maxChannels)
	case n.Kind == nn.FC && in.Size()%8 != 0 || n.Kind != nn.FC && n.Kind != nn.Conv && in.C%8 != 0:
		return fmt.Errorf("reads %v: must be a multiple of 8 channels", in)
	case in.Pixels() > maxValues/n.Out:
		return fmt.Errorf("makes more than %d values of an image", maxValues)
	}
	return nil
}

// node appends a node of a Fixed space.
func (b *builder) node(n *Node) {
	st := step{
		name: n.Name, kind: n.Kind, out: n.Out, k: n.K, stride: n.Stride, hidden: n.Hidden,
		act: n.Act, norm: n.Norm, from: &n.In,
	}
	if n.Res != 0 {
		st.res = &n.Res
	}
	b.add(st)
}

// Cut returns a subnet as a network of its own: a supernet of family Fixed with copies of
// the weights in use and its statistics. Layers keep their names. It computes what the
// subnet computes, to the bit.
func (s *Supernet) Cut(a Arch, norms Norms) (*Supernet, Norms, error) {
	g, err := s.Space.Lower(a)
	if err != nil {
		return nil, nil, err
	}
	nodes := make([]Node, len(g.Ops))
	for i := range g.Ops {
		op := &g.Ops[i]
		nodes[i] = Node{
			Kind: op.Kind, In: op.In, Res: max(op.Res, 0), Out: g.Values[op.Out].C,
			K: op.K, Stride: op.Stride, Hidden: op.Hidden, Act: op.Act,
		}
		if op.Layer >= 0 {
			nodes[i].Name, nodes[i].Norm = g.Layers[op.Layer].Name, g.Layers[op.Layer].Norm
		}
	}
	space, err := NewFixed(s.Space.Name+" "+s.Space.Format(a), g.Values[0], nodes)
	if err != nil {
		return nil, nil, err
	}
	out := &Supernet{Space: space, W: nn.NewWeights(space.Layers()), Mean: s.Mean, Std: s.Std}
	own, ownKeys, keys := Norms{}, space.lower(Arch{}).NormKeys(), g.NormKeys()
	layer := 0
	for i := range g.Ops {
		op := &g.Ops[i]
		if op.Layer < 0 {
			continue
		}
		s.cutLayer(out.W, layer, op)
		layer++
		if keys[i] == 0 {
			continue
		}
		st, ok := norms[keys[i]]
		if !ok {
			return nil, nil, fmt.Errorf("subnet %s: no statistics for layer %s; calibrate it first", s.Space.Format(a), g.Layers[op.Layer].Name)
		}
		own[ownKeys[i]] = st
	}
	return out, own, nil
}

// cutLayer copies what an operation uses of its layer to layer number to of w.
func (s *Supernet) cutLayer(w *nn.Weights, to int, op *nn.Op) {
	l := &w.Layers[to]
	for i := range w.Params {
		p := &w.Params[i]
		if p.Layer != to {
			continue
		}
		if l.Kind == nn.Depthwise && p.Role == nn.Weight {
			all, channels := s.W.DeriveKernel(op.Layer, op.K), s.W.Layers[op.Layer].Out
			for t := range l.Taps() {
				copy(w.Data[p.Off+t*l.Out:][:l.Out], all[t*channels:])
			}
			continue
		}
		from := s.W.Find(op.Layer, p.Role)
		w.SetCanonical(w.Data, i, corner(s.W.Canonical(s.W.Data, from), s.W.Params[from].Shape, p.Shape))
	}
}

// corner copies the first entries of every axis of an array of shape from.
func corner(src []float32, from, to []int) []float32 {
	if len(to) == 1 {
		return src[:to[0]]
	}
	var out []float32
	step := len(src) / from[0]
	for i := range to[0] {
		out = append(out, corner(src[i*step:(i+1)*step], from[1:], to[1:])...)
	}
	return out
}
