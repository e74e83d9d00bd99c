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
		(*tile).gradIndirect)
	convGrad(a, "convGradLinear",
		"is convGradIndirect for rows whose pixels follow each other.",
		"x, dy, dw *float32, inputs, outputs, rows, pitch, ypitch int",
		(*tile).gradLinear)
}

// convGrad emits one body for every number of inputs.
func convGrad(a *asm, name, doc, params string, accumulate func(*tile, *asm)) {
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
			accumulate(t, a)
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

// gradRows accumulates over the rows of the parameter rows, split at a time; pixel
// returns where the inputs of the next row are.
func (t *tile) gradRows(a *asm, dy reg.Register, pixel func() reg.Register) {
	row := func(s int) {
		p := pixel()
		t.outer(a, s,
			func(i int) operand.Mem { return at(p, 4*i) },
			func(v int) operand.Mem { return at(dy, 32*v) })
		a.ADDQ(a.arg("ypitch"), dy)
	}
	a.splitLoop(a.load("rows"), t.split, row)
}

func (t *tile) gradLinear(a *asm) {
	x, dy := a.load("x"), a.load("dy")
	pitch := a.load("pitch")
	t.gradRows(a, dy, func() reg.Register {
		p := a.GP64()
		a.MOVQ(x, p)
		a.ADDQ(pitch, x)
		return p
	})
}

func (t *tile) gradIndirect(a *asm) {
	x, dy, zero, tap, images := a.load("x"), a.load("dy"), a.load("zero"), a.load("tap"), a.load("images")
	loop := a.label("image")
	a.Label(loop)
	in := a.load("in")
	t.gradRows(a, dy, func() reg.Register {
		off, p := a.GP64(), a.GP64()
		a.MOVLQSX(at(in, 0), off)
		a.ADDQ(tap, in)
		a.IMULQ(a.arg("pitch"), off)
		a.LEAQ(idx(x, off, 1, 0), p)
		a.TESTQ(off, off)
		a.CMOVQLT(zero, p)
		return p
	})
	a.ADDQ(a.arg("image"), x)
	a.DECQ(images)
	a.JNZ(operand.LabelRef(loop))
}
