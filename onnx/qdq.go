package onnx

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"weft/kernel"
	"weft/onnx/internal/pb"
	"weft/quant"
)

// ExportInt8 returns a quantised subnet as an ONNX file in QDQ form: floating-point
// operators between DequantizeLinear and QuantizeLinear, which runtimes fuse into integer
// ones; activations are uint8, weights int8 with a scale a channel, biases int32. Input and
// output are those of Export; name says which subnet it is.
func ExportInt8(n *quant.Network, name string, o Options) ([]byte, error) {
	w := writer8{writer: writer{graph: &pb.Graph{Name: name}}, n: n}
	in := n.Values[0].Shape
	w.writer.input(in, n.Mean, n.Std, o.Pixels)
	w.quantise(w.image, 0)
	for i := range n.Ops {
		if err := w.op(&n.Ops[i]); err != nil {
			return nil, fmt.Errorf("export subnet %s: %w", name, err)
		}
	}
	last := n.Ops[len(n.Ops)-1]
	return model(w.graph, in, n.Values[last.Out].C, n.Mean, n.Std, name, o)
}

// A writer8 turns a quantised network into the graph of a QDQ file. The bytes of value i
// are called q1, q2 and so on, what they stand for v1, v2 and so on.
type writer8 struct {
	writer
	n *quant.Network
}

func (w *writer8) value(v int) string { return "v" + strconv.Itoa(v) }

// quantise makes value v of a tensor of reals.
func (w *writer8) quantise(value string, v int) {
	w.through(value, "q"+strconv.Itoa(v), w.value(v), w.n.Values[v].Params)
}

// through quantises a tensor into bytes and those into reals again.
func (w *writer8) through(value, quantised, out string, p quant.Params) {
	scale, zero := out+".scale", out+".zero"
	w.floats(scale, nil, []float32{p.Scale})
	w.raw(zero, pb.Tensor_UINT8, nil, []byte{p.Zero})
	w.node("QuantizeLinear", quantised, []string{value, scale, zero})
	w.node("DequantizeLinear", out, []string{quantised, scale, zero})
}

// op appends the nodes of an operation.
func (w *writer8) op(o *quant.Op) error {
	in, out := w.value(o.In), w.value(o.Out)
	switch o.Kind {
	case quant.Conv, quant.Depthwise:
		w.conv(o, in, out)
		return nil
	case quant.FC:
		w.dense(o, in)
		return nil
	case quant.Add:
		w.node("Add", out+".sum", []string{in, w.value(o.Res)})
		w.rectified(o, out+".sum")
		return nil
	case quant.Mul:
		w.node("Mul", out+".real", []string{in, w.value(o.Res)})
	case quant.MaxPool:
		w.node("MaxPool", out+".real", []string{in}, window(o.K, o.Stride)...)
	case quant.AvgPool:
		w.meanPool(o, in, out+".real")
	case quant.GlobalPool:
		w.node("GlobalAveragePool", out+".real", []string{in})
	default:
		return fmt.Errorf("operation %s has no counterpart in ONNX here", o.Kind)
	}
	w.quantise(out+".real", o.Out)
	return nil
}

// rectified quantises the output of o after a ReLU if o has one. Where the zero point is
// 0, quantising does the same.
func (w *writer8) rectified(o *quant.Op, value string) {
	if o.Act == kernel.ReLU && w.n.Values[o.Out].Zero != 0 {
		w.node("Relu", value+".relu", []string{value})
		value += ".relu"
	}
	w.quantise(value, o.Out)
}

// conv appends a convolution and what follows it: nothing or ReLU; quantisation by Own and
// the residual; or quantisation by Own and the activation.
func (w *writer8) conv(o *quant.Op, in, out string) {
	cin, group := w.n.Values[o.In].C, int64(1)
	if o.Kind == quant.Depthwise {
		cin, group = 1, int64(cin)
	}
	weight, bias := w.weights(o, cin, o.K*o.K)
	linear := out + ".conv"
	w.node("Conv", linear, []string{in, weight, bias}, append(window(o.K, o.Stride), integer("group", group))...)
	switch {
	case o.Res >= 0:
		w.through(linear, out+".own.bytes", out+".own", o.Own)
		w.node("Add", out+".sum", []string{out + ".own", w.value(o.Res)})
		w.rectified(o, out+".sum")
	case o.Looked():
		w.through(linear, out+".own.bytes", out+".own", o.Own)
		if o.Act == kernel.HSwish {
			w.node("HardSwish", out+".real", []string{out + ".own"})
		} else {
			w.node("HardSigmoid", out+".real", []string{out + ".own"}, float("alpha", hsigmoidSlope), float("beta", 0.5))
		}
		w.quantise(out+".real", o.Out)
	default:
		w.rectified(o, linear)
	}
}

