package main

import (
	"github.com/mmcloughlin/avo/operand"
)

// lookUpFile: from pixel numbers to addresses.
func lookUpFile(a *asm) {
	a.function("lookUp", "writes the addresses of the n pixels that in numbers: x + pitch·number, or zero for −1.",
		"dst **float32, in *int32, n int, x *float32, pitch int, zero *float32")
	dst, in, n := a.load("dst"), a.load("in"), a.load("n")
	x, pitch, zero := a.load("x"), a.load("pitch"), a.load("zero")
	vx, vpitch, vzero := a.YMM(), a.YMM(), a.YMM()
	a.VPBROADCASTQ(a.arg("x"), vx)
	a.VPBROADCASTQ(a.arg("pitch"), vpitch)
	a.VPBROADCASTQ(a.arg("zero"), vzero)
	four, rest, one, done := a.label("four"), a.label("rest"), a.label("one"), a.label("done")
	a.SUBQ(imm(4), n)
	a.JLT(operand.LabelRef(rest))
	a.Label(four)
	i, p := a.YMM(), a.YMM()
	a.VPMOVSXDQ(at(in, 0), i)
	a.VPMULDQ(vpitch, i, p)
	a.VPADDQ(vx, p, p)
	a.VBLENDVPD(i, vzero, p, p) // the sign of i chooses
	a.VMOVDQU(p, at(dst, 0))
	a.ADDQ(imm(16), in)
	a.ADDQ(imm(32), dst)
	a.SUBQ(imm(4), n)
	a.JGE(operand.LabelRef(four))
	a.Label(rest)
	a.ADDQ(imm(4), n)
	a.JZ(operand.LabelRef(done))
	a.Label(one)
	off, q := a.GP64(), a.GP64()
	a.MOVLQSX(at(in, 0), off)
	a.IMULQ(pitch, off)
	a.LEAQ(idx(x, off, 1, 0), q)
	a.TESTQ(off, off)
	a.CMOVQLT(zero, q)
	a.MOVQ(q, at(dst, 0))
	a.ADDQ(imm(4), in)
	a.ADDQ(imm(8), dst)
	a.DECQ(n)
	a.JNZ(operand.LabelRef(one))
	a.Label(done)
	a.end()
}
