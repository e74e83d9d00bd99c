package oip

import (
	"slices"

	"weft/serve"
)

// inferRequest is an inference request of HTTP, decoded. It is reused.
type inferRequest struct {
	Request
	id []byte // as JSON, quoted; nil if none was sent

	md     *Metadata
	inputs []input // as they come
}

// reset forgets the request before, but for its memory.
func (q *inferRequest) reset(md *Metadata) {
	q.Request = Request{Inputs: q.Inputs[:0], Outputs: q.Outputs[:0]}
	q.id, q.md, q.inputs = nil, md, q.inputs[:0]
}

// decode reads a body whose first header bytes are JSON and whose rest is
// binary data. header -1 means that the body is JSON to its end, 0 that it is
// the raw input alone. What q then holds may be part of the body.
func (q *inferRequest) decode(body []byte, header int, md *Metadata) error {
	q.reset(md)
	switch {
	case header == 0:
		return q.raw(body)
	case header > len(body):
		return serve.Errorf(serve.Invalid, "the header Inference-Header-Content-Length is %d and the body has %d bytes: send the length of its JSON", header, len(body))
	}
	var rest []byte
	if header > 0 {
		body, rest = body[:header], body[header:]
	}
	s := &scanner{buf: body}
	q.top(s)
	s.end()
	if s.err != nil {
		return s.err
	}
	q.allOutputs()
	if err := q.bind(rest, header > 0); err != nil {
		return err
	}
	return md.check(&q.Request)
}

// defaultOutputs asks for every output.
func (q *Request) defaultOutputs(md *Metadata) {
	for i := 0; len(q.Outputs) < len(md.Outputs); i++ {
		q.Outputs = append(q.Outputs, Output{Index: i})
	}
}

// allOutputs asks for every output if none is named, and settles in which form.
func (q *inferRequest) allOutputs() {
	if len(q.Outputs) == 0 {
		q.defaultOutputs(q.md)
	}
	for i := range q.Outputs {
		if out := &q.Outputs[i]; !out.explicit {
			out.binary = q.binary
		}
	}
}

// raw takes a body that is one input of batch 1, and answers in binary.
func (q *inferRequest) raw(body []byte) error {
	md := q.md
	q.defaultOutputs(md)
	for i := range q.Outputs {
		q.Outputs[i].binary = true
	}
	if len(md.Inputs) != 1 {
		return serve.Errorf(serve.Invalid, "the body is raw and the model %s takes %d inputs: send JSON before them", md.Name, len(md.Inputs))
	}
	in, err := q.add()
	if err != nil {
		return err
	}
	spec := &md.Inputs[0]
	in.shape = append(in.shape[:0], spec.Shape...)
	in.datatype, in.data, in.size = spec.Datatype, body, int64(len(body))
	if spec.Datatype == Bytes {
		in.memory = appendBytes(in.memory[:0], body)
		in.data = in.memory
	}
	if err := in.rawShape(md, spec); err != nil {
		return err
	}
	q.Inputs = append(q.Inputs, in.tensor(spec.Name))
	return md.check(&q.Request)
}

// top reads the request object.
func (q *inferRequest) top(s *scanner) {
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
			for s.open('['); s.more(']'); {
				q.readInput(s)
			}
		case "outputs":
			s.once(&seen, 3, "outputs")
			if !s.null() {
				q.readOutputs(s)
			}
		default:
			s.skip()
		}
	}
	if len(q.inputs) == 0 {
		s.failf("the request has no inputs: send %s", names(q.md.Inputs))
	}
}

// parameters reads the request's parameters.
func (q *inferRequest) parameters(s *scanner) {
	var seen uint
	for s.open('{'); s.more('}'); {
		p := parameterOf(s.key())
		if p == otherParameter {
			s.skip()
			continue
		}
		s.once(&seen, uint(p), parameterNames[p])
		if v := s.value(); s.err == nil {
			s.fail(q.set(p, v))
		}
	}
}

// readOutputs reads which outputs are wanted, and how.
func (q *inferRequest) readOutputs(s *scanner) {
	for s.open('['); s.more(']'); {
		out := Output{Index: -1}
		var keys uint
		for s.open('{'); s.more('}'); {
			switch key := s.key(); string(key) {
			case "name":
				s.once(&keys, 0, "name")
				if name := s.str(); s.err == nil {
					out.Index = q.md.output(name)
					s.fail(q.md.wanted(q.Outputs, out.Index, name))
				}
			case "parameters":
				s.once(&keys, 1, "parameters")
				out.parameters(s)
			default:
				s.skip()
			}
		}
		if keys&1 == 0 {
			s.failf("an output has no name: name one of %s", names(q.md.Outputs))
		}
		q.Outputs = append(q.Outputs, out)
	}
}

// wanted reports an output that is unknown or wanted already.
func (m *Metadata) wanted(have []Output, index int, name []byte) error {
	if index < 0 {
		return serve.Errorf(serve.Invalid, "the output %.40q is unknown: the model gives %s", name, names(m.Outputs))
	}
	if slices.ContainsFunc(have, func(o Output) bool { return o.Index == index }) {
		return serve.Errorf(serve.Invalid, "the request names the output %q twice: name it once", name)
	}
	return nil
}

func (o *Output) parameters(s *scanner) {
	var seen uint
	for s.open('{'); s.more('}'); {
		switch key := s.key(); string(key) {
		case "binary_data":
			s.once(&seen, 0, "binary_data")
			o.binary, o.explicit = s.boolean(), true
		case "classification":
			s.once(&seen, 1, "classification")
			if v := s.value(); s.err == nil {
				s.fail(o.classify(v))
			}
		default:
			s.skip()
		}
	}
}

// classify takes the number of classes that are wanted.
func (o *Output) classify(v value) error {
	if v.kind != Integer || v.int < 1 || v.int > 1<<20 {
		return serve.Errorf(serve.Invalid, "classification is %.40q: send how many classes you want, 1 or more", v.text)
	}
	o.Classes = int(v.int)
	return nil
}
