package oip

import (
	"encoding/binary"
	"math"

	pb "weft/oip/inference"
	"weft/serve"
)

// grpcRequest is an inference request of gRPC, decoded. It is reused.
type grpcRequest struct {
	Request
	memory [][]byte // of the inputs that came as typed contents
}

// decode reads a request. What q then holds may be part of the message.
func (q *grpcRequest) decode(in *pb.ModelInferRequest, md *Metadata) error {
	q.Request = Request{Inputs: grow(q.Inputs, len(md.Inputs)), Outputs: q.Outputs[:0]}
	clear(q.Inputs)
	q.memory = grow(q.memory, len(md.Inputs))
	for name, p := range in.Parameters {
		if err := q.set(parameterOf([]byte(name)), valueOf(p)); err != nil {
			return err
		}
	}
	if raw := len(in.RawInputContents); raw > 0 && raw != len(in.Inputs) {
		return serve.Errorf(serve.Invalid, "the request has %d inputs and %d raw_input_contents: send one for each input, or contents instead", len(in.Inputs), raw)
	}
	for i := range in.Inputs {
		if err := q.input(in, i, md); err != nil {
			return err
		}
	}
	if err := md.complete(q.Inputs); err != nil {
		return err
	}
	if err := q.outputs(in.Outputs, md); err != nil {
		return err
	}
	return md.check(&q.Request)
}

// input takes the i-th input over.
func (q *grpcRequest) input(in *pb.ModelInferRequest, i int, md *Metadata) (err error) {
	from := in.Inputs[i]
	index := md.input([]byte(from.Name))
	if index < 0 {
		return serve.Errorf(serve.Invalid, "the input %.40q is unknown: the model takes %s", from.Name, names(md.Inputs))
	}
	spec, t := &md.Inputs[index], &q.Inputs[index]
	if t.Datatype != NoType {
		return serve.Errorf(serve.Invalid, "the request has the input %q twice: send it once", from.Name)
	}
	*t = Tensor{Name: spec.Name, Datatype: parseDatatype([]byte(from.Datatype)), Shape: from.Shape}
	if err := spec.checkType(t.Datatype, []byte(from.Datatype)); err != nil {
		return err
	}
	if err := md.checkShape(spec, t.Shape); err != nil {
		return err
	}
	switch {
	case len(in.RawInputContents) == 0:
		q.memory[index], err = appendContents(q.memory[index][:0], t, from.Contents)
		t.Data = q.memory[index]
		return err
	case from.Contents != nil:
		return serve.Errorf(serve.Invalid, "the input %s has contents and the request raw_input_contents: send one of the two", from.Name)
	}
	t.Data = in.RawInputContents[i]
	return nil
}

// outputs takes the wanted outputs over, all if none is named.
func (q *grpcRequest) outputs(wanted []*pb.ModelInferRequest_InferRequestedOutputTensor, md *Metadata) error {
	for _, w := range wanted {
		out := Output{Index: md.output([]byte(w.Name))}
		if err := md.wanted(q.Outputs, out.Index, []byte(w.Name)); err != nil {
			return err
		}
		if c := w.Parameters["classification"]; c != nil {
			if err := out.classify(valueOf(c)); err != nil {
				return err
			}
		}
		q.Outputs = append(q.Outputs, out)
	}
	if len(q.Outputs) == 0 {
		q.defaultOutputs(md)
	}
	return nil
}

// valueOf returns the value of a parameter.
func valueOf(p *pb.InferParameter) value {
	switch c := p.GetParameterChoice().(type) {
	case *pb.InferParameter_BoolParam:
		return value{kind: Boolean, bool: c.BoolParam, text: boolText}
	case *pb.InferParameter_Int64Param:
		return value{kind: Integer, int: c.Int64Param, number: float64(c.Int64Param)}
	case *pb.InferParameter_Uint64Param:
		return value{kind: Integer, int: int64(min(c.Uint64Param, math.MaxInt64)), number: float64(c.Uint64Param)}
	case *pb.InferParameter_DoubleParam:
		return value{kind: Float, number: c.DoubleParam, text: doubleText}
	case *pb.InferParameter_StringParam:
		return value{kind: String, text: []byte(c.StringParam)}
	}
	return value{text: otherText}
}

// contentsField is the index, among the fields of contents, of that for a datatype.
var contentsField = [...]int{Bool: 0, Int8: 1, Int16: 1, Int32: 1, Int64: 2, Uint8: 3, Uint16: 3, Uint32: 3, Uint64: 4, FP32: 5, FP64: 6, Bytes: 7}

// contentsOf returns the number of elements in the field of the contents that
// is for the datatype, and in all others.
func contentsOf(d Datatype, c *pb.InferTensorContents) (own, others int) {
	lengths := [...]int{
		len(c.GetBoolContents()), len(c.GetIntContents()), len(c.GetInt64Contents()), len(c.GetUintContents()),
		len(c.GetUint64Contents()), len(c.GetFp32Contents()), len(c.GetFp64Contents()), len(c.GetBytesContents()),
	}
	for _, n := range lengths {
		others += n
	}
	own = lengths[contentsField[d]]
	return own, others - own
}

