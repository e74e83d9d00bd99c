package oip

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"unsafe"

	"weft/serve"
)

const (
	maxRank   = 8    // of a tensor sent as JSON
	maxInputs = 1024 // of a request
)

// input is an input tensor as the JSON describes it.
type input struct {
	index    int // of Metadata.Inputs
	datatype Datatype
	shape    []int64
	size     int64 // binary_data_size, -1: none
	data     []byte
	memory   []byte // of data that were sent as JSON

	haveData bool
	count    int            // elements of the JSON's data
	dims     [maxRank]int64 // of nested data; [0] alone of flat data
	nesting  int            // how deep it is
}

// tensor returns the tensor that the input is.
func (in *input) tensor(name string) Tensor {
	return Tensor{Name: name, Datatype: in.datatype, Shape: in.shape, Data: in.data}
}

// add returns the next input, cleared but for its memory.
func (q *inferRequest) add() (*input, error) {
	n := len(q.inputs)
	if n == maxInputs {
		return nil, serve.Errorf(serve.Invalid, "the request has more than %d inputs: the model takes %s", maxInputs, names(q.md.Inputs))
	}
	if n < cap(q.inputs) {
		q.inputs = q.inputs[:n+1]
	} else {
		q.inputs = append(q.inputs, input{})
	}
	in := &q.inputs[n]
	*in = input{index: -1, size: -1, shape: in.shape[:0], memory: in.memory[:0]}
	return in, nil
}

func (q *inferRequest) readInput(s *scanner) {
	in, err := q.add()
	if err != nil {
		s.fail(err)
		return
	}
	var seen uint
	dataAt := -1 // where data stands that came before its name or datatype
	var typeName []byte
	for s.open('{'); s.more('}'); {
		switch key := s.key(); string(key) {
		case "name":
			s.once(&seen, 0, "name")
			if name := s.str(); s.err == nil {
				if in.index = q.md.input(name); in.index < 0 {
					s.failf("the input %.40q is unknown: the model takes %s", name, names(q.md.Inputs))
				}
			}
		case "shape":
			s.once(&seen, 1, "shape")
			in.readShape(s)
		case "datatype":
			s.once(&seen, 2, "datatype")
			typeName = s.str()
			in.datatype = parseDatatype(typeName)
		case "data":
			s.once(&seen, 3, "data")
			in.haveData = true
			if in.index < 0 || !q.md.Inputs[in.index].takes(in.datatype) {
				s.peek()
				dataAt = s.pos
				s.skip()
			} else {
				in.array(s, 0)
			}
		case "parameters":
			s.once(&seen, 4, "parameters")
			in.parameters(s)
		default:
			s.skip()
		}
	}
	for bit, key := range []string{"name", "shape", "datatype"} {
		if seen&(1<<bit) == 0 {
			s.failf("the input has no %s: send it", key)
		}
	}
	if s.err == nil {
		s.fail(q.md.Inputs[in.index].checkType(in.datatype, typeName))
	}
	if dataAt >= 0 && s.err == nil {
		after := s.pos
		s.pos = dataAt
		in.array(s, 0)
		s.pos = after
	}
}

func (in *input) readShape(s *scanner) {
	for s.open('['); s.more(']'); {
		if d := s.integer("a side of the shape"); len(in.shape) <= maxRank {
			in.shape = append(in.shape, d)
		}
	}
}

func (in *input) parameters(s *scanner) {
	var seen uint
	for s.open('{'); s.more('}'); {
		if string(s.key()) != "binary_data_size" {
			s.skip()
			continue
		}
		s.once(&seen, 0, "binary_data_size")
		if in.size = s.integer("binary_data_size"); in.size < 0 {
			s.failf("binary_data_size is %d: send the number of bytes", in.size)
		}
	}
}

