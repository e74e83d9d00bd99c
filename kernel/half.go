package kernel

import "math"

// Half is a vector in half precision: its values times a power of two that brings the
// largest near the top of what 16 bits hold. Values down to 2⁻²⁹ of the largest keep a
// relative error of at most 2⁻¹¹, half of it on average; smaller ones an absolute error
// of 2⁻⁴⁰ of the largest.
type Half struct {
	bits   []uint16 // IEEE 754 binary16, finite
	factor float32  // of the values
}

// NewHalf rounds finite values to half precision, to the nearest, ties to even.
func NewHalf(values []float32) Half {
	const op = "half"
	top := float32(0)
	for _, v := range values {
		require(v-v == 0, op, "a value is not finite")
		top = max(top, v, -v)
	}
	h := Half{bits: make([]uint16, len(values)), factor: 1}
	if top == 0 {
		return h
	}
	_, exp := math.Frexp(float64(top)) // top is below 2^exp
	exp = min(max(exp, -100), 128)
	h.factor = float32(math.Ldexp(1, exp-15))
	for i, v := range values {
		h.bits[i] = toHalf(float32(math.Ldexp(float64(v), 15-exp)))
	}
	return h
}

// Len returns the number of values.
func (h *Half) Len() int { return len(h.bits) }

// Bytes returns the memory that the values take.
func (h *Half) Bytes() int { return 2 * cap(h.bits) }

// Widen writes the values to dst.
func (h *Half) Widen(dst []float32) {
	need("widen", "dst", dst, len(h.bits))
	active.widen(dst, h.bits, h.factor)
}

// rebias shifts exponents from those of half to those of single precision: 127 − 15.
const rebias = 1 << 112

// toHalf rounds a value of magnitude up to 2¹⁵.
func toHalf(f float32) uint16 {
	b := math.Float32bits(f * (1.0 / rebias))
	magnitude := b &^ (1 << 31)
	odd := magnitude >> 13 & 1
	return uint16(b>>31<<15 | (magnitude+0xfff+odd)>>13)
}

func widenGeneric(dst []float32, src []uint16, factor float32) {
	for i, h := range src {
		b := uint32(h&0x8000)<<16 | uint32(h&0x7fff)<<13
		dst[i] = math.Float32frombits(b) * rebias * factor
	}
}
