package oip

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"

	"weft/serve"
)

// endpoint is a model as the protocol shows it, with what never changes
// rendered once.
type endpoint struct {
	Model
	md      *Metadata
	router  *serve.Router // nil unless the model is one of the server's
	maxBody int64
	prefix  []byte // opens every response: {"model_name":...,"model_version":...
}

// openBody bounds the body of a request for a model whose tensors may have any size.
const openBody = 64 << 20

func newEndpoint(m Model, r *serve.Router, maxBody int64) *endpoint {
	md := m.Metadata()
	if maxBody == 0 {
		maxBody = md.maxBody()
	}
	e := &endpoint{Model: m, md: md, router: r, maxBody: maxBody}
	e.prefix = append(e.prefix, `{"model_name":`...)
	e.prefix = append(e.prefix, quote(md.Name)...)
	e.prefix = append(e.prefix, `,"model_version":`...)
	e.prefix = append(e.prefix, quote(md.Versions[0])...)
	return e
}

// maxBody returns what a full batch takes as JSON: 24 bytes hold any float64,
// and its comma and spaces.
func (m *Metadata) maxBody() int64 {
	size := int64(64 << 10)
	for i := range m.Inputs {
		n := int64(32)
		for j, d := range m.Inputs[i].Shape {
			if j == 0 && m.MaxBatch > 0 {
				d = int64(m.MaxBatch)
			}
			n *= d
			if d < 0 || m.Inputs[i].Datatype == Bytes {
				return openBody
			}
		}
		size += n
	}
	return size
}

// quote returns the string as JSON.
func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always marshal
	}
	return b
}

// encode appends the response to dst: JSON, then the binary tensors. header is
// the length of the JSON when there are binary tensors, else -1.
func (e *endpoint) encode(dst []byte, q *inferRequest, resp *Response) (out []byte, header int, err error) {
	start := len(dst)
	dst = append(dst, e.prefix...)
	if q.id != nil {
		dst = append(dst, `,"id":`...)
		dst = append(dst, q.id...)
	}
	dst = appendParameterObject(dst, resp.Parameters)
	dst = append(dst, `,"outputs":[`...)
	binaries := false
	for i, out := range q.Outputs {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = appendOutput(dst, &resp.Outputs[out.Index], out.binary); err != nil {
			return dst, -1, err
		}
		binaries = binaries || out.binary
	}
	dst = append(dst, `]}`...)
	if !binaries {
		return dst, -1, nil
	}
	header = len(dst) - start
	for _, out := range q.Outputs {
		if out.binary {
			dst = append(dst, resp.Outputs[out.Index].Data...)
		}
	}
	return dst, header, nil
}

func appendParameterObject(dst []byte, parameters []Parameter) []byte {
	if len(parameters) == 0 {
		return dst
	}
	dst = append(dst, `,"parameters":{`...)
	for i := range parameters {
		p := &parameters[i]
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, p.Name)
		dst = append(dst, ':')
		switch p.Kind {
		case Boolean:
			dst = strconv.AppendBool(dst, p.Int != 0)
		case Integer:
			dst = strconv.AppendInt(dst, p.Int, 10)
		case Float:
			dst = strconv.AppendFloat(dst, p.Number, 'g', -1, 64)
		default:
			dst = appendString(dst, p.Text)
		}
	}
	return append(dst, '}')
}

// appendString appends a string as JSON.
func appendString[T string | []byte](dst []byte, s T) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return append(dst, quote(string(s))...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}

// appendOutput appends the JSON of one output.
func appendOutput(dst []byte, t *Tensor, binaryData bool) ([]byte, error) {
	dst = append(dst, `{"name":`...)
	dst = appendString(dst, t.Name)
	dst = append(dst, `,"datatype":"`...)
	dst = append(dst, t.Datatype.String()...)
	dst = append(dst, `","shape":[`...)
	for i, d := range t.Shape {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendInt(dst, d, 10)
	}
	if binaryData {
		dst = append(dst, `],"parameters":{"binary_data_size":`...)
		dst = strconv.AppendInt(dst, int64(len(t.Data)), 10)
		return append(dst, `}}`...), nil
	}
	dst, err := appendData(append(dst, `],"data":[`...), t)
	return append(dst, `]}`...), err
}

// appendData appends the elements of a tensor, separated by commas.
func appendData(dst []byte, t *Tensor) ([]byte, error) {
	if t.Datatype == FP16 || t.Datatype == BF16 {
		return dst, serve.Errorf(serve.Invalid, "the output %s is %v, which has no form in JSON: ask for it with binary_data", t.Name, t.Datatype)
	}
	start := len(dst)
	data := t.Data
	for i := 0; len(data) > 0; i++ {
		var err error
		if dst, data, err = t.Datatype.appendElement(dst, data); err != nil {
			return dst, serve.Errorf(serve.Invalid, "the element %d of output %s %w: ask for it with binary_data", i, t.Name, err)
		}
		dst = append(dst, ',')
	}
	return dst[:max(len(dst)-1, start)], nil // without the last comma
}

var (
	errNotFinite = serve.Errorf(serve.Invalid, "is NaN or infinite, which JSON can not hold")
	errNotText   = serve.Errorf(serve.Invalid, "is not UTF-8, which JSON can not hold")
)

// appendElement appends the first element of data as JSON and returns the rest.
func (d Datatype) appendElement(dst, data []byte) (out, rest []byte, err error) {
	switch d {
	case Bool:
		return strconv.AppendBool(dst, data[0] != 0), data[1:], nil
	case FP32:
		v := float64(math.Float32frombits(binary.LittleEndian.Uint32(data)))
		if v-v != 0 {
			return dst, data, errNotFinite
		}
		return strconv.AppendFloat(dst, v, 'g', -1, 32), data[4:], nil
	case FP64:
		v := math.Float64frombits(binary.LittleEndian.Uint64(data))
		if v-v != 0 {
			return dst, data, errNotFinite
		}
		return strconv.AppendFloat(dst, v, 'g', -1, 64), data[8:], nil
	case Bytes:
		element, rest, err := nextBytes(data)
		if err == nil && !utf8.Valid(element) {
			err = errNotText
		}
		if err != nil {
			return dst, data, err
		}
		return appendString(dst, element), rest, nil
	}
	width, signed := d.bits()
	v, rest := d.integer(data)
	if signed {
		shift := 64 - width
		return strconv.AppendInt(dst, int64(v)<<shift>>shift, 10), rest, nil
	}
	return strconv.AppendUint(dst, v, 10), rest, nil
}

// integer reads the first element of an integer type, without sign.
func (d Datatype) integer(data []byte) (v uint64, rest []byte) {
	n := d.Size()
	for i := range n {
		v |= uint64(data[i]) << (8 * i)
	}
	return v, data[n:]
}
