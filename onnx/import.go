package onnx

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"weft/bundle"
	"weft/kernel"
	"weft/nn"
	"weft/onnx/internal/pb"
	"weft/tensor"
)

// ImportOptions say what an ONNX file does not.
type ImportOptions struct {
	Name string // of the model
	// Mean and Std say what the file's input is: (pixel/255 − Mean)/Std per channel; one
	// value stands for all channels. Nil is what the file's metadata says if weft wrote
	// it, else 0 and 1. Normalisation that the graph does itself comes on top.
	Mean, Std []float32
}

// Import reads a network from an ONNX file into a bundle of family Fixed with one subnet,
// whose accuracy is 0: not measured. Notes are sentences on what was left out or changed.
func Import(data []byte, o ImportOptions) (b *bundle.Bundle, notes []string, err error) {
	m, err := decode(data)
	if err != nil {
		return nil, nil, err
	}
	im := importer{
		graph: m.Graph, consts: map[string]*constant{}, values: map[string]value{}, uses: map[string]int{},
		names: map[string]int{},
	}
	if err := im.start(m, o); err != nil {
		return nil, nil, err
	}
	for i, n := range m.Graph.Node {
		if err := im.node(n); err != nil {
			return nil, nil, fmt.Errorf("node %s: %w", nodeName(n, i), err)
		}
	}
	out := m.Graph.Output[0].GetName()
	v, ok := im.values[out]
	if !ok {
		return nil, nil, fmt.Errorf("no node makes the output %q, or it does not depend on the input", out)
	}
	if err := im.finish(v); err != nil {
		return nil, nil, fmt.Errorf("output %q: %w", out, err)
	}
	net, norms, err := im.emit(o.Name)
	if err != nil {
		return nil, nil, err
	}
	b = bundle.Fixed(o.Name, net, norms)
	if names := strings.Split(property(m, metaClasses), "\n"); len(names) == net.Space.Classes {
		b.ClassNames = names
	}
	return b, im.notes, nil
}

func nodeName(n *pb.Node, i int) string {
	if n.Name != "" {
		return fmt.Sprintf("%q (%s)", n.Name, n.OpType)
	}
	return fmt.Sprintf("%d (%s)", i+1, n.OpType)
}

func property(m *pb.Model, key string) string {
	for _, p := range m.MetadataProps {
		if p.Key == key {
			return p.Value
		}
	}
	return ""
}

// A value is what a tensor of the file is here: the output of an operation, perhaps seen
// otherwise. The file's value is factor times what the operation makes.
type value struct {
	op     int          // 0 is the image, i the i-th operation
	shape  tensor.Shape // without padding of channels
	factor float64
	flat   bool    // two axes: images and values
	last   bool    // of the image: channels are the last axis
	shared bool    // something else reads the operation's output under another name
	pads   *[4]int // zeros around it, to be folded into the next operation: top, left, bottom, right
	name   string  // of the tensor
}

// An operation is a node of the Fixed network to be, before its channels are padded.
type operation struct {
	kind    nn.Kind
	name    string
	in, res int // values; res is -1 without
	out     tensor.Shape
	k       int
	stride  int
	hidden  int
	weight  []float32 // canonical (nn.Weights), unpadded
	weight2 []float32 // SE: back to the channels
	bias    []float32 // SE: of the hidden channels
	scale   []float64 // of each output channel: Conv, Depthwise and FC
	shift   []float64 // likewise; SE: the bias of the channels
	act     kernel.Act
	alone   bool // nothing else reads in
	dead    bool // taken up into another one
}

// importer reads a graph node by node; every node becomes an operation or part of one.
type importer struct {
	graph  *pb.Graph
	consts map[string]*constant
	values map[string]value
	uses   map[string]int // readers of each tensor
	names  map[string]int
	ops    []operation
	input  tensor.Shape
	batch  int // images as the file declares them, 1 if any number
	notes  []string
	mean   []float64 // value 0 is (pixel/255 − mean)/std
	std    []float64
}

// start reads the constants, the input and how often each tensor is read.
func (im *importer) start(m *pb.Model, o ImportOptions) error {
	for _, t := range im.graph.Initializer {
		c, err := decodeTensor(t)
		if err != nil {
			return err
		}
		im.consts[t.Name] = c
	}
	for _, n := range im.graph.Node {
		for _, in := range n.Input {
			im.uses[in]++
		}
	}
	var inputs []*pb.Value
	for _, in := range im.graph.Input {
		if im.consts[in.GetName()] == nil {
			inputs = append(inputs, in)
		}
	}
	if len(inputs) != 1 || len(im.graph.Output) != 1 {
		return fmt.Errorf("the network has %d inputs and %d outputs; weft runs those of one image and one vector of logits", len(inputs), len(im.graph.Output))
	}
	im.uses[im.graph.Output[0].GetName()]++
	return im.image(inputs[0], m, o)
}

// image declares value 0.
func (im *importer) image(in *pb.Value, m *pb.Model, o ImportOptions) error {
	tt := in.GetType().GetTensorType()
	dims := tt.GetShape().GetDim()
	if tt.GetElemType() != pb.Tensor_FLOAT {
		return fmt.Errorf("input %q is no float32 tensor; export the network with one", in.GetName())
	}
	if len(dims) != 4 {
		return fmt.Errorf("input %q has %d axes; weft runs networks of images, with four", in.GetName(), len(dims))
	}
	n := [4]int{}
	for i, d := range dims {
		if n[i] = int(d.GetDimValue()); i > 0 && (n[i] < 1 || n[i] > 1<<20) {
			return fmt.Errorf("axis %d of input %q has no fixed size; export the network for a fixed size of image", i, in.GetName())
		}
	}
	im.batch = max(n[0], 1)
	im.input = tensor.Shape{C: n[1], H: n[2], W: n[3]}
	v := value{name: in.GetName(), factor: 1}
	if n[3] <= 4 && n[1] > 4 { // [N,H,W,C]
		im.input, v.last = tensor.Shape{H: n[1], W: n[2], C: n[3]}, true
	}
	v.shape = im.input
	im.values[v.name] = v
	var err error
	if im.mean, err = perChannel(o.Mean, property(m, metaMean), 0, im.input.C); err != nil {
		return fmt.Errorf("mean: %w", err)
	}
	if im.std, err = perChannel(o.Std, property(m, metaStd), 1, im.input.C); err != nil {
		return fmt.Errorf("std: %w", err)
	}
	if slices.ContainsFunc(im.std, func(v float64) bool { return !(v > 0) }) {
		return errors.New("std: must be above 0")
	}
	return nil
}

// perChannel returns a value a channel: those given, else those in the text, else def.
func perChannel(given []float32, text string, def float64, channels int) ([]float64, error) {
	var v []float64
	for _, x := range given {
		v = append(v, float64(x))
	}
	if v == nil && text != "" {
		for t := range strings.SplitSeq(text, ",") {
			x, err := strconv.ParseFloat(t, 32)
			if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
				return nil, fmt.Errorf("the file's metadata has %q", text)
			}
			v = append(v, x)
		}
	}
	if v == nil {
		v = []float64{def}
	}
	if len(v) == 1 {
		v = slices.Repeat(v, channels)
	}
	if len(v) != channels {
		return nil, fmt.Errorf("%d values for images of %d channels", len(v), channels)
	}
	return v, nil
}
