package oip

import (
	"encoding/binary"
	"math"

	"weft/serve"
)

func (q *inferRequest) inputs(s *scanner, b bounds) {
	n := 0
	for s.open('['); s.more(']'); n++ {
		if n > 0 {
			s.failf("the request has several inputs: the model takes %s alone", inputName)
			return
		}
		q.readInput(s, b)
	}
	if n == 0 {
		s.failf("the request has no inputs: send one named %s", inputName)
	}
}

func (q *inferRequest) readInput(s *scanner, b bounds) {
	var seen uint
	for s.open('{'); s.more('}'); {
		switch key := s.key(); string(key) {
		case "name":
			s.once(&seen, 0, "name")
			if name := s.str(); string(name) != inputName {
				s.failf("the input %.40q is unknown: the model takes %s", name, inputName)
			}
		case "shape":
			s.once(&seen, 1, "shape")
			q.readShape(s, b)
		case "datatype":
			s.once(&seen, 2, "datatype")
			q.typ = readType(s)
		case "data":
			s.once(&seen, 3, "data")
			q.haveData = true
			q.array(s, 0, b.maxImages*b.imageSize())
		case "parameters":
			s.once(&seen, 4, "parameters")
			q.inputParameters(s)
		default:
			s.skip()
		}
	}
	for bit, key := range []string{"name", "shape", "datatype"} {
		if seen&(1<<bit) == 0 {
			s.failf("the input has no %s: send it", key)
		}
	}
}

func readType(s *scanner) datatype {
	switch name := s.str(); string(name) {
	case "FP32":
		return fp32
	case "UINT8":
		return uint8s
	default:
		s.failf("the datatype %.40q is not accepted: send FP32 (pixel/255) or UINT8 (0..255)", name)
		return noType
	}
}

func (q *inferRequest) readShape(s *scanner, b bounds) {
	n := 0
	for s.open('['); s.more(']'); n++ {
		d := s.integer("a side of the shape")
		if n < rank {
			q.shape[n] = int(min(d, math.MaxInt32))
		}
	}
	sh := &q.shape
	switch {
	case s.err != nil:
	case n != rank || sh[1] != b.h || sh[2] != b.w || sh[3] != b.c || sh[0] < 1:
		s.failf("the shape does not fit: the model takes [n,%d,%d,%d] with n of 1 to %d", b.h, b.w, b.c, b.maxImages)
	case sh[0] > b.maxImages:
		s.failf("the request has %d images and the model takes at most %d at a time: send it in parts", sh[0], b.maxImages)
	}
}

func (q *inferRequest) inputParameters(s *scanner) {
	var seen uint
	for s.open('{'); s.more('}'); {
		if string(s.key()) != "binary_data_size" {
			s.skip()
			continue
		}
		s.once(&seen, 0, "binary_data_size")
		if q.size = s.integer("binary_data_size"); q.size < 0 {
			s.failf("binary_data_size is %d: send the number of bytes", q.size)
		}
	}
}

// array reads data: numbers, or arrays nested as the shape. depth counts from 0.
func (q *inferRequest) array(s *scanner, depth, limit int) {
	n := 0
	for s.open('['); s.more(']'); n++ {
		if s.peek() == '[' {
			if depth+1 == rank || q.nesting == depth+1 {
				s.failf("the data is nested unevenly at byte %d: nest it as the shape, or not at all", s.pos)
				return
			}
			q.array(s, depth+1, limit)
			continue
		}
		if q.nesting == 0 {
			q.nesting = depth + 1
		}
		if q.nesting != depth+1 {
			s.failf("the data is nested unevenly at byte %d: nest it as the shape, or not at all", s.pos)
			return
		}
		if len(q.values) == limit {
			s.failf("the data has more than %d values, what the model takes at a time: send it in parts", limit)
			return
		}
		q.values = append(q.values, s.float32())
	}
	if q.dataDims[depth] == 0 {
		q.dataDims[depth] = n
	}
	if s.err == nil && (n == 0 || n != q.dataDims[depth]) {
		s.failf("the data has arrays that are empty or differ in length before byte %d: nest it as the shape, or not at all", s.pos)
	}
}

// input takes the images from the JSON or from rest, the binary data.
func (q *inferRequest) input(rest []byte, binaryBody bool, b bounds) error {
	count := q.shape[0] * b.imageSize()
	q.req.N = q.shape[0]
	if q.size < 0 {
		return q.jsonInput(rest, count)
	}
	width := 1
	if q.typ == fp32 {
		width = 4
	}
	switch {
	case q.haveData:
		return serve.Errorf(serve.Invalid, "the input has both data and binary_data_size: send one")
	case !binaryBody:
		return serve.Errorf(serve.Invalid, "the input has binary_data_size and the request no header Inference-Header-Content-Length: send the length of the JSON in it")
	case q.size != int64(count*width):
		return serve.Errorf(serve.Invalid, "binary_data_size is %d and the shape needs %d bytes: send exactly those", q.size, count*width)
	case len(rest) != count*width:
		return serve.Errorf(serve.Invalid, "%d bytes follow the JSON and binary_data_size is %d: send exactly those", len(rest), q.size)
	case q.typ == uint8s:
		q.req.Pixels = rest
		return nil
	}
	q.values = grow(q.values, count)
	if i := floats(q.values, rest); i >= 0 {
		return serve.Errorf(serve.Invalid, "the value %d of the input is %v: send finite numbers", i, q.values[i])
	}
	q.req.Images = q.values
	return nil
}

// floats decodes little-endian FP32 and returns the index of the first value
// that is not finite, or -1.
func floats(dst []float32, src []byte) int {
	const exponent = 0xff << 23
	bad := -1
	for i := range dst {
		bits := binary.LittleEndian.Uint32(src[4*i:])
		if bits&exponent == exponent && bad < 0 {
			bad = i
		}
		dst[i] = math.Float32frombits(bits)
	}
	return bad
}

func (q *inferRequest) jsonInput(rest []byte, count int) error {
	switch {
	case !q.haveData:
		return serve.Errorf(serve.Invalid, "the input has neither data nor binary_data_size: send one")
	case len(rest) != 0:
		return serve.Errorf(serve.Invalid, "%d bytes follow the JSON and no input has binary_data_size: send it, or no bytes", len(rest))
	case len(q.values) != count:
		return serve.Errorf(serve.Invalid, "the data has %d values and the shape needs %d: send exactly those", len(q.values), count)
	case q.nesting > 1 && q.dataDims != q.shape:
		return serve.Errorf(serve.Invalid, "the data is nested as %v and the shape is %v: nest it as the shape, or not at all", q.dataDims[:q.nesting], q.shape)
	case q.typ == fp32:
		q.req.Images = q.values
		return nil
	}
	q.pixels = grow(q.pixels, count)
	for i, v := range q.values {
		p := uint8(max(0, min(v, math.MaxUint8)))
		if float32(p) != v {
			return serve.Errorf(serve.Invalid, "the value %d of the input is %v: UINT8 takes integers of 0 to 255", i, v)
		}
		q.pixels[i] = p
	}
	q.req.Pixels = q.pixels
	return nil
}

// grow returns s with length n, reusing its memory when there is enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