// appendContents appends typed contents in binary.
func appendContents(dst []byte, t *Tensor, c *pb.InferTensorContents) ([]byte, error) {
	d := t.Datatype
	if d == FP16 || d == BF16 {
		return dst, serve.Errorf(serve.Invalid, "the input %s is %v, which has no typed contents: send raw_input_contents", t.Name, d)
	}
	own, others := contentsOf(d, c)
	if n := elements(t.Shape); others > 0 || int64(own) != n {
		return dst, serve.Errorf(serve.Invalid, "the contents of input %s have %d elements in the field of %v, %d in other fields, and the shape needs %d: send exactly those in the field of the datatype", t.Name, own, d, others, n)
	}
	switch d {
	case Bool:
		for _, v := range c.GetBoolContents() {
			b := byte(0)
			if v {
				b = 1
			}
			dst = append(dst, b)
		}
	case Int8, Int16, Int32:
		width, _ := d.bits()
		for i, v := range c.GetIntContents() {
			if int64(v)<<(64-width)>>(64-width) != int64(v) {
				return dst, outOfRange(t, i, int64(v))
			}
			dst = d.appendInt(dst, uint64(v))
		}
	case Uint8, Uint16, Uint32:
		width, _ := d.bits()
		for i, v := range c.GetUintContents() {
			if uint64(v)>>width != 0 {
				return dst, outOfRange(t, i, int64(v))
			}
			dst = d.appendInt(dst, uint64(v))
		}
	case Int64:
		for _, v := range c.GetInt64Contents() {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(v))
		}
	case Uint64:
		for _, v := range c.GetUint64Contents() {
			dst = binary.LittleEndian.AppendUint64(dst, v)
		}
	case FP32:
		for _, v := range c.GetFp32Contents() {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(v))
		}
	case FP64:
		for _, v := range c.GetFp64Contents() {
			dst = binary.LittleEndian.AppendUint64(dst, math.Float64bits(v))
		}
	case Bytes:
		for _, v := range c.GetBytesContents() {
			dst = appendBytes(dst, v)
		}
	}
	return dst, nil
}

func outOfRange(t *Tensor, i int, v int64) error {
	least, most := t.Datatype.limits()
	return serve.Errorf(serve.Invalid, "the element %d of input %s is %d: %v takes %s to %s", i, t.Name, v, t.Datatype, least, most)
}

// typedContents returns the elements of a tensor as typed contents.
func typedContents(t *Tensor) *pb.InferTensorContents {
	c := &pb.InferTensorContents{}
	d, size := t.Datatype, t.Datatype.Size()
	if d == Bytes {
		for data := t.Data; len(data) > 0; {
			element, rest, err := nextBytes(data)
			if err != nil {
				break // models give whole elements
			}
			c.BytesContents = append(c.BytesContents, element)
			data = rest
		}
		return c
	}
	width, signed := d.bits()
	for data := t.Data; len(data) > 0; data = data[size:] {
		v, _ := d.integer(data)
		switch {
		case d == Bool:
			c.BoolContents = append(c.BoolContents, v != 0)
		case d == FP32:
			c.Fp32Contents = append(c.Fp32Contents, math.Float32frombits(uint32(v)))
		case d == FP64:
			c.Fp64Contents = append(c.Fp64Contents, math.Float64frombits(v))
		case d == Int64:
			c.Int64Contents = append(c.Int64Contents, int64(v))
		case d == Uint64:
			c.Uint64Contents = append(c.Uint64Contents, v)
		case signed:
			c.IntContents = append(c.IntContents, int32(int64(v)<<(64-width)>>(64-width)))
		default:
			c.UintContents = append(c.UintContents, uint32(v))
		}
	}
	return c
}

// encodeGRPC returns the message of a response, whose data it keeps. Raw
// contents are what every client of Triton's reads; typed ones are for those
// that ask for them by binary_data_output false.
func (e *endpoint) encodeGRPC(q *Request, id string, resp *Response) (*pb.ModelInferResponse, error) {
	out := &pb.ModelInferResponse{ModelName: e.md.Name, ModelVersion: e.md.Versions[0], Id: id}
	if len(resp.Parameters) > 0 {
		out.Parameters = make(map[string]*pb.InferParameter, len(resp.Parameters))
	}
	for i := range resp.Parameters {
		out.Parameters[resp.Parameters[i].Name] = parameterMessage(&resp.Parameters[i])
	}
	for _, w := range q.Outputs {
		t := &resp.Outputs[w.Index]
		o := &pb.ModelInferResponse_InferOutputTensor{Name: t.Name, Datatype: t.Datatype.String(), Shape: t.Shape}
		out.Outputs = append(out.Outputs, o)
		switch {
		case !q.notBinary:
			out.RawOutputContents = append(out.RawOutputContents, t.Data)
		case t.Datatype == FP16 || t.Datatype == BF16:
			return nil, serve.Errorf(serve.Invalid, "the output %s is %v, which has no typed contents: leave binary_data_output out", t.Name, t.Datatype)
		default:
			o.Contents = typedContents(t)
		}
	}
	return out, nil
}

func parameterMessage(p *Parameter) *pb.InferParameter {
	switch p.Kind {
	case Boolean:
		return &pb.InferParameter{ParameterChoice: &pb.InferParameter_BoolParam{BoolParam: p.Int != 0}}
	case Integer:
		return &pb.InferParameter{ParameterChoice: &pb.InferParameter_Int64Param{Int64Param: p.Int}}
	case Float:
		return &pb.InferParameter{ParameterChoice: &pb.InferParameter_DoubleParam{DoubleParam: p.Number}}
	default:
		return &pb.InferParameter{ParameterChoice: &pb.InferParameter_StringParam{StringParam: p.Text}}
	}
}
