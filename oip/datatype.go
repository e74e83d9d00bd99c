package oip

import (
	"encoding/binary"
	"fmt"
	"math"

	"weft/serve"
)

// Datatype is that of a tensor's elements.
type Datatype uint8

// The protocol's datatypes, and Triton's BF16.
const (
	NoType Datatype = iota
	Bool
	Uint8
	Uint16
	Uint32
	Uint64
	Int8
	Int16
	Int32
	Int64
	FP16
	BF16
	FP32
	FP64
	Bytes
)

var datatypes = [...]struct {
	name string
	size int
}{
	NoType: {"no datatype", 0}, Bool: {"BOOL", 1},
	Uint8: {"UINT8", 1}, Uint16: {"UINT16", 2}, Uint32: {"UINT32", 4}, Uint64: {"UINT64", 8},
	Int8: {"INT8", 1}, Int16: {"INT16", 2}, Int32: {"INT32", 4}, Int64: {"INT64", 8},
	FP16: {"FP16", 2}, BF16: {"BF16", 2}, FP32: {"FP32", 4}, FP64: {"FP64", 8}, Bytes: {"BYTES", 0},
}

// String returns the name on the wire, such as FP32.
func (d Datatype) String() string { return datatypes[d].name }

// Size returns the bytes of an element, 0 for Bytes, whose elements differ in length.
func (d Datatype) Size() int { return datatypes[d].size }

// parseDatatype returns the datatype of that name, or NoType.
func parseDatatype(name []byte) Datatype {
	for d := Bool; d <= Bytes; d++ {
		if string(name) == datatypes[d].name {
			return d
		}
	}
	return NoType
}

// MarshalText returns the name on the wire.
func (d Datatype) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads the name on the wire.
func (d *Datatype) UnmarshalText(text []byte) error {
	if *d = parseDatatype(text); *d == NoType {
		return fmt.Errorf("the datatype %.40q is unknown", text)
	}
	return nil
}

// bits returns an integer type's width and whether it is signed, 0 for other types.
func (d Datatype) bits() (width int, signed bool) {
	switch {
	case d >= Uint8 && d <= Uint64:
		return 8 * d.Size(), false
	case d >= Int8 && d <= Int64:
		return 8 * d.Size(), true
	}
	return 0, false
}

// Tensor is a dense array in the protocol's binary form.
type Tensor struct {
	Name     string
	Datatype Datatype
	Shape    []int64
	// Data are the elements, row-major and little-endian; a Bool is one byte, 0
	// or 1; an element of Bytes is its length as uint32 and then the bytes.
	Data []byte
}

// elements returns the product of the shape, or -1 if a side is negative or
// there are more than 2^40.
func elements(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		if d < 0 || d > 1<<40 {
			return -1
		}
		if n *= d; n > 1<<40 {
			return -1
		}
	}
	return n
}

// checkData reports data that are not exactly what datatype and shape need.
func (t *Tensor) checkData() error {
	n := elements(t.Shape)
	if t.Datatype == Bytes {
		return t.checkBytes(n)
	}
	if want := n * int64(t.Datatype.Size()); n < 0 || int64(len(t.Data)) != want {
		return serve.Errorf(serve.Invalid, "the input %s has %d bytes and the shape needs %d: send exactly those", t.Name, len(t.Data), want)
	}
	if t.Datatype == Bool {
		for i, b := range t.Data {
			if b > 1 {
				return serve.Errorf(serve.Invalid, "the element %d of input %s is %d: BOOL takes 0 and 1", i, t.Name, b)
			}
		}
	}
	return nil
}

// checkBytes walks the elements of a tensor of Bytes.
func (t *Tensor) checkBytes(n int64) error {
	rest := t.Data
	for i := int64(0); len(rest) > 0; i++ {
		if i == n {
			return serve.Errorf(serve.Invalid, "the input %s has more than the %d elements of its shape: send exactly those", t.Name, n)
		}
		var err error
		if _, rest, err = nextBytes(rest); err != nil {
			return serve.Errorf(serve.Invalid, "the element %d of input %s is cut off: send its length as 4 bytes and then all of it", i, t.Name)
		}
		if i+1 < n && len(rest) == 0 {
			return serve.Errorf(serve.Invalid, "the input %s has %d elements and the shape needs %d: send exactly those", t.Name, i+1, n)
		}
	}
	if len(t.Data) == 0 && n > 0 {
		return serve.Errorf(serve.Invalid, "the input %s has 0 elements and the shape needs %d: send exactly those", t.Name, n)
	}
	return nil
}

// errCut says that an element of Bytes is not all there.
var errCut = serve.Errorf(serve.Invalid, "an element of BYTES is cut off")

// nextBytes returns the first element of Bytes data, and what follows it.
func nextBytes(data []byte) (element, rest []byte, err error) {
	if len(data) < 4 {
		return nil, nil, errCut
	}
	n := binary.LittleEndian.Uint32(data)
	if uint64(n) > uint64(len(data)-4) {
		return nil, nil, errCut
	}
	return data[4 : 4+n], data[4+n:], nil
}

// appendBytes appends one element of Bytes data.
func appendBytes[T string | []byte](dst []byte, element T) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(element))), element...)
}

// appendInt appends the low bytes of an integer, as many as the datatype has.
func (d Datatype) appendInt(dst []byte, v uint64) []byte {
	for range d.Size() {
		dst = append(dst, byte(v))
		v >>= 8
	}
	return dst
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

// grow returns s with length n, reusing its memory when there is enough.
func grow[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
