package onnx

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"weft/onnx/internal/pb"
	"weft/tensor"
)

// A sketch builds a small ONNX network node by node, with random weights.
type sketch struct {
	w   writer
	rng *rand.Rand
	n   int
}

func newSketch(dims ...int64) *sketch {
	s := &sketch{rng: rand.New(rand.NewPCG(5, 6))}
	s.w.graph = &pb.Graph{Name: "sketch", Input: []*pb.Value{floats("x", dims...)}}
	return s
}

// random adds a constant of the given shape and returns its name.
func (s *sketch) random(scale float64, shape ...int) string {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(scale * s.rng.NormFloat64())
	}
	return s.floats(v, shape...)
}

func (s *sketch) floats(v []float32, shape ...int) string {
	s.n++
	name := fmt.Sprintf("c%d.weight", s.n)
	s.w.floats(name, shape, v)
	return name
}

func (s *sketch) ints(v ...int64) string {
	s.n++
	name := fmt.Sprintf("i%d", s.n)
	s.w.graph.Initializer = append(s.w.graph.Initializer, &pb.Tensor{Name: name, DataType: pb.Tensor_INT64, Dims: []int64{int64(len(v))}, Int64Data: v})
	return name
}

func (s *sketch) int(v int64) string {
	name := s.ints(v)
	s.w.graph.Initializer[len(s.w.graph.Initializer)-1].Dims = nil
	return name
}

// do adds a node and returns the name of its output.
func (s *sketch) do(kind string, in []string, attrs ...*pb.Attribute) string {
	s.n++
	name := fmt.Sprintf("t%d", s.n)
	s.w.node(kind, name, in, attrs...)
	return name
}

func (s *sketch) one(kind, in string, attrs ...*pb.Attribute) string {
	return s.do(kind, []string{in}, attrs...)
}

// conv adds a convolution with bias, padded for an odd kernel unless pads says otherwise.
func (s *sketch) conv(in string, cin, cout, k int, attrs ...*pb.Attribute) string {
	p := int64((k - 1) / 2)
	attrs = append([]*pb.Attribute{ints("pads", p, p, p, p)}, attrs...)
	seen, last := map[string]bool{}, []*pb.Attribute{}
	for _, a := range slices.Backward(attrs) {
		if !seen[a.Name] {
			last = append(last, a)
		}
		seen[a.Name] = true
	}
	group := attributes(&pb.Node{Attribute: last}).int("group", 1)
	per := cin / group
	return s.do("Conv", []string{in, s.random(1/math.Sqrt(float64(per*k*k)), cout, per, k, k), s.random(0.3, cout)}, last...)
}

// depthwise adds a depthwise convolution.
func (s *sketch) depthwise(in string, c, k int, attrs ...*pb.Attribute) string {
	return s.conv(in, c, c, k, append(attrs, integer("group", int64(c)))...)
}

func (s *sketch) norm(in string, c int) string {
	v := make([]float32, c)
	for i := range v {
		v[i] = 0.1 + s.rng.Float32()
	}
	return s.do("BatchNormalization", []string{in, s.random(1, c), s.random(0.3, c), s.random(0.3, c), s.floats(v, c)}, float("epsilon", 1e-3))
}

// scalar adds a constant without axes.
func (s *sketch) scalar(v float32) string { return s.floats([]float32{v}) }

// classify ends a network on [N,c,H,W].
func (s *sketch) classify(in string, c int) {
	flat := s.one("Flatten", s.one("GlobalAveragePool", in))
	s.end(s.do("Gemm", []string{flat, s.random(0.5, 7, c), s.random(0.3, 7)}, integer("transB", 1)))
}

// end declares the output.
func (s *sketch) end(out string) { s.w.graph.Output = []*pb.Value{floats(out, batch, 7)} }

