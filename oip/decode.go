package oip

import (
	"math"
	"time"

	"weft/sched"
	"weft/serve"
)

// The tensors of an image model.
const (
	inputName  = "images"
	logitsName = "logits"
	labelName  = "label"
)

// rank is that of the input: N, H, W, C.
const rank = 4

type datatype uint8

const (
	noType datatype = iota
	fp32
	uint8s
)

// output is one requested output tensor.
type output struct {
	label    bool // else logits
	binary   bool
	explicit bool // the request says so for this very output
}

// inferRequest is a decoded inference request. It is reused.
type inferRequest struct {
	id      []byte // as JSON, quoted; nil if none was sent
	outputs []output
	req     serve.Request

	// The input as the JSON describes it.
	typ      datatype
	shape    [rank]int
	haveData bool
	dataDims [rank]int // of nested data; [0] alone of flat data
	nesting  int       // how deep it is
	values   []float32 // the data
	size     int64     // binary_data_size, -1: none
	pixels   []byte    // memory for UINT8 sent as JSON

	binaryOutput bool
}

// bounds are what a model accepts.
type bounds struct {
	h, w, c   int
	maxImages int
}

func (b bounds) imageSize() int { return b.h * b.w * b.c }

func (q *inferRequest) reset() {
	*q = inferRequest{outputs: q.outputs[:0], values: q.values[:0], pixels: q.pixels, size: -1}
}

// decode reads a body whose first header bytes are JSON and whose rest is
// binary data. header -1 means that the body is JSON to its end, 0 that it is
// the raw input alone. What q then holds may be part of the body.
func (q *inferRequest) decode(body []byte, header int, b bounds) error {
	q.reset()
	switch {
	case header == 0:
		return q.raw(body, b)
	case header > len(body):
		return serve.Errorf(serve.Invalid, "the header Inference-Header-Content-Length is %d and the body has %d bytes: send the length of its JSON", header, len(body))
	}
	var rest []byte
	if header > 0 {
		body, rest = body[:header], body[header:]
	}
	s := &scanner{buf: body}
	q.top(s, b)
	s.end()
	if s.err != nil {
		return s.err
	}
	if len(q.outputs) == 0 {
		q.outputs = append(q.outputs, output{binary: q.binaryOutput}, output{label: true, binary: q.binaryOutput})
	}
	return q.input(rest, header > 0, b)
}

// raw takes a body that is one image, and answers in binary.
func (q *inferRequest) raw(body []byte, b bounds) error {
	size := b.imageSize()
	q.outputs = append(q.outputs, output{binary: true}, output{label: true, binary: true})
	q.shape = [rank]int{1, b.h, b.w, b.c}
	switch {
	case len(body) == 4*size && size > 0:
		q.typ = fp32
	case len(body) == size:
		q.typ = uint8s
	default:
		return serve.Errorf(serve.Invalid, "the raw body has %d bytes: send one image, %d bytes as FP32 or %d as UINT8", len(body), 4*size, size)
	}
	q.size = int64(len(body))
	return q.input(body, true, b)
}

// top reads the request object.
func (q *inferRequest) top(s *scanner, b bounds) {
	var seen uint
	for s.open('{'); s.more('}'); {
		switch key := s.key(); string(key) {
		case "id":
			s.once(&seen, 0, "id")
			if !s.null() {
				s.peek()
				start := s.pos
				s.str()
				q.id = s.buf[start:min(s.pos, len(s.buf))]
			}
		case "parameters":
			s.once(&seen, 1, "parameters")
			if !s.null() {
				q.parameters(s)
			}
		case "inputs":
			s.once(&seen, 2, "inputs")
			q.inputs(s, b)
		case "outputs":
			s.once(&seen, 3, "outputs")
			if !s.null() {
				q.readOutputs(s)
			}
		default:
			s.skip()
		}
	}
	if seen&(1<<2) == 0 {
		s.failf("the request has no inputs: send one named %s", inputName)
	}
	for i := range q.outputs {
		if out := &q.outputs[i]; !out.explicit {
			out.binary = q.binaryOutput
		}
	}
}

// parameters reads the request's parameters.
func (q *inferRequest) parameters(s *scanner) {
	var seen uint
	for s.open('{'); s.more('}'); {
		switch key := s.key(); string(key) {
		case "timeout":
			s.once(&seen, 0, "timeout")
			q.req.Timeout = timeout(s)
		case "priority":
			s.once(&seen, 1, "priority")
			q.req.Priority = priority(s)
		case "min_accuracy":
			s.once(&seen, 2, "min_accuracy")
			q.req.MinAccuracy = s.float64()
		case "subnet":
			s.once(&seen, 3, "subnet")
			q.req.Subnet = string(s.str())
		case "late":
			s.once(&seen, 4, "late")
			q.req.Late = late(s)
		case "binary_data_output":
			s.once(&seen, 5, "binary_data_output")
			q.binaryOutput = s.boolean()
		default:
			s.skip()
		}
	}
}

// timeout reads microseconds until the deadline.
func timeout(s *scanner) time.Duration {
	us := s.integer("timeout")
	if limit := serve.MaxTimeout.Microseconds(); us < 0 || us > limit {
		s.failf("timeout is %d: send microseconds, 1 to %d, or 0 for the server's default", us, limit)
	}
	return time.Duration(us) * time.Microsecond
}

// priority reads a priority, of which 1 is the highest and 0 the default, and
// turns it round: the scheduler puts the higher first, 0 last.
func priority(s *scanner) int {
	p := s.integer("priority")
	if p < 0 {
		s.failf("priority is %d: send 1 for the highest, more for lower ones, or 0 for the default", p)
	}
	if p == 0 {
		return 0
	}
	return int(math.MaxInt32 - min(p, math.MaxInt32))
}

func late(s *scanner) sched.LatePolicy {
	switch v := s.str(); string(v) {
	case "reject":
		return sched.Reject
	case "serve":
		return sched.Serve
	default:
		s.failf("late is %.40q: send reject or serve", v)
		return sched.Reject
	}
}

// readOutputs reads which outputs are wanted, and how.
func (q *inferRequest) readOutputs(s *scanner) {
	var seen uint
	for s.open('['); s.more(']'); {
		var out output
		var keys uint
		for s.open('{'); s.more('}'); {
			switch key := s.key(); string(key) {
			case "name":
				s.once(&keys, 0, "name")
				switch name := s.str(); string(name) {
				case logitsName:
				case labelName:
					out.label = true
				default:
					s.failf("the output %.40q is unknown: the model gives %s and %s", name, logitsName, labelName)
				}
			case "parameters":
				s.once(&keys, 1, "parameters")
				out.binary, out.explicit = outputParameters(s)
			default:
				s.skip()
			}
		}
		if keys&1 == 0 {
			s.failf("an output has no name: name it %s or %s", logitsName, labelName)
		}
		bit, name := uint(0), logitsName
		if out.label {
			bit, name = 1, labelName
		}
		s.once(&seen, bit, name)
		q.outputs = append(q.outputs, out)
	}
}

func outputParameters(s *scanner) (binary, explicit bool) {
	var seen uint
	for s.open('{'); s.more('}'); {
		switch key := s.key(); string(key) {
		case "binary_data":
			s.once(&seen, 0, "binary_data")
			binary, explicit = s.boolean(), true
		case "classification":
			s.failf("classification is not offered: ask for %s", labelName)
		default:
			s.skip()
		}
	}
	return binary, explicit
}
