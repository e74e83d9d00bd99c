package onnx

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"weft/kernel"
	"weft/nn"
	"weft/onnx/internal/pb"
	"weft/supernet"
	"weft/tensor"
)

// batch stands for the free number of images in the shape of a value.
const batch = -1

// hsigmoidSlope makes ONNX's HardSigmoid, max(0, min(1, x/6 + 1/2)), kernel.HSigmoid.
const hsigmoidSlope = 1.0 / 6

// A writer turns the graph of a Fixed network into that of an ONNX file, operation by
// operation. Values are named v1, v2 and so on, like those of the graph.
type writer struct {
	net   *supernet.Supernet
	g     *nn.Graph
	norms supernet.Norms
	keys  []nn.NormKey
	graph *pb.Graph
	image string // name of value 0
}

// input declares the input; value 0 is its normalised form, [N,C,H,W].
func (w *writer) input(s tensor.Shape, mean, std []float32, pixels bool) {
	h, wd, c := int64(s.H), int64(s.W), int64(s.C)
	if !pixels {
		w.image = "images"
		w.graph.Input = []*pb.Value{floats("images", batch, c, h, wd)}
		return
	}
	w.image = "normalised"
	w.graph.Input = []*pb.Value{floats("images", batch, h, wd, c)}
	w.floats("mean", []int{s.C, 1, 1}, mean)
	w.floats("std", []int{s.C, 1, 1}, std)
	w.node("Transpose", "planes", []string{"images"}, ints("perm", 0, 3, 1, 2))
	w.node("Sub", "centred", []string{"planes", "mean"})
	w.node("Div", w.image, []string{"centred", "std"})
}

// value returns the name of a value of the graph.
func (w *writer) value(v int) string {
	switch {
	case v == w.g.Output():
		return "logits"
	case v == 0:
		return w.image
	}
	return "v" + strconv.Itoa(v)
}

// op appends the nodes of operation i.
func (w *writer) op(i int) error {
	op := &w.g.Ops[i]
	in, out := w.value(op.In), w.value(op.Out)
	var params []Param
	if op.Layer >= 0 {
		var err error
		if params, err = folded(w.net, w.norms, w.keys[i], op.Layer); err != nil {
			return err
		}
	}
	switch op.Kind {
	case nn.Conv, nn.Depthwise:
		w.conv(op, params, in, out)
	case nn.SE:
		w.squeeze(op, params, in, out)
	case nn.MaxPool:
		w.node("MaxPool", out, []string{in}, window(op.K, op.Stride)...)
	case nn.AvgPool:
		w.node("AveragePool", out, []string{in}, window(op.K, op.Stride)...)
	case nn.GlobalPool:
		w.node("GlobalAveragePool", out, []string{in})
	case nn.FC:
		w.dense(op, params, in, out)
	case nn.Add:
		w.finish(op, out, func(sum string) { w.node("Add", sum, []string{in, w.value(op.Res)}) })
	default:
		return fmt.Errorf("operation %s has no counterpart in ONNX here", op.Kind)
	}
	return nil
}

// conv appends y = act(conv(x) + res).
func (w *writer) conv(op *nn.Op, params []Param, in, out string) {
	group := int64(1)
	if op.Kind == nn.Depthwise {
		group = int64(w.g.Values[op.In].C)
	}
	inputs := []string{in}
	for _, p := range params {
		inputs = append(inputs, p.Name)
		if len(p.Shape) > 1 {
			p = planes(p, op.Kind == nn.Depthwise)
		}
		w.floats(p.Name, p.Shape, p.Values)
	}
	attrs := append(window(op.K, op.Stride), integer("group", group))
	w.finish(op, out, func(sum string) {
		if op.Res < 0 {
			w.node("Conv", sum, inputs, attrs...)
			return
		}
		w.node("Conv", out+".conv", inputs, attrs...)
		w.node("Add", sum, []string{out + ".conv", w.value(op.Res)})
	})
}

// finish lets linear make the value that the activation of op is applied to, and applies it.
func (w *writer) finish(op *nn.Op, out string, linear func(name string)) {
	switch op.Act {
	case kernel.Linear:
		linear(out)
	case kernel.ReLU:
		linear(out + ".linear")
		w.node("Relu", out, []string{out + ".linear"})
	case kernel.HSigmoid:
		linear(out + ".linear")
		w.node("HardSigmoid", out, []string{out + ".linear"}, float("alpha", hsigmoidSlope), float("beta", 0.5))
	case kernel.HSwish:
		linear(out + ".linear")
		w.node("HardSwish", out, []string{out + ".linear"})
	}
}