// array reads data: elements, or arrays nested as the shape. depth counts from 0.
func (in *input) array(s *scanner, depth int) {
	n := int64(0)
	for s.open('['); s.more(']'); n++ {
		if s.peek() == '[' {
			if depth+1 == maxRank || in.nesting == depth+1 {
				s.failf("the data is nested unevenly at byte %d: nest it as the shape, or not at all", s.pos)
				return
			}
			in.array(s, depth+1)
			continue
		}
		if in.nesting == 0 {
			in.nesting = depth + 1
		}
		if in.nesting != depth+1 {
			s.failf("the data is nested unevenly at byte %d: nest it as the shape, or not at all", s.pos)
			return
		}
		in.memory = in.datatype.appendJSON(in.memory, s)
		in.count++
	}
	if in.dims[depth] == 0 {
		in.dims[depth] = n
	}
	if s.err == nil && (n == 0 && depth > 0 || n != in.dims[depth]) {
		s.failf("the data has arrays that are empty or differ in length before byte %d: nest it as the shape, or not at all", s.pos)
	}
}

// appendJSON reads an element and appends it in binary.
func (d Datatype) appendJSON(dst []byte, s *scanner) []byte {
	switch d {
	case FP32:
		return binary.LittleEndian.AppendUint32(dst, math.Float32bits(s.float32()))
	case FP64:
		return binary.LittleEndian.AppendUint64(dst, math.Float64bits(s.float64()))
	case Bytes:
		return appendBytes(dst, s.str())
	case Bool:
		if s.boolean() {
			return append(dst, 1)
		}
		return append(dst, 0)
	case FP16, BF16:
		s.failf("%v has no form in JSON: send it in binary", d)
		return dst
	default:
		return d.appendInt(dst, s.integerOf(d))
	}
}

// integerOf reads a number that fits the integer type, and returns its bits.
// Integers may be written with a point or an exponent while a float64 holds them.
func (s *scanner) integerOf(d Datatype) uint64 {
	token, whole := s.number()
	if s.err != nil {
		return 0
	}
	text := unsafe.String(unsafe.SliceData(token), len(token))
	width, signed := d.bits()
	var bits uint64
	var err error
	switch {
	case !whole:
		var f float64
		f, err = strconv.ParseFloat(text, 64)
		if f != math.Trunc(f) || math.Abs(f) >= 1<<53 {
			err = strconv.ErrRange
		}
		bits = uint64(int64(f))
		if v := int64(f); signed && (v<<(64-width))>>(64-width) != v || !signed && (v < 0 || bits>>width != 0) {
			err = strconv.ErrRange
		}
	case signed:
		var v int64
		v, err = strconv.ParseInt(text, 10, width)
		bits = uint64(v)
	case text == "-0":
	default:
		bits, err = strconv.ParseUint(text, 10, width)
	}
	if err != nil {
		least, most := d.limits()
		s.failf("the value %.40s does not fit %v: send integers of %s to %s", string(token), d, least, most)
	}
	return bits
}

// limits returns the least and the greatest value of an integer type.
func (d Datatype) limits() (least, most string) {
	width, signed := d.bits()
	if signed {
		return strconv.FormatInt(-1<<(width-1), 10), strconv.FormatInt(1<<(width-1)-1, 10)
	}
	return "0", strconv.FormatUint(1<<width-1, 10)
}

