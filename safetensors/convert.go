package safetensors

import (
	"encoding/binary"
	"fmt"
	"math"
)

// NewF32 returns a tensor of single-precision values. It copies them.
func NewF32(name string, shape []int, values []float32) Tensor {
	data := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
	}
	return Tensor{Name: name, DType: F32, Shape: shape, Data: data}
}

// NewF16 returns a tensor of half-precision values, each rounded to the nearest, ties to even.
func NewF16(name string, shape []int, values []float32) Tensor {
	data := make([]byte, 2*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint16(data[2*i:], ToF16(v))
	}
	return Tensor{Name: name, DType: F16, Shape: shape, Data: data}
}

// NewI64 returns a tensor of 64-bit integers.
func NewI64(name string, shape []int, values []int64) Tensor {
	data := make([]byte, 0, 8*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	return Tensor{Name: name, DType: I64, Shape: shape, Data: data}
}

// NewI32 returns a tensor of 32-bit integers.
func NewI32(name string, shape []int, values []int32) Tensor {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, uint32(v))
	}
	return Tensor{Name: name, DType: I32, Shape: shape, Data: data}
}

// I64 returns a copy of the values of an I64 tensor.
func (t *Tensor) I64() ([]int64, error) {
	if t.DType != I64 {
		return nil, fmt.Errorf("tensor %q has type %s, not I64", t.Name, t.DType)
	}
	out := make([]int64, len(t.Data)/8)
	for i := range out {
		out[i] = int64(binary.LittleEndian.Uint64(t.Data[8*i:]))
	}
	return out, nil
}

// I32 returns a copy of the values of an I32 tensor.
func (t *Tensor) I32() ([]int32, error) {
	if t.DType != I32 {
		return nil, fmt.Errorf("tensor %q has type %s, not I32", t.Name, t.DType)
	}
	out := make([]int32, len(t.Data)/4)
	for i := range out {
		out[i] = int32(binary.LittleEndian.Uint32(t.Data[4*i:]))
	}
	return out, nil
}

// F32 returns a copy of the values of an F32 or F16 tensor.
func (t *Tensor) F32() ([]float32, error) {
	if t.DType != F32 && t.DType != F16 {
		return nil, fmt.Errorf("tensor %q has type %s, not F32 or F16", t.Name, t.DType)
	}
	out := make([]float32, len(t.Data)/t.DType.Size())
	for i := range out {
		if t.DType == F16 {
			out[i] = FromF16(binary.LittleEndian.Uint16(t.Data[2*i:]))
		} else {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		}
	}
	return out, nil
}

// FromF16 returns the value of an IEEE 754 half-precision number: 1 sign, 5 exponent, 10 fraction bits.
func FromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent, fraction := uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exponent {
	case 0x1f: // infinity or not a number
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	case 0: // fraction * 2^-24, exact in single precision
		v := float32(fraction) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(v))
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

// ToF16 rounds f to the nearest half-precision number, ties to even; past 65504 and half a step it gives
// infinity. A NaN stays one.
func ToF16(f float32) uint16 {
	b := math.Float32bits(f)
	sign, magnitude := uint16(b>>16&0x8000), b&0x7fffffff
	switch {
	case magnitude > 0x7f800000: // not a number: keep the upper fraction bits, and at least one
		return sign | 0x7c00 | max(uint16(magnitude>>13&0x3ff), 1)
	case magnitude >= 0x47800000: // 65536 and up
		return sign | 0x7c00
	case magnitude < 0x33000000: // below half of the smallest half-precision number
		return sign
	}
	shift := uint32(13) // fraction bits that are dropped
	bits := magnitude - 112<<23
	if magnitude < 0x38800000 { // below 2^-14 the result has no hidden bit and a fixed exponent
		shift = 126 - magnitude>>23
		bits = magnitude&0x7fffff | 0x800000
	}
	// Adding half, less one if the last kept bit is even, carries into it exactly when f rounds up.
	odd := bits >> shift & 1
	return sign | uint16((bits+1<<(shift-1)-1+odd)>>shift)
}
