// Package quant holds the integer arithmetic of networks: how real values become bytes, how
// the ranges of activations are found, and the description of a quantised subnet, from which
// plans are made and networks in ONNX's QDQ form can be written. Package kernel computes it.
//
// # Values
//
// An activation is a byte q that stands for (q − Zero)·Scale (Params, one pair a tensor).
// Zero stands for 0 exactly, so that padding is exact. A weight is an int8 within ±63, which
// stands for w·scale with a scale for each output channel (Weights): the scale comes from
// the channel at the supernet's maximum size, so that one copy serves every slice. 7 bits
// are what vpmaddubsw takes without saturation, so every processor gives the same sums.
//
// In what follows rne rounds to the nearest integer, ties to even, clamp limits to 0..255,
// every operation on reals is one of float32, and fma(a, b, c) is a·b + c rounded once.
//
// # Operations
//
// A convolution with inputs (sx, zx), weights (w, sw[c]), output (sy, zy), and the real
// scale[c] and shift[c] of its normalisation has the weights' scale and the bias
//
//	sw′[c] = sw[c]·scale[c]                    (Op.WScale; raised where the bias would not fit)
//	b[c]   = rne(shift[c] / (sx·sw′[c]))       (Op.Bias, in float64)
//	a[c]   = clamp(rne(float32(b[c] + Σ (x − zx)·w)·(sx·sw′[c]/sy)) + zy)
//
// which is ONNX's QLinearConv, with weights' scale sw′ and bias b. sw′ is negative where
// scale is; a writer of files that may hold positive scales only negates weights, scale and
// bias of the channel, which changes no result. Padding reads zx. ReLU is the clamp at zy = 0.
//
// Any other activation follows as a table over the bytes (Table): the convolution is
// quantised by Op.Own, dequantised, h-swish or h-sigmoid in float32, quantised by the
// output's Params. A residual likewise: the convolution is quantised by Op.Own and
//
//	y = clamp(rne(fma(a, sa/sy, fma(r, sr/sy, zy − fma(sa/sy, za, sr/sy·zr)))))
//
// ONNX Runtime's QLinearAdd on x86 of a, the first, and the residual r (Sum). Add is the same of
// two values. A fully connected layer is a convolution whose sums become real logits,
// float32(b + Σ …)·(sx·sw′).
//
// GlobalPool is clamp(rne(float32(Σ (x − zx))·(sx/(sy·n))) + zy) over n pixels, as
// QLinearGlobalAveragePool. Mul, the gate of squeeze-and-excite, is
// clamp(rne(float32((x − zx)·(g − zg))·(sx·sg/sy)) + zy), as QLinearMul. Maximum pools
// take bytes as they are; mean pools of a window are rne(Σ x / n) of the n taps that are
// not padding, in the inputs' Params.
package quant

import (
	"math"

	"weft/kernel"
)

// Params says which reals the bytes of a tensor stand for: q for (q − Zero)·Scale.
type Params struct {
	Scale float32
	Zero  uint8
}

// rne rounds to the nearest integer, ties to even.
func rne(v float32) float32 { return float32(math.RoundToEven(float64(v))) }

// Quantise returns clamp(rne(x/Scale) + Zero); NaN becomes 0.
func (p Params) Quantise(x float32) uint8 {
	v := rne(x/p.Scale) + float32(p.Zero)
	if !(v > 0) {
		return 0
	}
	return uint8(min(v, 255))
}

// Value returns the real that q stands for.
func (p Params) Value(q uint8) float32 { return float32(int(q)-int(p.Zero)) * p.Scale }

// Range is an interval of reals.
type Range struct{ Lo, Hi float32 }

// minScale keeps quotients of scales in the range of float32, with room to spare.
const minScale = 1e-9

// Params returns the parameters whose 256 values cover the range and 0.
func (r Range) Params() Params {
	lo, hi := min(r.Lo, 0), max(r.Hi, 0)
	s := max((hi-lo)/255, minScale)
	return Params{Scale: s, Zero: uint8(min(rne(-lo/s), 255))}
}

// Valid reports whether the range is one: finite, and its ends in order.
func (r Range) Valid() bool { return r.Lo <= r.Hi && r.Hi-r.Lo < math.MaxFloat32 }

// Act returns the range of an activation's results over the inputs in r.
func (r Range) Act(a kernel.Act) Range {
	switch a {
	case kernel.ReLU:
		return Range{max(r.Lo, 0), max(r.Hi, 0)}
	case kernel.HSigmoid:
		return Range{hardSigmoid(r.Lo), hardSigmoid(r.Hi)}
	case kernel.HSwish: // falls down to −3/8 at −1.5, then rises
		lo := min(r.Lo*hardSigmoid(r.Lo), r.Hi*hardSigmoid(r.Hi))
		if r.Lo < -1.5 && r.Hi > -1.5 {
			lo = -0.375
		}
		return Range{lo, max(r.Lo*hardSigmoid(r.Lo), r.Hi*hardSigmoid(r.Hi), 0)}
	default:
		return r
	}
}

// Before returns the part of r, inputs of an activation, outside which the activation is
// constant.
func (r Range) Before(a kernel.Act) Range {
	switch a {
	case kernel.ReLU:
		return Range{max(r.Lo, 0), max(r.Hi, 0)}
	case kernel.HSwish:
		return Range{max(r.Lo, -3), max(r.Hi, -3)}
	case kernel.HSigmoid:
		return Range{min(max(r.Lo, -3), 3), max(min(r.Hi, 3), -3)}
	default:
		return r
	}
}

// hardSigmoid is ONNX's HardSigmoid with alpha 1/6 and beta 1/2.
func hardSigmoid(x float32) float32 {
	const alpha = 1.0 / 6
	return min(max(float32(alpha*x)+0.5, 0), 1)
}

// Table returns what an activation makes of every byte.
func Table(a kernel.Act, in, out Params) *[256]uint8 {
	t := new([256]uint8)
	for q := range t {
		x := in.Value(uint8(q))
		switch a {
		case kernel.ReLU:
			x = max(x, 0)
		case kernel.HSigmoid:
			x = hardSigmoid(x)
		case kernel.HSwish:
			x *= hardSigmoid(x)
		}
		t[q] = out.Quantise(x)
	}
	return t
}

// Sum returns the factors that add values of a and b into one of y.
func Sum(a, b, y Params) kernel.Affine8 {
	ra, rb := a.Scale/y.Scale, b.Scale/y.Scale
	// The product of a byte is exact in float64, so that this is a fused sum.
	zeros := float32(float64(ra)*float64(a.Zero) + float64(float32(rb*float32(b.Zero))))
	return kernel.Affine8{A: ra, B: rb, C: float32(y.Zero) - zeros}
}