// squeeze appends y = x·h-sigmoid(W2·relu(W1·mean(x)+b1)+b2), as 1x1 convolutions.
func (w *writer) squeeze(op *nn.Op, params []Param, in, out string) {
	for _, p := range params {
		if len(p.Shape) == 2 {
			p.Shape = []int{p.Shape[0], p.Shape[1], 1, 1}
		}
		w.floats(p.Name, p.Shape, p.Values)
	}
	one := ints("kernel_shape", 1, 1)
	w.node("GlobalAveragePool", out+".mean", []string{in})
	w.node("Conv", out+".reduce", []string{out + ".mean", params[0].Name, params[1].Name}, one)
	w.node("Relu", out+".hidden", []string{out + ".reduce"})
	w.node("Conv", out+".expand", []string{out + ".hidden", params[2].Name, params[3].Name}, one)
	w.node("HardSigmoid", out+".gate", []string{out + ".expand"}, float("alpha", hsigmoidSlope), float("beta", 0.5))
	w.node("Mul", out, []string{in, out + ".gate"})
}

// dense appends a fully connected layer over all values of its input: a window as large
// as the image, which leaves four axes, or, at the end, a matrix.
func (w *writer) dense(op *nn.Op, params []Param, in, out string) {
	weight, bias, s := params[0], params[1], w.g.Values[op.In]
	window := planes(Param{Name: weight.Name, Shape: []int{weight.Shape[0], s.H, s.W, s.C}, Values: weight.Values}, false)
	w.floats(bias.Name, bias.Shape, bias.Values)
	if op.Out != w.g.Output() {
		w.floats(window.Name, window.Shape, window.Values)
		w.node("Conv", out, []string{in, weight.Name, bias.Name}, ints("kernel_shape", int64(s.H), int64(s.W)))
		return
	}
	w.floats(weight.Name, weight.Shape, window.Values)
	w.node("Flatten", out+".flat", []string{in}, integer("axis", 1))
	w.node("Gemm", out, []string{out + ".flat", weight.Name, bias.Name}, integer("transB", 1))
}

// planes turns weights [out][ky][kx][in] into ONNX's [out][in][ky][kx], and depthwise
// [channel][ky][kx] into [channel][1][ky][kx].
func planes(p Param, depthwise bool) Param {
	if depthwise {
		return Param{Name: p.Name, Shape: []int{p.Shape[0], 1, p.Shape[1], p.Shape[2]}, Values: p.Values}
	}
	out, taps, in := p.Shape[0], p.Shape[1]*p.Shape[2], p.Shape[3]
	q := Param{Name: p.Name, Shape: []int{out, in, p.Shape[1], p.Shape[2]}, Values: make([]float32, len(p.Values))}
	for o := range out {
		for t := range taps {
			for c := range in {
				q.Values[(o*in+c)*taps+t] = p.Values[(o*taps+t)*in+c]
			}
		}
	}
	return q
}

// window returns the attributes of a convolution or pool: nn's geometry.
func window(kern, stride int) []*pb.Attribute {
	k, s, p := int64(kern), int64(stride), int64((kern-1)/2)
	return []*pb.Attribute{ints("kernel_shape", k, k), ints("strides", s, s), ints("pads", p, p, p, p)}
}

func (w *writer) node(kind, out string, in []string, attrs ...*pb.Attribute) {
	w.graph.Node = append(w.graph.Node, &pb.Node{OpType: kind, Name: out, Input: in, Output: []string{out}, Attribute: attrs})
}

// floats adds a constant.
func (w *writer) floats(name string, shape []int, values []float32) {
	raw := make([]byte, 0, 4*len(values))
	for _, v := range values {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
	}
	w.raw(name, pb.Tensor_FLOAT, shape, raw)
}

// raw adds a constant of any type.
func (w *writer) raw(name string, typ pb.Tensor_Type, shape []int, data []byte) {
	t := &pb.Tensor{Name: name, DataType: typ, RawData: data}
	for _, d := range shape {
		t.Dims = append(t.Dims, int64(d))
	}
	w.graph.Initializer = append(w.graph.Initializer, t)
}

// floats declares an input or output.
func floats(name string, shape ...int64) *pb.Value {
	t := &pb.TensorType{ElemType: pb.Tensor_FLOAT, Shape: &pb.Shape{}}
	for _, n := range shape {
		d := &pb.Dimension{Value: &pb.Dimension_DimValue{DimValue: n}}
		if n == batch {
			d.Value = &pb.Dimension_DimParam{DimParam: "N"}
		}
		t.Shape.Dim = append(t.Shape.Dim, d)
	}
	return &pb.Value{Name: name, Type: &pb.ValueType{TensorType: t}}
}

func ints(name string, v ...int64) *pb.Attribute {
	return &pb.Attribute{Name: name, Type: pb.Attribute_INTS, Ints: v}
}

func integer(name string, v int64) *pb.Attribute {
	return &pb.Attribute{Name: name, Type: pb.Attribute_INT, I: v}
}

func float(name string, v float32) *pb.Attribute {
	return &pb.Attribute{Name: name, Type: pb.Attribute_FLOAT, F: v}
}
