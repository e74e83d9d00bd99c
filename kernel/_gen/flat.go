package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func flatFile(a *asm) {
	a.function("add", "computes dst += src on n floats, a multiple of 8.", "dst, src *float32, n int")
	dst, src := a.load("dst"), a.load("src")
	a.flat(func(off reg.Register, disp int) {
		x := a.YMM()
		a.VMOVUPS(idx(dst, off, 1, disp), x)
		a.VADDPS(idx(src, off, 1, disp), x, x)
		a.VMOVUPS(x, idx(dst, off, 1, disp))
	})
	sgd(a)
}

// flat emits a loop over the parameter n, a multiple of 8 and above 0; body handles
// eight floats at byte off+disp. It ends the function.
func (a *asm) flat(body func(off reg.Register, disp int)) {
	off, n := a.GP64(), a.load("n")
	a.XORQ(off, off)
	a.SHRQ(imm(3), n)
	a.splitLoop(n, 4, func(s int) {
		body(off, 0)
		a.ADDQ(imm(32), off)
	})
	a.end()
}

func sgd(a *asm) {
	a.function("sgd", "is one step of Nesterov's gradient descent on n floats, a multiple of 8.",
		"w, grad, v *float32, n int, rate, momentum, decay float32")
	w, g, v := a.load("w"), a.load("grad"), a.load("v")
	rate, momentum, decay := a.YMM(), a.YMM(), a.YMM()
	a.VBROADCASTSS(a.arg("rate"), rate)
	a.VBROADCASTSS(a.arg("momentum"), momentum)
	a.VBROADCASTSS(a.arg("decay"), decay)
	a.flat(func(off reg.Register, disp int) {
		x, d, m := a.YMM(), a.YMM(), a.YMM()
		a.VMOVUPS(idx(w, off, 1, disp), x)
		a.VMOVUPS(idx(g, off, 1, disp), d)
		a.VMOVUPS(idx(v, off, 1, disp), m)
		a.VFMADD231PS(x, decay, d)
		a.VFMADD213PS(d, momentum, m)
		a.VMOVUPS(m, idx(v, off, 1, disp))
		a.VFMADD231PS(m, momentum, d)
		a.VFNMADD231PS(d, rate, x)
		a.VMOVUPS(x, idx(w, off, 1, disp))
	})
}

// spinFile: waiting without giving up the processor.
func spinFile(a *asm) {
	a.function("relax", "tells the processor n times, n above 0, that it is in a spin loop.", "n int")
	n := a.load("n")
	loop := a.label("loop")
	a.Label(loop)
	a.PAUSE()
	a.DECQ(n)
	a.JNZ(operand.LabelRef(loop))
	a.RET()
}

// transposeFile: 16x16 blocks of weights.
func transposeFile(a *asm) {
	a.function("transpose16", "transposes 16 rows of 16 floats.", "dst, src *float32")
	dst, src := a.load("dst"), a.load("src")
	for i := range 2 {
		for j := range 2 {
			a.transpose8(
				func(r int) operand.Mem { return at(src, 64*(8*i+r)+32*j) },
				func(r int) operand.Mem { return at(dst, 64*(8*j+r)+32*i) })
		}
	}
	a.end()
}

// transpose8 transposes 8 rows of 8 floats.
func (a *asm) transpose8(in, out func(r int) operand.Mem) {
	var x, y [8]reg.VecVirtual
	for r := range x {
		x[r], y[r] = a.YMM(), a.YMM()
		a.VMOVUPS(in(r), x[r])
	}
	for r := 0; r < 8; r += 2 { // pairs within 128-bit lanes
		a.VUNPCKLPS(x[r+1], x[r], y[r])
		a.VUNPCKHPS(x[r+1], x[r], y[r+1])
	}
	for r := 0; r < 8; r += 4 { // fours
		for h := range 2 {
			a.VUNPCKLPD(y[r+2+h], y[r+h], x[r+2*h])
			a.VUNPCKHPD(y[r+2+h], y[r+h], x[r+2*h+1])
		}
	}
	for r := range 4 { // lanes
		a.VPERM2F128(operand.U8(0x20), x[r+4], x[r], y[r])
		a.VPERM2F128(operand.U8(0x31), x[r+4], x[r], y[r+4])
	}
	for r := range y {
		a.VMOVUPS(y[r], out(r))
	}
}
