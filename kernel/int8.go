package kernel

import "sync/atomic"

// The int8 kernels compute on bytes q that stand for real values (q − zero)·scale: see
// package quant for the arithmetic of a whole network. Sums of products are exact, and
// every float32 operation that follows is one of IEEE 754 in a stated order, so that all
// tiers give the same bytes. fma(a, b, c) is a·b + c rounded once, rne rounds to the
// nearest integer, ties to even, and clamp limits to 0..255.

// MaxWeight8 bounds the magnitude of int8 weights: 255·63·2 fits 16 bits, which AVX2's
// vpmaddubsw saturates at.
const MaxWeight8 = 63

// maxSum8 bounds taps·inputs of a convolution, so that sums and biases fit 32 bits.
const maxSum8 = 1 << 30 / (255 * MaxWeight8)

// MaxBias8 bounds the magnitude of the biases.
const MaxBias8 = 1 << 30

// quad is how many inputs, or taps of a depthwise layer, one 32-bit lane takes.
const quad = 4

// PackedLen8 returns the length of packed int8 weights of a dense layer,
//
//	[⌈outMax/16⌉][taps][inMax/4][16][4]
//
// a prefix of which, in either kind of channel, serves a subnet as in float32. inMax is a
// multiple of 4.
func PackedLen8(outMax, taps, inMax int) int { return Panels(outMax) * taps * inMax * Panel }

// PackedIndex8 returns where the weight of (out, tap, in) stands.
func PackedIndex8(taps, inMax, out, tap, in int) int {
	return ((out/Panel*taps+tap)*inMax/quad+in/quad)*Panel*quad + out%Panel*quad + in%quad
}

// block8 is how many channels a block of depthwise weights holds.
const block8 = 64

// DepthwiseLen8 returns the length of int8 weights of a depthwise layer,
// [⌈channels/64⌉][⌈taps/4⌉][64][4]. Taps that fill the last four up are zero. The channels
// of a block stand in the order in which interleaving bytes leaves them: DepthwiseOrder8.
func DepthwiseLen8(channels, taps int) int {
	return (channels + block8 - 1) / block8 * ((taps + quad - 1) / quad) * block8 * quad
}

// DepthwiseIndex8 returns where the weight of a tap of a channel stands.
func DepthwiseIndex8(taps, channel, tap int) int {
	groups := (taps + quad - 1) / quad
	return (channel/block8*groups+tap/quad)*block8*quad + DepthwiseOrder8(channel)%block8*quad + tap%quad
}

// DepthwiseOrder8 returns the place of a channel in the biases and scales of a Depthwise8:
// within each 64, channel 16i + 4j + k stands at 16j + 4i + k.
func DepthwiseOrder8(channel int) int {
	return channel&^63 | channel>>2&3<<4 | channel>>4&3<<2 | channel&3
}

// DepthwisePad8 returns how many biases and scales a Depthwise8 of c channels takes.
func DepthwisePad8(c int) int { return (c + block8 - 1) &^ (block8 - 1) }

// Requant8 turns the exact sums of a layer into bytes:
//
//	a = clamp(rne(float32(sum + Bias[c])·Scale[c]) + Zero)
//	b = a, or with Res clamp(rne(fma(a, Add.A, fma(res, Add.B, Add.C))))
//	y = b, or with Table Table[b]
//
// Rectification needs nothing more: Zero is 0 then.
type Requant8 struct {
	Bias  []int32   // of whole panels, within ±MaxBias8
	Scale []float32 // likewise; finite
	Zero  uint8
	Res   []uint8 // layout of Y, from which it is apart
	Add   Affine8
	Table *[256]uint8
}

// Affine8 are the factors of two bytes and the constant of their sum.
type Affine8 struct{ A, B, C float32 }

// Conv8 is a dense convolution or fully connected layer of bytes,
//
//	sum[co] = Σ_t Σ_ci x[in(o,t)][ci]·w[co][t][ci]
//
// where padding reads Pad, the zero point of X. With Float, float32(sum + Bias)·Scale
// goes there instead of bytes to Y.
type Conv8 struct {
	G           *Gather
	X           []uint8 // [images][InPix][XPitch], the first Cin of each pixel are read
	W           []int8  // packed at the maximum size, within ±MaxWeight8
	Y           []uint8 // [images][OutPix][YPitch], the first Cout of each pixel are written
	Float       []float32
	Cin, Cout   int // multiples of 4 and of 8
	XPitch      int
	YPitch      int
	Taps, InMax int // of W
	Pad         uint8
	Requant8
}

