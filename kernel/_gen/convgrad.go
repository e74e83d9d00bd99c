package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func convGradFile(a *asm) {
	convGrad(a, "convGradIndirect",
		"adds to the gradients of a block of inputs times 16 or 8 outputs, over rows of images that\n"+
			"are image bytes apart; a row reads the pixel that in names, tap bytes behind the last.\n"+
			"A block is up to 6 inputs for 16 outputs and up to 12 for 8.",
		"x, dy, dw *float32, inputs, outputs, rows, pitch, ypitch, images, image int, in *int32, tap int, zero *float32",
		gradIndirect)
	convGrad(a, "convGradListed",
		"is convGradIndirect for images whose outputs are yimage bytes apart, of which row i reads pixel\n"+
			"in[i] and the output gradients of pixel out[i].",
		"x, dy, dw *float32, inputs, outputs, rows, pitch, ypitch, images, image, yimage int, in, out *int32",
		gradListed)
	convGrad(a, "convGradLinear",
		"is convGradIndirect for rows whose pixels follow each other.",
		"x, dy, dw *float32, inputs, outputs, rows, pitch, ypitch int",
		gradLinear)
}

// accumulator is a block of accumulators of inputs by outputs, in split independent copies;
// outer adds the product of the inputs at x and the output gradients at dy to copy s.
type accumulator struct {
	split int
	outer func(s int, x, dy reg.Register)
}

// convGrad emits one body for every number of inputs.
func convGrad(a *asm, name, doc, params string, accumulate func(*asm, accumulator)) {
	a.function(name, doc, params)
	widths(a, func(cols int) {
		most := 12 / (cols / 8)
		done := a.label("done")
		n := a.load("inputs")
		labels := make([]string, most+1)
		for i := 1; i < most; i++ {
			labels[i] = a.label("inputs")
			a.CMPQ(n, imm(i))
			a.JEQ(operand.LabelRef(labels[i]))
		}
		for i := most; i >= 1; i-- {
			if i < most {
				a.Label(labels[i])
			}
			t := a.newTile(i, cols/8, 4)
			accumulate(a, accumulator{t.split, func(s int, x, dy reg.Register) {
				t.outer(a, s,
					func(i int) operand.Mem { return at(x, 4*i) },
					func(v int) operand.Mem { return at(dy, 32*v) })
			}})
			t.fold(a)
			dw := a.load("dw")
			for j := range i {
				for v, r := range t.acc[j] {
					a.VADDPS(at(dw, 64*j+32*v), r, r)
					a.VMOVUPS(r, at(dw, 64*j+32*v))
				}
			}
			a.JMP(operand.LabelRef(done))
		}
		a.Label(done)
	})
}

// rows accumulates over n rows, split at a time; next returns where the inputs and the
// output gradients of the next row are.
func (t accumulator) rows(a *asm, n reg.Register, next func() (x, dy reg.Register)) {
	a.splitLoop(n, t.split, func(s int) {
		x, dy := next()
		t.outer(s, x, dy)
	})
}

func gradLinear(a *asm, t accumulator) {
	x, dy := a.load("x"), a.load("dy")
	pitch, ypitch := a.load("pitch"), a.load("ypitch")
	t.rows(a, a.load("rows"), func() (reg.Register, reg.Register) {
		p, q := a.GP64(), a.GP64()
		a.MOVQ(x, p)
		a.MOVQ(dy, q)
		a.ADDQ(pitch, x)
		a.ADDQ(ypitch, dy)
		return p, q
	})
}

func gradIndirect(a *asm, t accumulator) {
	x, dy, zero, tap, images := a.load("x"), a.load("dy"), a.load("zero"), a.load("tap"), a.load("images")
	loop := a.label("image")
	a.Label(loop)
	in := a.load("in")
	t.rows(a, a.load("rows"), func() (reg.Register, reg.Register) {
		off, p, q := a.GP64(), a.GP64(), a.GP64()
		a.MOVLQSX(at(in, 0), off)
		a.ADDQ(tap, in)
		a.IMULQ(a.arg("pitch"), off)
		a.LEAQ(idx(x, off, 1, 0), p)
		a.TESTQ(off, off)
		a.CMOVQLT(zero, p)
		a.MOVQ(dy, q)
		a.ADDQ(a.arg("ypitch"), dy)
		return p, q
	})
	a.ADDQ(a.arg("image"), x)
	a.DECQ(images)
	a.JNZ(operand.LabelRef(loop))
}

func gradListed(a *asm, t accumulator) {
	x, dy, images := a.load("x"), a.load("dy"), a.load("images")
	pitch, ypitch := a.load("pitch"), a.load("ypitch")
	loop := a.label("image")
	a.Label(loop)
	in, out := a.load("in"), a.load("out")
	t.rows(a, a.load("rows"), func() (reg.Register, reg.Register) {
		p, q := a.GP64(), a.GP64()
		for _, l := range []struct{ p, list, pitch, base reg.Register }{{p, in, pitch, x}, {q, out, ypitch, dy}} {
			a.MOVLQSX(at(l.list, 0), l.p)
			a.ADDQ(imm(4), l.list)
			a.IMULQ(l.pitch, l.p)
			a.ADDQ(l.base, l.p)
		}
		return p, q
	})
	a.ADDQ(a.arg("image"), x)
	a.ADDQ(a.arg("yimage"), dy)
	a.DECQ(images)
	a.JNZ(operand.LabelRef(loop))
}
