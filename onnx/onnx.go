// Package onnx writes subnets as ONNX files, for any other runtime and for checking weft
// against one, and reads networks from ONNX files into spaces of family Fixed. What the
// files look like and which operators are read is written in docs/formats/onnx.md.
package onnx

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"

	"weft/nn"
	"weft/onnx/internal/pb"
	"weft/supernet"
	"weft/tensor"
)

// Opset is the version of the ONNX operators in the files that Export writes, and IR that
// of the file's structure: those of PyTorch's exporters of 2023 on, which every runtime of
// today reads.
const (
	Opset = 17
	IR    = 8
)

// Keys of a file's metadata that Export writes and Import reads.
const (
	metaMean    = "weft.mean"
	metaStd     = "weft.std"
	metaSubnet  = "weft.subnet"
	metaClasses = "weft.classes" // one a line
)

// Options say how Export writes a subnet.
type Options struct {
	// Pixels makes the input what weft's server takes, [N,H,W,C] of pixel/255, and does
	// the normalisation in the graph. Otherwise it is [N,C,H,W], normalised, as networks
	// that PyTorch exports take it.
	Pixels bool
	// Producer is the version of weft that is written into the file.
	Producer string
	// Classes are the names of the classes, written into the metadata unless nil.
	Classes []string
}

// Export returns a subnet as an ONNX file: its slices of the weights, with the
// normalisations folded into the convolutions. The file's input is called images, its
// output logits, [N,classes]; N is free.
func Export(net *supernet.Supernet, norms supernet.Norms, a supernet.Arch, o Options) ([]byte, error) {
	text := net.Space.Format(a)
	c, own, err := net.Cut(a, norms)
	if err != nil {
		return nil, err
	}
	g, err := c.Space.Lower(c.Space.Max())
	if err != nil {
		return nil, err
	}
	w := writer{net: c, g: g, norms: own, keys: g.NormKeys(), graph: &pb.Graph{Name: c.Space.Name}}
	w.input(g.Values[0], c.Mean, c.Std, o.Pixels)
	for i := range g.Ops {
		if err := w.op(i); err != nil {
			return nil, fmt.Errorf("export subnet %s: %w", text, err)
		}
	}
	return model(w.graph, g.Values[0], c.Space.Classes, c.Mean, c.Std, text, o)
}

// model finishes a file: output, description and metadata.
func model(g *pb.Graph, in tensor.Shape, classes int, mean, std []float32, subnet string, o Options) ([]byte, error) {
	g.Output = []*pb.Value{floats("logits", batch, int64(classes))}
	m := &pb.Model{
		IrVersion: IR, OpsetImport: []*pb.OperatorSet{{Version: Opset}}, ProducerName: "weft", ProducerVersion: o.Producer,
		Graph: g, MetadataProps: []*pb.Property{{Key: metaSubnet, Value: subnet}},
	}
	if o.Pixels {
		m.DocString = fmt.Sprintf("%s. images: [N,%d,%d,%d] of pixel/255; logits: [N,%d].", g.Name, in.H, in.W, in.C, classes)
	} else {
		m.DocString = fmt.Sprintf("%s. images: [N,%d,%d,%d] of (pixel/255 - mean)/std with mean %s and std %s; logits: [N,%d].",
			g.Name, in.C, in.H, in.W, join(mean), join(std), classes)
		m.MetadataProps = append(m.MetadataProps, &pb.Property{Key: metaMean, Value: join(mean)}, &pb.Property{Key: metaStd, Value: join(std)})
	}
	if o.Classes != nil {
		m.MetadataProps = append(m.MetadataProps, &pb.Property{Key: metaClasses, Value: strings.Join(o.Classes, "\n")})
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

func join(v []float32) string {
	t := make([]string, len(v))
	for i, x := range v {
		t[i] = strconv.FormatFloat(float64(x), 'g', -1, 32)
	}
	return strings.Join(t, ",")
}

// Param is one array of a network in inference form.
type Param struct {
	Name   string // layer, dot, and what it is to the layer
	Shape  []int  // as nn.Weights.Canonical has it
	Values []float32
}

// Folded returns the arrays of a Fixed network as it is run: each layer's weights with the
// normalisation's scale multiplied in (w·γ/√(σ²+ε)), and its bias (β − μ·γ/√(σ²+ε), or the
// layer's own). Layers without either have no bias.
func Folded(net *supernet.Supernet, norms supernet.Norms) ([]Param, error) {
	g, err := net.Space.Lower(net.Space.Max())
	if err != nil {
		return nil, err
	}
	var all []Param
	keys := g.NormKeys()
	for i := range g.Ops {
		if g.Ops[i].Layer < 0 {
			continue
		}
		p, err := folded(net, norms, keys[i], g.Ops[i].Layer)
		if err != nil {
			return nil, err
		}
		all = append(all, p...)
	}
	return all, nil
}

// folded returns the arrays of one layer.
func folded(net *supernet.Supernet, norms supernet.Norms, key nn.NormKey, layer int) ([]Param, error) {
	w, l := net.W, &net.W.Layers[layer]
	get := func(r nn.Role) Param {
		i := w.Find(layer, r)
		return Param{Name: w.Params[i].Name, Shape: w.Params[i].Shape, Values: w.Canonical(w.Data, i)}
	}
	out := []Param{get(nn.Weight)}
	switch {
	case l.Kind == nn.SE:
		out = append(out, get(nn.Bias), get(nn.Weight2), get(nn.Bias2))
	case l.Kind == nn.FC:
		out = append(out, get(nn.Bias))
	case l.Norm:
		st, ok := norms[key]
		if !ok {
			return nil, fmt.Errorf("no statistics for layer %s; calibrate it first", l.Name)
		}
		out = append(out, foldNorm(out[0].Values, get(nn.Gamma), get(nn.Beta).Values, st))
	}
	for _, p := range out {
		if i := slices.IndexFunc(p.Values, func(v float32) bool { return v-v != 0 }); i >= 0 {
			return nil, fmt.Errorf("%s holds %v at %d, which no file should carry; train the network again with a lower --lr", p.Name, p.Values[i], i)
		}
	}
	return out, nil
}

// foldNorm scales the weights in place and returns the bias.
func foldNorm(weights []float32, gamma Param, beta []float32, st supernet.Stats) Param {
	n := len(gamma.Values)
	bias := Param{Name: strings.TrimSuffix(gamma.Name, nn.Gamma.String()) + nn.Bias.String(), Shape: gamma.Shape, Values: make([]float32, n)}
	taps := len(weights) / n
	for c := range n {
		scale := float64(gamma.Values[c]) / math.Sqrt(float64(st.Var[c])+nn.Eps)
		bias.Values[c] = float32(float64(beta[c]) - float64(st.Mean[c])*scale)
		for i := range taps {
			weights[c*taps+i] = float32(float64(weights[c*taps+i]) * scale)
		}
	}
	return bias
}
