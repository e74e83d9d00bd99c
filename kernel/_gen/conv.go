package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tileRows is how many rows a full tile has: 6 rows by 16 outputs fill twelve of the
// sixteen vector registers.
const tileRows = 6

// Layout of the Go type row: where a row of outputs reads and writes.
const (
	rowX    = 0  // *float32: its image (or, for depthwise, the same)
	rowIn   = 8  // *int32: its input pixels, one a tap
	rowY    = 16 // int: byte offset of its first output in y and res
	rowSize = 24
)

func convFile(a *asm) {
	a.splat(6)
	a.splat(3)
	a.splat(1.0 / 6)
	convIndirect(a)
	convLinear(a)
}

// widths emits body for a panel of 16 outputs and, when the parameter outputs is 8, for
// half a panel. It ends the function.
func widths(a *asm, body func(cols int)) {
	half, done := a.label("half"), a.label("done")
	a.CMPQ(a.arg("outputs"), imm(8))
	a.JEQ(operand.LabelRef(half))
	body(16)
	a.JMP(operand.LabelRef(done))
	a.Label(half)
	body(8)
	a.Label(done)
	a.end()
}

// tiles emits body for full tiles while at least tileRows of the parameter n are left,
// then for the rest.
func tiles(a *asm, body func(rows int)) {
	done := a.label("done")
	next := a.label("next")
	tails := make([]string, tileRows)
	for i := 1; i < tileRows; i++ {
		tails[i] = a.label("tail")
	}
	a.Label(next)
	n := a.load("n")
	for i := 1; i < tileRows; i++ {
		a.CMPQ(n, imm(i))
		a.JEQ(operand.LabelRef(tails[i]))
	}
	a.TESTQ(n, n)
	a.JZ(operand.LabelRef(done))
	a.SUBQ(imm(tileRows), n)
	a.MOVQ(n, a.arg("n"))
	body(tileRows)
	a.JMP(operand.LabelRef(next))
	for i := 1; i < tileRows; i++ {
		a.Label(tails[i])
		body(i)
		a.JMP(operand.LabelRef(done))
	}
	a.Label(done)
}

// convIndirect: one panel of outputs for n rows that gather their inputs.
func convIndirect(a *asm) {
	a.function("convIndirect",
		"computes 16 or 8 outputs of n rows. cinMain and cinAll are 4·(cin&^3) and 4·cin;\n"+
			"pitch and wtap are the bytes of an input pixel and of a tap of weights; zero has cin zeros.",
		"rows *row, n, outputs int, taps *int32, ntaps, cinMain, cinAll int, w *float32, wtap, pitch int, zero, y, res, scale, shift *float32, act int")
	widths(a, func(cols int) {
		desc := a.load("rows")
		tiles(a, func(rows int) { convIndirectTile(a, desc, rows, cols) })
	})
}

func convIndirectTile(a *asm, desc reg.Register, rows, cols int) {
	t := a.newTile(rows, cols/8, 4)
	tap := a.GP64()
	a.XORQ(tap, tap)
	loop, done := a.label("tap"), a.label("taps")
	a.CMPQ(a.arg("ntaps"), imm(0))
	a.JEQ(operand.LabelRef(done))
	a.Label(loop)
	zero := a.load("zero")
	var x []reg.Register
	for i := range rows {
		x = append(x, a.gather(desc, rowSize*i, tap, zero))
	}
	w := a.load("taps")
	a.MOVLQSX(idx(w, tap, 4, 0), w)
	a.IMULQ(a.arg("wtap"), w)
	a.ADDQ(a.arg("w"), w)
	t.inputs(a, x, w)
	a.INCQ(tap)
	a.CMPQ(tap, a.arg("ntaps"))
	a.JLT(operand.LabelRef(loop))
	a.Label(done)
	t.fold(a)
	t.epilogue(a, nil, func(f func(int, reg.Register)) {
		for i := range rows {
			off := a.GP64()
			a.MOVQ(at(desc, rowSize*i+rowY), off)
			f(i, off)
		}
	})
	a.ADDQ(imm(rowSize*rows), desc)
}

// gather returns the address of the input pixel behind a tap of the row described at
// desc+disp, zero for padding.
func (a *asm) gather(desc reg.Register, disp int, tap, zero reg.Register) reg.Register {
	off, p := a.GP64(), a.GP64()
	a.MOVQ(at(desc, disp+rowIn), off)
	a.MOVLQSX(idx(off, tap, 4, 0), off)
	a.IMULQ(a.arg("pitch"), off)
	a.MOVQ(at(desc, disp+rowX), p)
	a.ADDQ(off, p)
	a.TESTQ(off, off)
	a.CMOVQLT(zero, p)
	return p
}

// inputs accumulates over all inputs of one tap: x are the rows' pixels, w the weights,
// which it advances.
func (t *tile) inputs(a *asm, x []reg.Register, w reg.Register) {
	const unroll = 4
	k := a.GP64()
	a.XORQ(k, k)
	step := func(n int) {
		for s := range n {
			t.outer(a, s%t.split,
				func(i int) operand.Mem { return idx(x[i], k, 1, 4*s) },
				func(v int) operand.Mem { return at(w, 64*s+32*v) })
		}
		a.ADDQ(imm(64*n), w)
		a.ADDQ(imm(4*n), k)
	}
	main, rest, one, done := a.label("main"), a.label("rest"), a.label("one"), a.label("inputs")
	a.CMPQ(a.arg("cinMain"), imm(0))
	a.JEQ(operand.LabelRef(rest))
	a.Label(main)
	step(unroll)
	a.CMPQ(k, a.arg("cinMain"))
	a.JLT(operand.LabelRef(main))
	a.Label(rest)
	a.CMPQ(k, a.arg("cinAll"))
	a.JGE(operand.LabelRef(done))
	a.Label(one)
	step(1)
	a.CMPQ(k, a.arg("cinAll"))
	a.JLT(operand.LabelRef(one))
	a.Label(done)
}

// convLinear: one panel of outputs for n rows whose inputs and outputs follow each other.
func convLinear(a *asm) {
	a.function("convLinear",
		"computes 16 or 8 outputs of n rows that read one pixel each, pitch bytes apart, and\n"+
			"write ypitch bytes apart.",
		"x *float32, n, outputs, cinMain, cinAll int, w *float32, pitch, ypitch int, y, res, scale, shift *float32, act int")
	widths(a, func(cols int) {
		x := a.load("x")
		off := a.GP64()
		a.XORQ(off, off)
		tiles(a, func(rows int) { convLinearTile(a, x, off, rows, cols) })
	})
}

func convLinearTile(a *asm, x, off reg.GPVirtual, rows, cols int) {
	t := a.newTile(rows, cols/8, 4)
	p := []reg.Register{x}
	for i := 1; i < rows; i++ {
		q := a.GP64()
		a.MOVQ(p[i-1], q)
		a.ADDQ(a.arg("pitch"), q)
		p = append(p, q)
	}
	t.inputs(a, p, a.load("w"))
	t.fold(a)
	a.MOVQ(p[rows-1], x)
	a.ADDQ(a.arg("pitch"), x)
	t.epilogue(a, nil, func(f func(int, reg.Register)) {
		o := a.GP64()
		a.MOVQ(off, o)
		for i := range rows {
			f(i, o)
			if i < rows-1 {
				a.ADDQ(a.arg("ypitch"), o)
			}
		}
	})
	step := a.load("ypitch")
	a.IMUL3Q(imm(rows), step, step)
	a.ADDQ(step, off)
}