// bind takes each input's data from the JSON or from rest, the binary data,
// and puts the inputs in the order of the model.
func (q *inferRequest) bind(rest []byte, binaryBody bool) error {
	for i := range q.inputs {
		in := &q.inputs[i]
		spec := &q.md.Inputs[in.index]
		name := spec.Name
		if err := q.md.checkShape(spec, in.shape); err != nil {
			return err
		}
		if in.size < 0 {
			if err := in.fromJSON(name); err != nil {
				return err
			}
			continue
		}
		switch {
		case in.haveData:
			return serve.Errorf(serve.Invalid, "the input %s has both data and binary_data_size: send one", name)
		case !binaryBody:
			return serve.Errorf(serve.Invalid, "the input %s has binary_data_size and the request no header Inference-Header-Content-Length: send the length of the JSON in it", name)
		case in.size > int64(len(rest)):
			return serve.Errorf(serve.Invalid, "the binary_data_size of input %s is %d and %d bytes follow the JSON: send exactly those", name, in.size, len(rest))
		}
		in.data, rest = rest[:in.size], rest[in.size:]
	}
	if len(rest) > 0 {
		return serve.Errorf(serve.Invalid, "%d bytes follow the JSON that belong to no input: say in binary_data_size whose they are", len(rest))
	}
	return q.order()
}

// fromJSON takes the data of the JSON.
func (in *input) fromJSON(name string) error {
	n := elements(in.shape)
	switch {
	case !in.haveData:
		return serve.Errorf(serve.Invalid, "the input %s has neither data nor binary_data_size: send one", name)
	case int64(in.count) != n:
		return serve.Errorf(serve.Invalid, "the data of input %s has %d values and the shape needs %d: send exactly those", name, in.count, n)
	case in.nesting > 1 && !slices.Equal(in.dims[:in.nesting], in.shape):
		return serve.Errorf(serve.Invalid, "the data of input %s is nested as %v and the shape is %v: nest it as the shape, or not at all", name, in.dims[:in.nesting], in.shape)
	}
	in.data = in.memory
	return nil
}

// order puts the inputs in the order of the model.
func (q *inferRequest) order() error {
	md := q.md
	q.Inputs = grow(q.Inputs, len(md.Inputs))
	clear(q.Inputs)
	for i := range q.inputs {
		in := &q.inputs[i]
		t := &q.Inputs[in.index]
		if t.Datatype != NoType {
			return serve.Errorf(serve.Invalid, "the request has the input %q twice: send it once", md.Inputs[in.index].Name)
		}
		*t = in.tensor(md.Inputs[in.index].Name)
	}
	return md.complete(q.Inputs)
}

// complete reports an input that is missing.
func (m *Metadata) complete(inputs []Tensor) error {
	for i := range inputs {
		if inputs[i].Datatype == NoType {
			return serve.Errorf(serve.Invalid, "the request lacks the input %s: the model takes %s", m.Inputs[i].Name, names(m.Inputs))
		}
	}
	return nil
}

// rawShape finds the shape of a raw body: batch 1, and for one variable side
// what the bytes amount to. A body may also be of the input's second datatype.
func (in *input) rawShape(md *Metadata, spec *TensorMetadata) error {
	free := -1
	for i, d := range in.shape {
		switch {
		case i == 0 && md.MaxBatch > 0 || d < 0 && spec.Datatype == Bytes:
			in.shape[i] = 1
		case d < 0 && free >= 0:
			return serve.Errorf(serve.Invalid, "the body is raw and the input %s has several variable sides: send JSON before it", spec.Name)
		case d < 0:
			free = i
			in.shape[i] = 1
		}
	}
	if spec.Datatype == Bytes {
		return nil
	}
	have, n := int64(len(in.data)), elements(in.shape)
	size := int64(spec.Datatype.Size())
	switch {
	case have == n*size:
	case free < 0 && spec.Also != NoType && have == n*int64(spec.Also.Size()):
		in.datatype = spec.Also
	case free >= 0 && have%(n*size) == 0:
		in.shape[free] = have / (n * size)
	case spec.Also != NoType:
		return serve.Errorf(serve.Invalid, "the raw body has %d bytes: send one element of the batch, %d bytes as %v or %d as %v", have, n*size, spec.Datatype, n*int64(spec.Also.Size()), spec.Also)
	default:
		return serve.Errorf(serve.Invalid, "the raw body has %d bytes: send one element of the batch, %d bytes as %v", have, n*size, spec.Datatype)
	}
	return nil
}
