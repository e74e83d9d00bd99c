package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// windowPoolFile: pooling, eight channels at a time.
func windowPoolFile(a *asm) {
	const params = "in *int32, ntaps, pixels, pitch int"
	a.function("maxPool", "computes the maxima, and unless arg is nil their input pixels, of so many output pixels\n"+
		"of pitch bytes.", "x, y *float32, arg *int32, "+params)
	a.poolLoop(func(x, ch, out, in reg.GPVirtual) {
		best, at8 := a.YMM(), a.YMM()
		a.VXORPS(best, best, best)
		a.VPCMPEQD(at8, at8, at8) // −1: no pixel yet
		a.eachTap(x, ch, in, func(p operand.Mem, number operand.Mem) {
			v, m, n := a.YMM(), a.YMM(), a.YMM()
			a.VMOVUPS(p, v)
			a.VCMPPS(operand.U8(greater), best, v, m)
			a.VORPS(at8, m, m) // only signs count
			a.VPBROADCASTD(number, n)
			a.VBLENDVPS(m, v, best, best)
			a.VBLENDVPS(m, n, at8, at8)
		})
		a.VMOVUPS(best, idx(a.load("y"), out, 1, 0))
		skip := a.label("noarg")
		a.VMOVUPS(at8, idx(a.skipZero("arg", skip), out, 1, 0))
		a.Label(skip)
	})
	a.function("avgPool", "computes the means of so many output pixels of pitch bytes.", "x, y *float32, "+params)
	a.poolLoop(func(x, ch, out, in reg.GPVirtual) {
		sum, n := a.YMM(), a.GP64()
		a.VXORPS(sum, sum, sum)
		a.XORQ(n, n)
		a.eachTap(x, ch, in, func(p operand.Mem, _ operand.Mem) {
			a.VADDPS(p, sum, sum)
			a.INCQ(n)
		})
		count, one, factor := a.XMM(), a.XMM(), a.YMM()
		a.VXORPS(count, count, count)
		a.VCVTSI2SSQ(n, count, count)
		a.VMOVSS(a.splat(1), one)
		a.VDIVSS(count, one, one)
		a.VBROADCASTSS(one, factor)
		a.VMULPS(factor, sum, sum)
		a.VMOVUPS(sum, idx(a.load("y"), out, 1, 0))
	})
}

// poolLoop emits loops over output pixels and their channels: ch is the byte offset of
// eight channels in a pixel, out that in y, in the list of taps. It ends the function.
func (a *asm) poolLoop(body func(x, ch, out, in reg.GPVirtual)) {
	x, in, out, ch := a.load("x"), a.load("in"), a.GP64(), a.GP64()
	a.XORQ(out, out)
	pixel, channel := a.label("pixel"), a.label("channel")
	a.Label(pixel)
	a.XORQ(ch, ch)
	a.Label(channel)
	body(x, ch, out, in)
	a.ADDQ(imm(32), ch)
	a.ADDQ(imm(32), out)
	a.CMPQ(ch, a.arg("pitch"))
	a.JLT(operand.LabelRef(channel))
	taps := a.load("ntaps")
	a.LEAQ(idx(in, taps, 4, 0), in)
	a.DECQ(a.arg("pixels"))
	a.JNZ(operand.LabelRef(pixel))
	a.end()
}

// eachTap emits a loop over the taps that are not padding.
func (a *asm) eachTap(x, ch, in reg.GPVirtual, body func(p, number operand.Mem)) {
	tap, off := a.GP64(), a.GP64()
	loop, next := a.label("tap"), a.label("next")
	a.XORQ(tap, tap)
	a.Label(loop)
	a.MOVLQSX(idx(in, tap, 4, 0), off)
	a.TESTQ(off, off)
	a.JLT(operand.LabelRef(next))
	a.IMULQ(a.arg("pitch"), off)
	a.ADDQ(x, off)
	body(idx(off, ch, 1, 0), idx(in, tap, 4, 0))
	a.Label(next)
	a.INCQ(tap)
	a.CMPQ(tap, a.arg("ntaps"))
	a.JLT(operand.LabelRef(loop))
}