// Rows computes rows [lo, hi), numbered as in Conv.Rows.
func (c *Conv8) Rows(lo, hi int) {
	if lo < hi {
		c.check(hi)
		kernels8().conv(c, lo, hi)
	}
}

// Depthwise8 is a convolution of each channel by itself, sum[c] = Σ_t x[in(o,t)][c]·w[t][c].
// Tensors have C channels, a multiple of 8, and pitch C. The gather's taps are those of W
// in order, and their number leaves 1 when divided by 4, as that of odd windows does. Bias
// and Scale have DepthwisePad8(C) elements in DepthwiseOrder8. There is no Res.
type Depthwise8 struct {
	G   *Gather
	X   []uint8
	W   []int8
	Y   []uint8
	C   int
	Pad uint8
	Requant8
}

// Rows computes rows [lo, hi), numbered as in Conv.Rows.
func (d *Depthwise8) Rows(lo, hi int) {
	if lo < hi {
		d.check(hi)
		kernels8().depthwise(d, lo, hi)
	}
}

// Quantise8 computes y[i] = clamp(rne((x[i] − sub[i mod c])·mul[i mod c]) + zero), with c
// the length of sub and mul. NaN becomes 0.
func Quantise8(y []uint8, x, sub, mul []float32, zero uint8) {
	const op = "quantise"
	need(op, "y", y, len(x))
	need(op, "mul", mul, len(sub))
	kernels8().quantise(y, x, sub, mul, zero)
}

// Add8 computes y = clamp(rne(fma(a, f.A, fma(b, f.B, f.C)))).
func Add8(y, a, b []uint8, f Affine8) {
	need("add8", "y", y, len(a))
	need("add8", "b", b, len(a))
	kernels8().add(y, a, b, f)
}

// Gate8 multiplies rows of c channels by a gate each: with integers
// p = (x − xZero)·(gate[c] − gateZero), y = clamp(rne(float32(p)·scale) + zero).
func Gate8(y, x, gate []uint8, rows int, xZero, gateZero uint8, scale float32, zero uint8) {
	const op = "gate8"
	c := len(gate)
	require(c%8 == 0, op, "the number of channels is no multiple of 8")
	need(op, "x", x, rows*c)
	need(op, "y", y, rows*c)
	kernels8().gate(y, x, gate, rows, xZero, gateZero, scale, zero)
}

// MeanPool8 averages all pixels of one image: with the integer s[c] = Σ (x[c] − xZero),
// y[c] = clamp(rne(float32(s[c])·scale) + zero). x: [pixels][c], y: [c].
func MeanPool8(y, x []uint8, pixels, c int, xZero uint8, scale float32, zero uint8) {
	const op = "mean pool8"
	require(c > 0 && c%8 == 0, op, "the number of channels is no multiple of 8")
	require(pixels <= maxSum8, op, "too many pixels")
	need(op, "x", x, pixels*c)
	need(op, "y", y, c)
	kernels8().mean(y, x, pixels, c, xZero, scale, zero)
}

// MaxPool8 computes the output pixels [lo, hi) of one image: the maximum over the taps
// that are not padding. x: [InPix][c], y: [OutPix][c].
func MaxPool8(g *Gather, y, x []uint8, c, lo, hi int) {
	checkPool8("max pool8", g, x, y, c)
	if lo < hi {
		kernels8().maxPool(g, y[:hi*c], x, c, lo)
	}
}

// AvgPool8 computes the output pixels [lo, hi) of one image: the mean over the n taps that
// are not padding, y = rne(float32(Σ x)/n). Inputs and outputs share scale and zero point.
func AvgPool8(g *Gather, y, x []uint8, c, lo, hi int) {
	checkPool8("avg pool8", g, x, y, c)
	if lo < hi {
		kernels8().avgPool(g, y[:hi*c], x, c, lo)
	}
}

// padRows8 holds, for each zero point in use, a row of it: what padding reads.
var padRows8 [256]atomic.Pointer[[maxPad8]uint8]

// maxPad8 is the largest number of inputs of a layer with padding.
const maxPad8 = 1 << 14

// padRow8 returns maxPad8 copies of v.
func padRow8(v uint8) *[maxPad8]uint8 {
	if p := padRows8[v].Load(); p != nil {
		return p
	}
	p := new([maxPad8]uint8)
	for i := range p {
		p[i] = v
	}
	padRows8[v].Store(p)
	return p
}