func (s *sketch) file(t testing.TB) []byte {
	t.Helper()
	raw, err := proto.Marshal(&pb.Model{IrVersion: IR, OpsetImport: []*pb.OperatorSet{{Version: Opset}}, Graph: s.w.graph})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func stride(n int64) *pb.Attribute { return ints("strides", n, n) }

// networks cover every operator that is read, in each of the forms that it comes in.
var networks = map[string]func(s *sketch){
	"odd channels": func(s *sketch) {
		v := s.one("Relu", s.norm(s.conv("x", 3, 5, 3), 5))
		s.classify(s.one("Relu", s.norm(s.conv(v, 5, 11, 3, stride(2)), 11)), 11)
	},
	"relu6": func(s *sketch) {
		clip := func(in string) string { return s.do("Clip", []string{in, s.scalar(0), s.scalar(6)}) }
		in := clip(s.conv("x", 3, 10, 3))
		v := clip(s.conv(in, 10, 20, 1))
		v = clip(s.norm(s.depthwise(v, 20, 3), 20))
		v = s.do("Add", []string{s.conv(v, 20, 10, 1), in})
		s.classify(clip(v), 10)
	},
	"h-swish": func(s *sketch) {
		v := s.one("HardSwish", s.conv("x", 3, 8, 3))
		c := s.conv(v, 8, 8, 1) // x·h-sigmoid(x)
		v = s.do("Mul", []string{c, s.one("HardSigmoid", c, float("alpha", 1.0/6), float("beta", 0.5))})
		c = s.conv(v, 8, 9, 1) // x·relu6(x+3)/6
		v = s.do("Mul", []string{c, s.do("Clip", []string{s.do("Add", []string{c, s.scalar(3)}), s.scalar(0), s.scalar(6)})})
		v = s.do("Div", []string{v, s.scalar(6)})
		c = s.conv(v, 9, 8, 1) // x·(relu6(x+3)/6), in another order
		g := s.do("Div", []string{s.do("Clip", []string{s.do("Add", []string{s.scalar(3), c}), s.scalar(0), s.scalar(6)}), s.scalar(6)})
		v = s.do("Mul", []string{g, c})
		v = s.one("HardSwish", s.do("Add", []string{v, s.conv(v, 8, 8, 1)})) // after a sum
		s.classify(v, 8)
	},
	"squeeze-and-excite": func(s *sketch) {
		v := s.one("Relu", s.conv("x", 3, 12, 3))
		h := s.one("Relu", s.conv(s.one("GlobalAveragePool", v), 12, 3, 1))
		v = s.do("Mul", []string{v, s.one("HardSigmoid", s.conv(h, 3, 12, 1), float("alpha", 1.0/6))})
		v = s.do("Clip", []string{s.conv(v, 12, 8, 1), s.scalar(0), s.scalar(6)})
		flat := s.do("Reshape", []string{s.do("ReduceMean", []string{v}, ints("axes", 2, 3)), s.ints(-1, 8)})
		h = s.one("Relu", s.do("Gemm", []string{flat, s.random(0.5, 4, 8), s.random(0.3, 4)}, integer("transB", 1)))
		g := s.do("Add", []string{s.do("MatMul", []string{h, s.random(0.5, 4, 8)}), s.random(0.5, 8)})
		g = s.do("Clip", []string{s.do("Add", []string{g, s.scalar(3)}), s.scalar(0), s.scalar(6)})
		g = s.do("Reshape", []string{s.do("Div", []string{g, s.scalar(6)}), s.ints(0, 8, 1, 1)})
		s.classify(s.do("Mul", []string{g, v}), 8)
	},
	"normalisation first": func(s *sketch) {
		v := s.conv("x", 3, 16, 3)
		for range 2 {
			a := s.one("Relu", s.norm(v, 16))
			b := s.one("Relu", s.norm(s.conv(a, 16, 16, 3), 16))
			v = s.do("Add", []string{s.conv(b, 16, 16, 3), v})
		}
		s.classify(s.one("Relu", s.norm(v, 16)), 16)
	},
	"windows": func(s *sketch) {
		same := &pb.Attribute{Name: "auto_pad", Type: pb.Attribute_STRING, S: []byte("SAME_UPPER")}
		v := s.do("Conv", []string{"x", s.random(0.3, 8, 3, 3, 3)}, same, stride(2))                                                         // 20 -> 10, zeros below and right alone
		v = s.do("Conv", []string{v, s.random(0.3, 8, 8, 1, 7)}, ints("pads", 0, 3, 0, 3))                                                   // a row
		v = s.do("Conv", []string{v, s.random(0.3, 8, 8, 7, 1)}, ints("pads", 3, 0, 3, 0))                                                   // a column
		v = s.do("Conv", []string{v, s.random(0.3, 8, 8, 3, 3)}, ints("pads", 2, 2, 2, 2), ints("dilations", 2, 2))                          // with gaps
		v = s.do("Conv", []string{v, s.random(0.3, 8, 8, 2, 2)}, stride(2))                                                                  // 10 -> 5
		v = s.do("Conv", []string{s.do("Pad", []string{v, s.ints(0, 0, 1, 1, 0, 0, 1, 1)}), s.random(0.3, 8, 1, 3, 3)}, integer("group", 8)) // padded before
		v = s.do("Conv", []string{v, s.random(0.3, 8, 8, 2, 2)}, ints("pads", 0, 0, 1, 1))                                                   // 5 -> 5
		v = s.do("Conv", []string{v, s.random(0.3, 8, 1, 5, 5)}, ints("pads", 2, 2, 2, 2), integer("group", 8), stride(3))                   // 5 -> 2
		s.classify(v, 8)
	},
	"groups": func(s *sketch) {
		v := s.one("Relu", s.conv("x", 3, 12, 3))
		v = s.one("Relu", s.conv(v, 12, 12, 3, integer("group", 4)))
		v = s.conv(v, 12, 24, 3, integer("group", 12)) // two outputs a channel
		v = s.conv(v, 24, 6, 1, integer("group", 2))
		s.classify(v, 6)
	},
	"pools": func(s *sketch) {
		k := func(n int64) *pb.Attribute { return ints("kernel_shape", n, n) }
		one := ints("pads", 1, 1, 1, 1)
		v := s.one("MaxPool", s.conv("x", 3, 8, 3), k(3), stride(2), one)                      // 20 -> 10
		v = s.one("AveragePool", v, k(3), one)                                                 // without the zeros
		v = s.one("AveragePool", v, k(3), one, integer("count_include_pad", 1))                // with them
		v = s.one("MaxPool", v, k(2), stride(2))                                               // 5
		v = s.one("AveragePool", s.conv(v, 8, 8, 1), k(2), stride(2), integer("ceil_mode", 0)) // 2
		v = s.do("Identity", []string{s.one("Dropout", s.one("AveragePool", v, k(2)))})        // 1
		v = s.one("Squeeze", v)
		s.end(s.do("Gemm", []string{v, s.random(0.5, 8, 7), s.random(0.3, 7)}, float("alpha", 0.5), float("beta", 2)))
	},
	"shapes": func(s *sketch) {
		v := s.one("Relu", s.conv("x", 3, 8, 3, stride(2)))
		v = s.do("ReduceMean", []string{v}, ints("axes", -1, -2), integer("keepdims", 0))
		n := s.do("Gather", []string{s.one("Shape", v), s.int(0)}, integer("axis", 0))
		n = s.do("Concat", []string{s.do("Unsqueeze", []string{n, s.ints(0)}), s.ints(-1)}, integer("axis", 0))
		v = s.do("Reshape", []string{v, n})
		v = s.do("Unsqueeze", []string{v, s.ints(2, 3)})
		v = s.conv(s.conv(v, 8, 16, 1), 16, 7, 1)
		s.end(s.do("Squeeze", []string{v, s.ints(2, 3)}))
	},
	"flattened image": func(s *sketch) {
		v := s.one("Relu", s.conv("x", 3, 6, 3, stride(4)))
		v = s.one("Flatten", v)
		v = s.one("Relu", s.do("Gemm", []string{v, s.random(0.2, 9, 150), s.random(0.3, 9)}, integer("transB", 1)))
		v = s.norm(s.do("Gemm", []string{v, s.random(0.5, 9, 9), s.random(0.3, 9)}), 9)
		s.end(s.do("MatMul", []string{v, s.random(0.5, 9, 7)}))
	},
	"perceptron": func(s *sketch) {
		v := s.do("Sub", []string{"x", s.floats([]float32{0.5, 0.4, 0.3}, 3, 1, 1)})
		v = s.do("Div", []string{v, s.floats([]float32{0.2, 0.3, 0.4}, 1, 3, 1, 1)})
		v = s.one("Relu", s.do("Gemm", []string{s.one("Flatten", v), s.random(0.05, 1200, 20), s.random(0.3, 20)}))
		s.end(s.do("Gemm", []string{v, s.random(0.5, 20, 7)}))
	},
	"mean at the end": func(s *sketch) {
		v := s.conv(s.one("Relu", s.conv("x", 3, 8, 3)), 8, 7, 1)
		s.end(s.one("Flatten", s.one("GlobalAveragePool", v)))
	},
	"sums": func(s *sketch) {
		a := s.one("Relu", s.conv("x", 3, 10, 3))
		b := s.one("Relu", s.conv(a, 10, 10, 3))
		v := s.do("Add", []string{a, b}) // of two activations
		v = s.one("Relu", s.do("Add", []string{v, v}))
		down := s.conv(v, 10, 12, 1, stride(2))
		v = s.do("Add", []string{s.conv(v, 10, 12, 3, stride(2)), down}) // the shortcut first
		s.classify(s.one("Relu", v), 12)
	},
	"constants": func(s *sketch) {
		v := s.do("Mul", []string{s.one("Relu", s.conv("x", 3, 9, 3)), s.scalar(0.25)})
		v = s.do("Mul", []string{s.conv(v, 9, 9, 3), s.scalar(-2)})
		v = s.do("Sub", []string{s.random(1, 1, 9, 1, 1), v})
		v = s.do("Sub", []string{s.one("Relu", v), s.random(1, 9, 1, 1)})
		s.w.graph.Node = append(s.w.graph.Node, &pb.Node{OpType: "Constant", Output: []string{"half"}, Attribute: []*pb.Attribute{{
			Name: "value", Type: pb.Attribute_TENSOR, T: &pb.Tensor{DataType: pb.Tensor_FLOAT, FloatData: []float32{0.5}},
		}}})
		v = s.do("Mul", []string{"half", s.do("Add", []string{v, s.conv(v, 9, 9, 1)})})
		s.classify(s.one("Relu", v), 9)
	},
	"shared": func(s *sketch) {
		a := s.conv("x", 3, 8, 3) // read raw and through two activations
		b := s.do("Add", []string{s.one("Relu", a), s.one("HardSwish", a)})
		s.classify(s.do("Add", []string{s.one("Identity", a), s.do("Mul", []string{b, s.scalar(3)})}), 8)
	},
}

// TestOperators: networks of every operator give in weft what ONNX Runtime makes of the same file.
func TestOperators(t *testing.T) {
	ortPackage(t)
	shape := tensor.Shape{H: 20, W: 20, C: 3}
	rng := rand.New(rand.NewPCG(9, 9))
	const n = 2
	images := make([]float32, n*shape.Size())
	for i := range images {
		images[i] = rng.Float32()
	}
	var jobs []ortJob
	var names []string
	for name, build := range networks {
		s := newSketch(batch, 3, 20, 20)
		build(s)
		raw := s.file(t)
		b, _, err := Import(raw, ImportOptions{Name: name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		names = append(names, name)
		jobs = append(jobs, ortJob{model: raw, input: planar(images, b.Net.Space, n), shape: []int{n, 3, 20, 20}})
		if again, err := Export(b.Net, b.Norms, b.Net.Space.Max(), Options{}); err != nil {
			t.Errorf("%s: %v", name, err)
		} else { // what was imported can be exported
			names, jobs = append(names, name+", exported again"), append(jobs, ortJob{model: again, input: planar(normalised(b.Net, images), b.Net.Space, n), shape: []int{n, 3, 20, 20}})
		}
	}
	worst := 0.0
	for i, want := range ortRun(t, jobs) {
		b, _, err := Import(jobs[i].model, ImportOptions{Name: names[i]})
		if err != nil {
			t.Errorf("%s: %v", names[i], err)
			continue
		}
		got := logits(t, b.Net, b.Norms, b.Net.Space.Max(), images)
		d := difference(got, want)
		worst = max(worst, d)
		if d > 2e-6 {
			t.Errorf("%s: differs by %.2g: ONNX Runtime says %v, weft %v", names[i], d, want, got)
		}
	}
	t.Logf("largest relative difference of %d networks: %.2g", len(jobs), worst)
}

// TestFusion: what exporters spell out in many nodes takes few operations.
func TestFusion(t *testing.T) {
	for name, want := range map[string]int{"odd channels": 4, "h-swish": 8, "squeeze-and-excite": 6, "relu6": 8, "normalisation first": 10} {
		s := newSketch(1, 3, 20, 20)
		networks[name](s)
		b, _, err := Import(s.file(t), ImportOptions{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(b.Net.Space.Nodes); got != want {
			t.Errorf("%s: %d operations instead of %d: %+v", name, got, want, b.Net.Space.Nodes)
		}
	}
}
