package kernel

import "math"

// Base is a folded normalisation that others are kept near to.
type Base struct {
	values   []float32 // [3][channels]: scales, shifts and units
	channels int
}

// NewBase returns the base of a scale and a shift per channel. Differences of shifts count
// in units of a channel; one whose unit is 0 has the same shift everywhere.
func NewBase(scale, shift, unit []float32) *Base {
	const op = "base"
	need(op, "shift", shift, len(scale))
	need(op, "unit", unit, len(scale))
	b := &Base{channels: len(scale), values: make([]float32, 0, 3*len(scale))}
	for _, v := range [][]float32{scale, shift, unit} {
		b.values = append(b.values, v[:len(scale)]...)
	}
	return b
}

// Bytes returns the memory that the values take.
func (b *Base) Bytes() int { return 4 * cap(b.values) }

// Near is a folded normalisation near a base, in 8 bits a value:
//
//	scale = base scale · (at₀ + step₀·code)⁴
//	shift = base shift + unit · (at₁ + step₁·code)
//
// The fourth power spreads the codes over ratios almost as a logarithm does.
type Near struct {
	base     *Base
	codes    []uint8 // [2][channels]
	at, step [2]float32
}

// NewNear returns the codes nearest to a scale and a shift per channel, and the largest
// error that they make: of a scale relative to it, of a shift in units of its channel. It
// is infinite for what no code can stand for, such as a scale of the other sign.
func NewNear(base *Base, scale, shift []float32) (n Near, worst float64) {
	const op = "near"
	c := base.channels
	need(op, "scale", scale, c)
	need(op, "shift", shift, c)
	roots, moves := make([]float64, c), make([]float64, c)
	for i := range c {
		roots[i] = math.Sqrt(math.Sqrt(over(float64(scale[i]), float64(base.values[i]), 1)))
		moves[i] = over(float64(shift[i])-float64(base.values[c+i]), float64(base.values[2*c+i]), 0)
	}
	n = Near{base: base, codes: make([]uint8, 2*c)}
	n.at[0], n.step[0] = encode(n.codes[:c], roots)
	n.at[1], n.step[1] = encode(n.codes[c:], moves)
	for i := range c {
		root := float64(n.at[0]) + float64(n.step[0])*float64(n.codes[i])
		move := float64(n.at[1]) + float64(n.step[1])*float64(n.codes[c+i])
		worst = max(worst, math.Abs(math.Pow(root/roots[i], 4)-1), math.Abs(move-moves[i]), 0*roots[i]) // NaN if one is
	}
	if math.IsNaN(worst) {
		worst = math.Inf(1)
	}
	return n, worst
}

// over returns x/y, and equal where both are 0.
func over(x, y, equal float64) float64 {
	if x == 0 && y == 0 {
		return equal
	}
	return x / y
}

// encode divides the range of the values into 255 equal steps.
func encode(codes []uint8, values []float64) (at, step float32) {
	if len(values) == 0 {
		return 0, 0
	}
	lo, hi := values[0], values[0]
	for _, v := range values {
		lo, hi = min(lo, v), max(hi, v)
	}
	at, step = float32(lo), float32((hi-lo)/255)
	if !(step > 0) || float64(step) > math.MaxFloat32 {
		return at, 0
	}
	for i, v := range values {
		codes[i] = uint8(min(max(math.RoundToEven((v-lo)/float64(step)), 0), 255))
	}
	return at, step
}

// Len returns the number of channels.
func (n *Near) Len() int { return n.base.channels }

// Bytes returns the memory that the codes take.
func (n *Near) Bytes() int { return cap(n.codes) }

// Widen writes scales and then shifts to dst.
func (n *Near) Widen(dst []float32) {
	need("widen", "dst", dst, 2*n.base.channels)
	active.near(dst, n)
}

func nearGeneric(dst []float32, n *Near) { n.widenFrom(0, dst) }

// widenFrom writes the channels from one on.
func (n *Near) widenFrom(from int, dst []float32) {
	c := n.base.channels
	for i := from; i < c; i++ {
		r := n.at[0] + float32(n.step[0]*float32(n.codes[i]))
		r *= r
		dst[i] = r * r * n.base.values[i]
		m := n.at[1] + float32(n.step[1]*float32(n.codes[c+i]))
		dst[c+i] = n.base.values[c+i] + float32(n.base.values[2*c+i]*m)
	}
}
