package oip

import (
	"context"
	"strconv"
	"strings"
	"time"

	"weft/sched"
	"weft/serve"
)

// Model answers tensors with tensors. It is safe for concurrent use.
type Model interface {
	// Metadata describes the model. It never changes and must not be changed.
	Metadata() *Metadata
	// Ready reports whether requests are taken.
	Ready() bool
	// Infer answers a request that Metadata allows. It fills in every output, in
	// the order of Metadata, and keeps neither argument. Errors have a serve.Code.
	Infer(ctx context.Context, req *Request, resp *Response) error
	// Statistics returns what has been counted so far.
	Statistics() serve.Statistics
}

// Metadata describes a model.
type Metadata struct {
	Name     string           `json:"name"`
	Versions []string         `json:"versions"` // one
	Platform string           `json:"platform"`
	Inputs   []TensorMetadata `json:"inputs"`
	Outputs  []TensorMetadata `json:"outputs"`
	// Properties are, for an image model, max_batch, policy, subnets (how many)
	// and, if they have names, classes (separated by commas).
	Properties map[string]string `json:"properties,omitempty"`

	// MaxBatch, if not 0, says that the first side of every shape is the batch,
	// and bounds it.
	MaxBatch int `json:"-"`
	// Labels name the classes that a classification of an output may find, by the output's name.
	Labels map[string][]string `json:"-"`
}

// TensorMetadata describes an input or output.
type TensorMetadata struct {
	Name     string   `json:"name"`
	Datatype Datatype `json:"datatype"`
	Shape    []int64  `json:"shape"` // -1: any size
	// Also is a second datatype that an input takes (NoType: none).
	Also Datatype `json:"-"`
}

// Request is an inference request, whatever it came in.
type Request struct {
	// Inputs are in the order of Metadata.Inputs.
	Inputs []Tensor
	// Outputs are those wanted, in the order wanted.
	Outputs []Output
	// Start is when the request came.
	Start time.Time
	// Timeout is the time from Start to the deadline (0: the server's default).
	Timeout time.Duration
	// Priority orders requests of equal deadline; the higher goes first.
	Priority int
	// Tenant, MinAccuracy, Subnet and Late are as in serve.Request.
	Tenant      string
	MinAccuracy float64
	Subnet      string
	Late        sched.LatePolicy

	binary    bool // outputs are wanted in binary unless they say otherwise
	notBinary bool // binary is said to be false
}

// Output is a wanted output.
type Output struct {
	Index   int // of Metadata.Outputs
	Classes int // the classes with the largest values instead of all values; 0: the values

	binary   bool
	explicit bool // the request says so for this very output
}

// Response is the answer to a Request.
type Response struct {
	// Outputs are all of the model's, in the order of Metadata.Outputs.
	Outputs    []Tensor
	Parameters []Parameter
}

// Parameter is one of a response's parameters.
type Parameter struct {
	Name   string
	Kind   Kind
	Text   string  // of a String
	Number float64 // of a Float
	Int    int64   // of an Integer; 1 for a Boolean that is true
}

// Kind is the type of a parameter's value.
type Kind uint8

// The kinds of values. Other is what the protocol does not know as a value.
const (
	Other Kind = iota
	Boolean
	Integer
	Float
	String
)

// reset makes room for the outputs of a model, keeping memory.
func (r *Response) reset(m *Metadata) {
	r.Parameters = r.Parameters[:0]
	r.Outputs = grow(r.Outputs, len(m.Outputs))
	for i := range r.Outputs {
		out := &r.Outputs[i]
		out.Name, out.Datatype = m.Outputs[i].Name, m.Outputs[i].Datatype
		out.Shape, out.Data = out.Shape[:0], out.Data[:0]
	}
}

