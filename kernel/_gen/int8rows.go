package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// int8RowsFile: what is not a convolution, eight bytes at a time.
func int8RowsFile(a *asm) {
	r := &rows8{asm: a, lanes: a.StaticGlobal("lanes8")}
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, lane := range []uint32{0, 4, 0, 0, 0, 0, 0, 0} {
		a.AppendDatum(operand.U32(lane))
	}
	r.quantise8()
	r.add8()
	r.gate8()
	r.mean8()
	r.avgPool8()
	r.maxPool8()
}

// rows8 is the file; lanes is the permutation that brings the bytes left by packing eight
// integers together.
type rows8 struct {
	*asm
	lanes operand.Mem
}

// broadcast8 returns eight copies of a float or a 32-bit integer parameter.
func (a *rows8) broadcast8(name string) reg.VecVirtual {
	y := a.YMM()
	a.VBROADCASTSS(a.arg(name), y)
	return y
}

// bytes8 returns eight bytes as 32-bit integers.
func (a *rows8) bytes8(m operand.Mem) reg.VecVirtual {
	y := a.YMM()
	a.VPMOVZXBD(m, y)
	return y
}

// order8 returns the permutation.
func (a *rows8) order8() reg.VecVirtual {
	y := a.YMM()
	a.VMOVDQU(a.lanes, y)
	return y
}

// pack8 rounds eight floats, adds zero, and stores them as bytes. limit keeps the
// conversion from overflowing; a NaN becomes 0.
func (a *rows8) pack8(v, limit, zero, order reg.VecVirtual, m operand.Mem) {
	a.VMINPS(v, limit, v)
	a.VCVTPS2DQ(v, v)
	a.VPADDD(zero, v, v)
	a.VPACKSSDW(v, v, v)
	a.VPACKUSWB(v, v, v)
	a.VPERMD(v, order, v)
	a.VMOVQ(v.AsX(), m)
}

// loop8 emits body for i = 0, 8, … below the parameter n.
func (a *rows8) loop8(n string, body func(i reg.GPVirtual)) {
	i, loop := a.GP64(), a.label("loop")
	a.XORQ(i, i)
	a.Label(loop)
	body(i)
	a.ADDQ(imm(8), i)
	a.CMPQ(i, a.arg(n))
	a.JLT(operand.LabelRef(loop))
}

func (a *rows8) quantise8() {
	a.function("quantise8", "computes n values, n a multiple of 24; sub and mul are repeated to 24 values.",
		"y *uint8, x *float32, n int, sub, mul *float32, zero int32, limit float32")
	y, x, n := a.load("y"), a.load("x"), a.load("n")
	zero, limit, order := a.broadcast8("zero"), a.broadcast8("limit"), a.order8()
	var sub, mul [3]reg.VecVirtual
	s, m := a.load("sub"), a.load("mul")
	for i := range sub {
		sub[i], mul[i] = a.YMM(), a.YMM()
		a.VMOVUPS(at(s, 32*i), sub[i])
		a.VMOVUPS(at(m, 32*i), mul[i])
	}
	loop := a.label("loop")
	a.Label(loop)
	for i := range sub {
		v := a.YMM()
		a.VMOVUPS(at(x, 32*i), v)
		a.VSUBPS(sub[i], v, v)
		a.VMULPS(mul[i], v, v)
		a.pack8(v, limit, zero, order, at(y, 8*i))
	}
	a.ADDQ(imm(96), x)
	a.ADDQ(imm(24), y)
	a.SUBQ(imm(24), n)
	a.JNZ(operand.LabelRef(loop))
	a.end()
}

func (a *rows8) add8() {
	a.function("add8", "adds n pairs of bytes, n a multiple of 8.", "y, a, b *uint8, n int, fa, fb, fc, limit float32")
	y, p, q := a.load("y"), a.load("a"), a.load("b")
	fa, fb, fc, limit, order, zero := a.broadcast8("fa"), a.broadcast8("fb"), a.broadcast8("fc"), a.broadcast8("limit"), a.order8(), a.YMM()
	a.VPXOR(zero, zero, zero)
	a.loop8("n", func(i reg.GPVirtual) {
		u, v := a.bytes8(idx(p, i, 1, 0)), a.bytes8(idx(q, i, 1, 0))
		a.VCVTDQ2PS(u, u)
		a.VCVTDQ2PS(v, v)
		a.VFMADD213PS(fc, fb, v)
		a.VFMADD213PS(v, fa, u)
		a.pack8(u, limit, zero, order, idx(y, i, 1, 0))
	})
	a.end()
}

