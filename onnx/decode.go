package onnx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"weft/onnx/internal/pb"
	"weft/safetensors"
)

// Limits on what is read.
const (
	maxFile  = 1 << 30 // bytes
	maxParts = 1 << 20 // messages and strings, which take more memory than they have bytes
	minOpset = 7       // before it, broadcasting worked otherwise
)

// decode parses a file and checks what holds for the whole of it.
func decode(data []byte) (*pb.Model, error) {
	if len(data) > maxFile {
		return nil, fmt.Errorf("the file has %d bytes, more than the %d that are read", len(data), maxFile)
	}
	m := &pb.Model{}
	parts, err := count(data, m.ProtoReflect().Descriptor(), 0)
	switch {
	case parts > maxParts:
		return nil, fmt.Errorf("the file has more than the %d nodes, names and constants that are read", maxParts)
	case err == nil:
		err = proto.Unmarshal(data, m)
	}
	if err != nil || m.GetGraph() == nil {
		return nil, errors.New("this is no ONNX file, or it is truncated; export the network again")
	}
	opset := int64(0)
	for _, s := range m.OpsetImport {
		if s.Domain == "" || s.Domain == "ai.onnx" {
			opset = s.Version
		}
	}
	if opset < minOpset {
		return nil, fmt.Errorf("the file uses version %d of the ONNX operators; export it again with version %d or later", opset, minOpset)
	}
	return m, nil
}

// count adds the messages and strings of a message that package pb knows to n, until they are too many.
func count(data []byte, m protoreflect.MessageDescriptor, n int) (int, error) {
	for len(data) > 0 && n <= maxParts {
		num, typ, head := protowire.ConsumeTag(data)
		if head < 0 {
			return n, protowire.ParseError(head)
		}
		size := protowire.ConsumeFieldValue(num, typ, data[head:])
		if size < 0 {
			return n, protowire.ParseError(size)
		}
		if f := m.Fields().ByNumber(num); f != nil && typ == protowire.BytesType {
			n++
			if f.Message() != nil {
				var err error
				value, _ := protowire.ConsumeBytes(data[head:])
				if n, err = count(value, f.Message(), n); err != nil {
					return n, err
				}
			}
		}
		data = data[head+size:]
	}
	return n, nil
}

// A constant of the graph: floats, or integers such as shapes and axes.
type constant struct {
	dims   []int
	floats []float32 // nil for integers
	ints   []int64   // nil for floats
}

// size returns the number of elements of a shape, or -1 if that is more than a file can hold.
func size(dims []int64) int {
	n := int64(1)
	for _, d := range dims {
		if d < 0 || d > maxFile || n*d > maxFile {
			return -1
		}
		n *= d
	}
	return int(n)
}

// decodeTensor reads a constant.
func decodeTensor(t *pb.Tensor) (*constant, error) {
	n := size(t.Dims)
	out := &constant{}
	for _, d := range t.Dims {
		out.dims = append(out.dims, int(d))
	}
	switch {
	case t.DataLocation == pb.Tensor_EXTERNAL || len(t.ExternalData) > 0:
		return nil, fmt.Errorf("constant %q lies in a file of its own; export the network with its weights inside", t.Name)
	case n < 0:
		return nil, fmt.Errorf("constant %q has shape %v, which no file can hold; the file is damaged", t.Name, t.Dims)
	}
	raw := t.RawData
	switch t.DataType {
	case pb.Tensor_FLOAT:
		out.floats = values(raw, t.FloatData, 4, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) })
	case pb.Tensor_DOUBLE:
		out.floats = values(raw, narrow(t.DoubleData), 8, func(b []byte) float32 {
			return float32(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		})
	case pb.Tensor_FLOAT16:
		half := make([]float32, len(t.Int32Data))
		for i, v := range t.Int32Data {
			half[i] = safetensors.FromF16(uint16(v))
		}
		out.floats = values(raw, half, 2, func(b []byte) float32 { return safetensors.FromF16(binary.LittleEndian.Uint16(b)) })
	case pb.Tensor_INT64:
		out.ints = values(raw, t.Int64Data, 8, func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) })
	case pb.Tensor_INT32:
		out.ints = values(raw, widen(t.Int32Data), 4, func(b []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(b))) })
	case pb.Tensor_INT8:
		out.ints = values(raw, widen(t.Int32Data), 1, func(b []byte) int64 { return int64(int8(b[0])) })
	case pb.Tensor_UINT8:
		out.ints = values(raw, widen(t.Int32Data), 1, func(b []byte) int64 { return int64(b[0]) })
	default:
		return nil, fmt.Errorf("constant %q has element type %d; export the network with float32 weights", t.Name, t.DataType)
	}
	if max(len(out.floats), len(out.ints)) != n {
		return nil, fmt.Errorf("constant %q has %d values for shape %v; the file is damaged", t.Name, max(len(out.floats), len(out.ints)), t.Dims)
	}
	if i := slices.IndexFunc(out.floats, func(v float32) bool { return v-v != 0 }); i >= 0 {
		return nil, fmt.Errorf("constant %q holds %v at %d; the network is broken", t.Name, out.floats[i], i)
	}
	return out, nil
}

// values returns the elements from raw bytes, or those of the typed field without any.
func values[T any](raw []byte, typed []T, width int, one func([]byte) T) []T {
	if len(raw) == 0 {
		return typed
	}
	out := make([]T, len(raw)/width)
	for i := range out {
		out[i] = one(raw[i*width:])
	}
	return out
}

func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

func widen(v []int32) []int64 {
	out := make([]int64, len(v))
	for i, x := range v {
		out[i] = int64(x)
	}
	return out
}

// attrs are the attributes of a node.
type attrs map[string]*pb.Attribute

func attributes(n *pb.Node) attrs {
	a := attrs{}
	for _, at := range n.Attribute {
		a[at.Name] = at
	}
	return a
}

func (a attrs) int(name string, def int) int {
	if at := a[name]; at != nil {
		return int(at.I)
	}
	return def
}

func (a attrs) float(name string, def float64) float64 {
	if at := a[name]; at != nil {
		return float64(at.F)
	}
	return def
}

// ints returns a list, or def without the attribute.
func (a attrs) ints(name string, def ...int) []int {
	at := a[name]
	if at == nil {
		return def
	}
	out := make([]int, len(at.Ints))
	for i, v := range at.Ints {
		out[i] = int(v)
	}
	return out
}

func (a attrs) text(name string) string {
	if at := a[name]; at != nil {
		return string(at.S)
	}
	return ""
}