// check reports a request whose tensors are not those of the metadata.
func (m *Metadata) check(q *Request) error {
	if len(q.Inputs) != len(m.Inputs) {
		return serve.Errorf(serve.Invalid, "the request has %d inputs and the model %s takes %d: send those that its metadata name", len(q.Inputs), m.Name, len(m.Inputs))
	}
	for i := range q.Inputs {
		t, spec := &q.Inputs[i], &m.Inputs[i]
		if err := m.checkShape(spec, t.Shape); err != nil {
			return err
		}
		if m.MaxBatch > 0 && t.Shape[0] != q.Inputs[0].Shape[0] {
			return serve.Errorf(serve.Invalid, "the inputs %s and %s have batches of %d and %d: send them alike", q.Inputs[0].Name, t.Name, q.Inputs[0].Shape[0], t.Shape[0])
		}
		if err := t.checkData(); err != nil {
			return err
		}
	}
	return nil
}

// takes reports whether the input takes the datatype.
func (s *TensorMetadata) takes(d Datatype) bool {
	return d != NoType && (d == s.Datatype || d == s.Also)
}

// checkType reports a datatype that the input does not take.
func (s *TensorMetadata) checkType(d Datatype, name []byte) error {
	switch {
	case s.takes(d):
		return nil
	case s.Also == NoType:
		return serve.Errorf(serve.Invalid, "the datatype %.40q is not accepted: the input %s takes %v", name, s.Name, s.Datatype)
	case s.Name == inputName:
		return serve.Errorf(serve.Invalid, "the datatype %.40q is not accepted: send FP32 (pixel/255) or UINT8 (0..255)", name)
	}
	return serve.Errorf(serve.Invalid, "the datatype %.40q is not accepted: the input %s takes %v or %v", name, s.Name, s.Datatype, s.Also)
}

// checkShape reports a shape that the input does not take.
func (m *Metadata) checkShape(spec *TensorMetadata, shape []int64) error {
	fits := len(shape) == len(spec.Shape)
	for i := 0; fits && i < len(shape); i++ {
		fits = shape[i] == spec.Shape[i] || spec.Shape[i] < 0 && shape[i] >= 0
	}
	if fits && m.MaxBatch > 0 {
		if shape[0] > int64(m.MaxBatch) {
			return serve.Errorf(serve.Invalid, "the request has a batch of %d and the model takes at most %d at a time: send it in parts", shape[0], m.MaxBatch)
		}
		fits = shape[0] > 0
	}
	if !fits || elements(shape) < 0 {
		return serve.Errorf(serve.Invalid, "the shape of input %s does not fit: the model takes %s", spec.Name, m.shapeText(spec.Shape))
	}
	return nil
}

// shapeText writes a shape such as [n,28,28,1] with n of 1 to 16.
func (m *Metadata) shapeText(shape []int64) string {
	b := []byte{'['}
	for i, d := range shape {
		if i > 0 {
			b = append(b, ',')
		}
		switch {
		case i == 0 && m.MaxBatch > 0:
			b = append(b, 'n')
		default:
			b = strconv.AppendInt(b, d, 10)
		}
	}
	b = append(b, ']')
	if m.MaxBatch > 0 {
		b = append(b, " with n of 1 to "...)
		b = strconv.AppendInt(b, int64(m.MaxBatch), 10)
	}
	return string(b)
}

// input and output return the index of the tensor of that name, or -1.
func (m *Metadata) input(name []byte) int  { return tensorIndex(m.Inputs, name) }
func (m *Metadata) output(name []byte) int { return tensorIndex(m.Outputs, name) }

func tensorIndex(list []TensorMetadata, name []byte) int {
	for i := range list {
		if list[i].Name == string(name) {
			return i
		}
	}
	return -1
}

// names lists tensors for the sentence of an error.
func names(list []TensorMetadata) string {
	var s strings.Builder
	for i := range list {
		switch {
		case i > 0 && i == len(list)-1:
			s.WriteString(" and ")
		case i > 0:
			s.WriteString(", ")
		}
		s.WriteString(list[i].Name)
	}
	return s.String()
}