func (a *rows8) gate8() {
	a.function("gate8", "multiplies a row of c bytes, c a multiple of 8, by gates.",
		"y, x *uint8, gate *float32, c int, xZero int32, scale float32, zero int32, limit float32")
	y, x, gate := a.load("y"), a.load("x"), a.load("gate")
	xZero, scale, zero, limit, order := a.broadcast8("xZero"), a.broadcast8("scale"), a.broadcast8("zero"), a.broadcast8("limit"), a.order8()
	a.loop8("c", func(i reg.GPVirtual) {
		v := a.bytes8(idx(x, i, 1, 0))
		a.VPSUBD(xZero, v, v)
		a.VCVTDQ2PS(v, v)
		a.VMULPS(idx(gate, i, 4, 0), v, v)
		a.VMULPS(scale, v, v)
		a.pack8(v, limit, zero, order, idx(y, i, 1, 0))
	})
	a.end()
}

func (a *rows8) mean8() {
	a.function("mean8", "averages so many pixels of c bytes, c a multiple of 8; less is their number times the zero point.",
		"y, x *uint8, pixels, c int, less int32, scale float32, zero int32, limit float32")
	y := a.load("y")
	less, scale, zero, limit, order := a.broadcast8("less"), a.broadcast8("scale"), a.broadcast8("zero"), a.broadcast8("limit"), a.order8()
	c := a.load("c")
	a.loop8("c", func(i reg.GPVirtual) {
		sum, p, n := a.YMM(), a.load("x"), a.load("pixels")
		a.ADDQ(i, p)
		a.VPXOR(sum, sum, sum)
		loop := a.label("pixel")
		a.Label(loop)
		a.VPADDD(a.bytes8(at(p, 0)), sum, sum)
		a.ADDQ(c, p)
		a.DECQ(n)
		a.JNZ(operand.LabelRef(loop))
		a.VPSUBD(less, sum, sum)
		a.VCVTDQ2PS(sum, sum)
		a.VMULPS(scale, sum, sum)
		a.pack8(sum, limit, zero, order, idx(y, i, 1, 0))
	})
	a.end()
}

// pool8 emits loops over output pixels, channels and taps. start and tap work on eight
// channels, finish stores them.
func (a *rows8) pool8(name, doc string, body func(each func(tap func(m operand.Mem)), y operand.Mem)) {
	a.function(name, doc, "y, x *uint8, in *int32, taps, pixels, c int, limit float32")
	y, in := a.load("y"), a.load("in")
	pixel := a.label("pixel")
	a.Label(pixel)
	a.loop8("c", func(i reg.GPVirtual) {
		body(func(tap func(m operand.Mem)) {
			x, t := a.load("x"), a.GP64()
			a.ADDQ(i, x)
			a.XORQ(t, t)
			loop, next := a.label("tap"), a.label("next")
			a.Label(loop)
			p := a.GP64()
			a.MOVLQSX(idx(in, t, 4, 0), p)
			a.TESTQ(p, p)
			a.JL(operand.LabelRef(next))
			a.IMULQ(a.arg("c"), p)
			tap(idx(x, p, 1, 0))
			a.Label(next)
			a.INCQ(t)
			a.CMPQ(t, a.arg("taps"))
			a.JLT(operand.LabelRef(loop))
		}, idx(y, i, 1, 0))
	})
	a.ADDQ(a.arg("c"), y)
	n := a.load("taps")
	a.LEAQ(idx(in, n, 4, 0), in)
	a.DECQ(a.arg("pixels"))
	a.JNZ(operand.LabelRef(pixel))
	a.end()
}

func (a *rows8) avgPool8() {
	a.pool8("avgPool8", "averages the taps that are not padding, of c bytes, c a multiple of 8.",
		func(each func(func(operand.Mem)), y operand.Mem) {
			sum, n, count, zero := a.YMM(), a.GP64(), a.YMM(), a.YMM()
			a.VPXOR(sum, sum, sum)
			a.VPXOR(zero, zero, zero)
			a.XORQ(n, n)
			each(func(m operand.Mem) {
				a.VPADDD(a.bytes8(m), sum, sum)
				a.INCQ(n)
			})
			a.VCVTDQ2PS(sum, sum)
			a.VMOVQ(n, count.AsX())
			a.VPBROADCASTD(count.AsX(), count)
			a.VCVTDQ2PS(count, count)
			a.VDIVPS(count, sum, sum)
			a.pack8(sum, a.broadcast8("limit"), zero, a.order8(), y)
		})
}

func (a *rows8) maxPool8() {
	a.pool8("maxPool8", "computes the maxima of the taps that are not padding, of c bytes, c a multiple of 8.",
		func(each func(func(operand.Mem)), y operand.Mem) {
			best := a.XMM()
			a.VPXOR(best, best, best)
			each(func(m operand.Mem) {
				v := a.XMM()
				a.VMOVQ(m, v)
				a.VPMAXUB(v, best, best)
			})
			a.VMOVQ(best, y)
		})
}
