package onnx

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"weft/kernel"
	"weft/nn"
	"weft/onnx/internal/pb"
	"weft/supernet"
)

// smallest is a network that damages are done to: two layers.
func smallest() *sketch {
	s := newSketch(batch, 3, 20, 20)
	s.classify(s.one("Relu", s.conv("x", 3, 8, 3)), 8)
	return s
}

// TestRefusals: what cannot be imported is refused in one sentence that says what to do or what is the matter.
func TestRefusals(t *testing.T) {
	text := func(name, v string) *pb.Attribute {
		return &pb.Attribute{Name: name, Type: pb.Attribute_STRING, S: []byte(v)}
	}
	for name, c := range map[string]struct {
		build func(s *sketch)
		model func(m *pb.Model)
		want  string
	}{
		"operator":     {build: func(s *sketch) { s.end(s.one("Sigmoid", s.conv("x", 3, 8, 3))) }, want: `node "t4" (Sigmoid): operator is not supported; those that are: Add, AveragePool`},
		"quantised":    {build: func(s *sketch) { s.end(s.do("QLinearConv", []string{"x"})) }, want: "this network is quantised"},
		"extension":    {model: func(m *pb.Model) { m.Graph.Node[0].Domain = "com.microsoft" }, want: "extension com.microsoft"},
		"no name":      {model: func(m *pb.Model) { m.Graph.Node[1].Name, m.Graph.Node[1].OpType = "", "Erf" }, want: "node 2 (Erf): operator is not supported"},
		"old opset":    {model: func(m *pb.Model) { m.OpsetImport[0].Version = 6 }, want: "version 6 of the ONNX operators; export it again with version 7"},
		"no opset":     {model: func(m *pb.Model) { m.OpsetImport = nil }, want: "version 0 of the ONNX operators"},
		"external":     {model: func(m *pb.Model) { m.Graph.Initializer[0].DataLocation = pb.Tensor_EXTERNAL }, want: "lies in a file of its own; export the network with its weights inside"},
		"NaN":          {model: func(m *pb.Model) { copy(m.Graph.Initializer[0].RawData, []byte{0, 0, 0xc0, 0x7f}) }, want: `constant "c1.weight" holds NaN at 0`},
		"too short":    {model: func(m *pb.Model) { m.Graph.Initializer[0].RawData = m.Graph.Initializer[0].RawData[4:] }, want: "has 215 values for shape [8 3 3 3]"},
		"too large":    {model: func(m *pb.Model) { m.Graph.Initializer[0].Dims = []int64{1 << 40, 1 << 40} }, want: "which no file can hold"},
		"negative":     {model: func(m *pb.Model) { m.Graph.Initializer[0].Dims[0] = -8 }, want: "which no file can hold"},
		"bfloat16":     {model: func(m *pb.Model) { m.Graph.Initializer[0].DataType = 16 }, want: "element type 16; export the network with float32"},
		"dynamic size": {model: func(m *pb.Model) { m.Graph.Input[0].Type.TensorType.Shape.Dim[2] = &pb.Dimension{} }, want: `axis 2 of input "x" has no fixed size`},
		"no image":     {model: func(m *pb.Model) { m.Graph.Input[0] = floats("x", batch, 3) }, want: `input "x" has 2 axes`},
		"no floats":    {model: func(m *pb.Model) { m.Graph.Input[0].Type.TensorType.ElemType = pb.Tensor_UINT8 }, want: "is no float32 tensor"},
		"two inputs":   {model: func(m *pb.Model) { m.Graph.Input = append(m.Graph.Input, floats("z", 1, 3, 4, 4)) }, want: "2 inputs and 1 outputs"},
		"no output":    {model: func(m *pb.Model) { m.Graph.Output = nil }, want: "1 inputs and 0 outputs"},
		"other output": {model: func(m *pb.Model) { m.Graph.Output[0].Name = "nothing" }, want: `no node makes the output "nothing"`},
		"order":        {model: func(m *pb.Model) { m.Graph.Node[0].Input[0] = "logits" }, want: `input 1, "logits", is made by no node before it`},
		"channels": {model: func(m *pb.Model) {
			m.Graph.Input[0].Type.TensorType.Shape.Dim[1] = &pb.Dimension{Value: &pb.Dimension_DimValue{DimValue: 4}}
		}, want: "weights of shape [8 3 3 3] in 1 groups for 4 channels"},
		"metadata":       {model: func(m *pb.Model) { m.MetadataProps = []*pb.Property{{Key: metaMean, Value: "a,b"}} }, want: `the file's metadata has "a,b"`},
		"three means":    {model: func(m *pb.Model) { m.MetadataProps = []*pb.Property{{Key: metaMean, Value: "1,2"}} }, want: "2 values for images of 3 channels"},
		"leaky relu":     {build: func(s *sketch) { s.end(s.one("LeakyRelu", s.conv("x", 3, 8, 3))) }, want: "(LeakyRelu): operator is not supported"},
		"h-sigmoid":      {build: func(s *sketch) { s.end(s.one("HardSigmoid", s.conv("x", 3, 8, 3))) }, want: "has alpha 0.2"},
		"clip":           {build: func(s *sketch) { s.end(s.do("Clip", []string{s.conv("x", 3, 8, 3), s.scalar(-1), s.scalar(1)})) }, want: "clips to [-1, 1]"},
		"valid padding":  {build: func(s *sketch) { s.end(s.conv("x", 3, 8, 3, ints("pads", 0, 0, 0, 0))) }, want: "has a kernel of 3 by 3, dilation 1 by 1, stride 1 by 1 and pads [0 0 0 0]"},
		"strides":        {build: func(s *sketch) { s.end(s.conv("x", 3, 8, 3, ints("strides", 1, 2))) }, want: "stride 1 by 2"},
		"large kernel":   {build: func(s *sketch) { s.end(s.conv("x", 3, 8, 11)) }, want: "windows of up to 7 by 7"},
		"zero stride":    {build: func(s *sketch) { s.end(s.conv("x", 3, 8, 3, stride(0))) }, want: "has strides [0 0]"},
		"no logits":      {build: func(s *sketch) { s.end(s.conv("x", 3, 8, 3)) }, want: "is an image of"},
		"nothing":        {build: func(s *sketch) { s.end(s.one("Identity", "x")) }, want: "is the input"},
		"relu of image":  {build: func(s *sketch) { s.classify(s.one("Relu", "x"), 3) }, want: "works on the image itself"},
		"pooled padding": {build: func(s *sketch) { s.classify(s.one("MaxPool", s.conv("x", 3, 8, 3), ints("kernel_shape", 3, 3)), 8) }, want: "weft pools squares"},
		"mirrored": {build: func(s *sketch) {
			s.classify(s.do("Pad", []string{s.conv("x", 3, 8, 3), s.ints(0, 0, 1, 1, 0, 0, 1, 1)}, text("mode", "reflect")), 8)
		}, want: "pads with something else than zeros"},
		"padded relu": {build: func(s *sketch) {
			s.classify(s.one("Relu", s.do("Pad", []string{s.conv("x", 3, 8, 3), s.ints(0, 0, 1, 1, 0, 0, 1, 1)})), 8)
		}, want: "follows a Pad; only Conv may"},
		"reshape":    {build: func(s *sketch) { s.end(s.do("Reshape", []string{s.conv("x", 3, 8, 3), s.ints(0, 4, 2, 400)})) }, want: "only flattening is supported"},
		"transpose":  {build: func(s *sketch) { s.end(s.one("Transpose", s.conv("x", 3, 8, 3), ints("perm", 0, 2, 3, 1))) }, want: "permutes axes by [0 2 3 1]"},
		"gated":      {build: func(s *sketch) { v := s.conv("x", 3, 8, 3); s.end(s.do("Mul", []string{v, s.one("Relu", v)})) }, want: "in another way than squeeze-and-excite"},
		"divided":    {build: func(s *sketch) { s.end(s.do("Div", []string{s.scalar(1), s.conv("x", 3, 8, 3)})) }, want: "divides by the value, or by 0"},
		"by a pixel": {build: func(s *sketch) { s.end(s.do("Mul", []string{s.conv("x", 3, 8, 3), s.random(1, 20, 20)})) }, want: "which is no number a channel"},
		"training": {build: func(s *sketch) {
			v := s.norm(s.conv("x", 3, 8, 3), 8)
			n := s.w.graph.Node
			n[len(n)-1].Attribute = append(n[len(n)-1].Attribute, integer("training_mode", 1))
			s.end(v)
		}, want: "export the network in evaluation mode"},
		"softmax inside": {build: func(s *sketch) { s.end(s.one("Relu", s.one("Softmax", s.conv("x", 3, 8, 3)))) }, want: "is not the last operator"},
	} {
		t.Run(name, func(t *testing.T) {
			s := smallest()
			if c.build != nil {
				s = newSketch(batch, 3, 20, 20)
				c.build(s)
			}
			m := &pb.Model{IrVersion: IR, OpsetImport: []*pb.OperatorSet{{Version: Opset}}, Graph: s.w.graph}
			if c.model != nil {
				c.model(m)
			}
			raw, err := proto.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = Import(raw, ImportOptions{Name: "bad"})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
}

// TestTruncated: every beginning of a file is refused or, if it happens to be whole, read.
func TestTruncated(t *testing.T) {
	raw := smallest().file(t)
	for i := range raw {
		if _, _, err := Import(raw[:i], ImportOptions{Name: "cut"}); err == nil {
			t.Fatalf("the first %d of %d bytes are a network", i, len(raw))
		}
	}
	graph := bytes.Repeat([]byte{0x0a, 0}, maxParts) // empty nodes
	many := protowire.AppendBytes([]byte{0x3a}, graph)
	if _, _, err := Import(many, ImportOptions{}); err == nil || !strings.Contains(err.Error(), "more than the 1048576 nodes, names and constants") {
		t.Error(err)
	}
	for _, other := range []string{"", "{}", "PK\x03\x04 a zip file", strings.Repeat("x", 1000)} {
		if _, _, err := Import([]byte(other), ImportOptions{}); err == nil || !strings.Contains(err.Error(), "this is no ONNX file") {
			t.Errorf("%.10q: %v", other, err)
		}
	}
}

// TestSoftmaxIsNoted: what is left out is told.
func TestSoftmaxIsNoted(t *testing.T) {
	s := newSketch(1, 3, 20, 20)
	flat := s.one("Flatten", s.one("GlobalAveragePool", s.conv("x", 3, 8, 3)))
	s.end(s.one("Softmax", s.do("Gemm", []string{flat, s.random(1, 8, 7), s.random(1, 7)})))
	b, notes, err := Import(s.file(t), ImportOptions{Name: "soft"})
	if err != nil || len(notes) != 1 || !strings.Contains(notes[0], "Softmax at the end is left out") || b.Net.Space.Classes != 7 {
		t.Errorf("notes %q, %v", notes, err)
	}
}

// TestExportRefuses: subnets without statistics and weights that are not finite.
func TestExportRefuses(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	net := randomNet(t, "thin", 32, rng)
	a := net.Space.Min()
	if _, err := Export(net, supernet.Norms{}, a, Options{}); err == nil || !strings.Contains(err.Error(), "no statistics for layer stem.conv1") {
		t.Error(err)
	}
	norms := measured(t, net, a, rng)
	net.W.Data[net.W.Params[net.W.Find(len(net.W.Layers)-1, nn.Weight)].Off] = float32(math.Inf(1))
	if _, err := Export(net, norms, a, Options{}); err == nil || !strings.Contains(err.Error(), "fc.weight holds +Inf at 0") {
		t.Error(err)
	}
}

// FuzzImport: any bytes give an error or a network that runs and can be exported and imported.
func FuzzImport(f *testing.F) {
	for _, build := range networks {
		s := newSketch(batch, 3, 20, 20)
		build(s)
		f.Add(s.file(f))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, _, err := Import(raw, ImportOptions{Name: "fuzz"})
		if err != nil || b.Net.Space.Input.Pixels() > 1<<12 || b.Subnets[0].MACs > 1<<24 {
			return
		}
		pool := kernel.NewPool(1)
		defer pool.Close()
		p, err := supernet.NewTable(b.Net, b.Norms).Plan(b.Net.Space.Max())
		if err != nil {
			t.Fatal(err)
		}
		supernet.NewWorker(pool).Run(p, make([]float32, b.Net.Space.Input.Size()), 1, make([]float32, b.Net.Space.Classes))
		again, err := Export(b.Net, b.Norms, b.Net.Space.Max(), Options{})
		if err != nil {
			return // weights that overflow once they are folded
		}
		if _, _, err := Import(again, ImportOptions{Name: "fuzz"}); err != nil {
			t.Fatal(err)
		}
	})
}