// meanPool appends the mean of a window. Without padding it is a depthwise convolution
// with weights of 1 and a scale of 1/K², whose sums are whole numbers: an AveragePool adds
// up reals, whose errors decide where a quarter of the windows of 2x2, at a half, round to.
func (w *writer8) meanPool(o *quant.Op, in, out string) {
	if o.K > 2 {
		w.node("AveragePool", out, []string{in}, window(o.K, o.Stride)...)
		return
	}
	c := w.n.Values[o.In].C
	ones := bytes.Repeat([]byte{1}, c*o.K*o.K)
	scale := slices.Repeat([]float32{1 / float32(o.K*o.K)}, c)
	w.constant(out+".ones", pb.Tensor_INT8, []int{c, 1, o.K, o.K}, ones, scale)
	w.node("Conv", out, []string{in, out + ".ones"}, append(window(o.K, o.Stride), integer("group", int64(c)))...)
}

// dense appends the fully connected layer, whose outputs are the logits.
func (w *writer8) dense(o *quant.Op, in string) {
	s := w.n.Values[o.In]
	weight, bias := w.weights(o, s.C, s.Pixels())
	w.node("Flatten", "flat", []string{in}, integer("axis", 1))
	w.node("Gemm", "logits", []string{"flat", weight, bias}, integer("transB", 1))
}

// weights adds the weights and the bias of an operation, with so many inputs a tap, and
// returns what they are called as reals. Channels of negative scale are negated, which
// changes no product.
func (w *writer8) weights(o *quant.Op, in, taps int) (weight, bias string) {
	outputs := len(o.WScale)
	scale, biasScale := make([]float32, outputs), make([]float32, outputs)
	integers, biases := make([]byte, outputs*in*taps), make([]byte, 0, 4*outputs)
	for c, s := range o.WScale {
		sign := int32(1)
		if s < 0 {
			sign = -1
		}
		scale[c] = float32(sign) * s
		biasScale[c] = w.n.Values[o.In].Scale * scale[c]
		biases = binary.LittleEndian.AppendUint32(biases, uint32(sign*o.Bias[c]))
		for i := range in {
			for t := range taps {
				integers[(c*in+i)*taps+t] = byte(int8(sign) * weightAt(o, c, t, i, in))
			}
		}
	}
	shape := []int{outputs, in * taps}
	if o.Kind != quant.FC {
		shape = []int{outputs, in, o.K, o.K}
	}
	weight, bias = o.Name+".weight", o.Name+".bias"
	w.constant(weight, pb.Tensor_INT8, shape, integers, scale)
	w.constant(bias, pb.Tensor_INT32, []int{outputs}, biases, biasScale)
	return weight, bias
}

// weightAt returns the weight of raster tap t and input channel i.
func weightAt(o *quant.Op, out, t, i, in int) int8 {
	switch o.Kind {
	case quant.Depthwise:
		want := kernel.Raster(o.K)[t]
		for ring, tap := range kernel.Rings(o.K) {
			if tap == want {
				return o.W.At(out, ring, 0)
			}
		}
		panic("onnx: kernel is even")
	case quant.FC:
		return o.W.At(out, 0, t*in+i)
	default:
		return o.W.At(out, t, i)
	}
}

// constant adds integers with a scale for each entry of the first axis, as reals.
func (w *writer8) constant(name string, typ pb.Tensor_Type, shape []int, data []byte, scale []float32) {
	zero := make([]byte, len(scale)*map[pb.Tensor_Type]int{pb.Tensor_INT8: 1, pb.Tensor_INT32: 4}[typ])
	w.raw(name+".integers", typ, shape, data)
	w.floats(name+".scale", shape[:1], scale)
	w.raw(name+".zero", typ, shape[:1], zero)
	w.node("DequantizeLinear", name, []string{name + ".integers", name + ".scale", name + ".zero"}, integer("axis", 0))
}
