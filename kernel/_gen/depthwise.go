package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gradTaps is how many taps one pass of the depthwise weight gradient accumulates: with
// two vectors of output gradients they fill the sixteen registers.
const gradTaps = 7

// pointerSize is the bytes of scratch for one tap: a pointer to the pixel of each row of
// a tile and one to the weights.
const pointerSize = 8 * (tileRows + 1)

func depthwiseFile(a *asm) {
	depthwise(a)
	depthwiseGrad(a)
}

// depthwise first looks up the pixels of a tile for all taps, then goes through the
// channels, sixteen at a time.
func depthwise(a *asm) {
	a.function("depthwise",
		"computes n rows of a multiple of 8 channels. pitch and wtap are the bytes of a pixel and of\n"+
			"a tap of weights, channels those of a pixel in use; pointers is scratch for 7 pointers a tap.",
		"rows *row, n int, taps *int32, ntaps, channels int, w *float32, wtap, pitch int, zero *float32, "+
			"pointers *uintptr, y, res, scale, shift *float32, act int")
	desc := a.load("rows")
	tiles(a, func(rows int) {
		a.lookUp(desc, rows)
		ch := a.GP64()
		a.XORQ(ch, ch)
		wide, narrow, done := a.label("wide"), a.label("narrow"), a.label("channels")
		left := a.GP64()
		a.Label(wide)
		a.MOVQ(a.arg("channels"), left)
		a.SUBQ(ch, left)
		a.CMPQ(left, imm(64))
		a.JLT(operand.LabelRef(narrow))
		a.channels(desc, ch, rows, 2)
		a.ADDQ(imm(64), ch)
		a.JMP(operand.LabelRef(wide))
		a.Label(narrow)
		a.TESTQ(left, left)
		a.JZ(operand.LabelRef(done))
		a.channels(desc, ch, rows, 1)
		a.Label(done)
		a.ADDQ(imm(rowSize*rows), desc)
	})
	a.end()
}

// lookUp fills the scratch for a tile.
func (a *asm) lookUp(desc reg.Register, rows int) {
	tap, p, zero := a.GP64(), a.load("pointers"), a.load("zero")
	a.XORQ(tap, tap)
	loop, done := a.label("lookup"), a.label("found")
	a.Label(loop)
	a.CMPQ(tap, a.arg("ntaps"))
	a.JGE(operand.LabelRef(done))
	for i := range rows {
		a.MOVQ(a.gather(desc, rowSize*i, tap, zero), at(p, 8*i))
	}
	w := a.load("taps")
	a.MOVLQSX(idx(w, tap, 4, 0), w)
	a.IMULQ(a.arg("wtap"), w)
	a.ADDQ(a.arg("w"), w)
	a.MOVQ(w, at(p, 8*tileRows))
	a.ADDQ(imm(pointerSize), p)
	a.INCQ(tap)
	a.JMP(operand.LabelRef(loop))
	a.Label(done)
}

// channels computes vecs vectors of channels, from byte ch on, of a tile.
func (a *asm) channels(desc, ch reg.Register, rows, vecs int) {
	t := a.newTile(rows, vecs, 1)
	p, n := a.load("pointers"), a.load("ntaps")
	loop, done := a.label("tap"), a.label("taps")
	a.TESTQ(n, n)
	a.JZ(operand.LabelRef(done))
	a.Label(loop)
	w := a.GP64()
	a.MOVQ(at(p, 8*tileRows), w)
	wv := make([]reg.VecVirtual, vecs)
	for v := range wv {
		wv[v] = a.YMM()
		a.VMOVUPS(idx(w, ch, 1, 32*v), wv[v])
	}
	for i := range rows {
		x := a.GP64()
		a.MOVQ(at(p, 8*i), x)
		for v := range wv {
			a.VFMADD231PS(idx(x, ch, 1, 32*v), wv[v], t.acc[i][v])
		}
	}
	a.ADDQ(imm(pointerSize), p)
	a.DECQ(n)
	a.JNZ(operand.LabelRef(loop))
	a.Label(done)
	t.epilogue(a, ch, func(f func(int, reg.Register)) {
		for i := range rows {
			off := a.GP64()
			a.MOVQ(at(desc, rowSize*i+rowY), off)
			a.ADDQ(ch, off)
			f(i, off)
		}
	})
}

// depthwiseGrad: up to gradTaps taps of one or two vectors of channels.
func depthwiseGrad(a *asm) {
	a.function("depthwiseGrad",
		"adds to the gradients of up to 7 taps of vecs·8 (8 or 16) channels over rows of images that\n"+
			"are image bytes apart; a row's pixels stand in in, tap bytes behind those of the last.",
		"x, dy, dw *float32, taps *int32, ntaps, vecs, rows, pitch, wtap, images, image int, in *int32, tap int, zero *float32")
	half, done := a.label("half"), a.label("done")
	a.CMPQ(a.arg("vecs"), imm(1))
	a.JEQ(operand.LabelRef(half))
	a.tapBlocks(2)
	a.JMP(operand.LabelRef(done))
	a.Label(half)
	a.tapBlocks(1)
	a.Label(done)
	a.end()
}

// tapBlocks emits a body for every number of taps.
func (a *asm) tapBlocks(vecs int) {
	done := a.label("done")
	n := a.load("ntaps")
	var labels [gradTaps + 1]string
	for i := 1; i < gradTaps; i++ {
		labels[i] = a.label("taps")
		a.CMPQ(n, imm(i))
		a.JEQ(operand.LabelRef(labels[i]))
	}
	for i := gradTaps; i >= 1; i-- {
		if i < gradTaps {
			a.Label(labels[i])
		}
		a.tapBlock(i, vecs)
		a.JMP(operand.LabelRef(done))
	}
	a.Label(done)
}

func (a *asm) tapBlock(taps, vecs int) {
	t := a.newTile(taps, vecs, 1)
	x, dy, zero, tap := a.load("x"), a.load("dy"), a.load("zero"), a.load("tap")
	images := a.load("images")
	image, row := a.label("image"), a.label("row")
	a.Label(image)
	in, n := a.load("in"), a.load("rows")
	a.Label(row)
	d := make([]reg.VecVirtual, vecs)
	for v := range d {
		d[v] = a.YMM()
		a.VMOVUPS(at(dy, 32*v), d[v])
	}
	for i := range taps {
		off, p := a.GP64(), a.GP64()
		a.MOVLQSX(at(in, 4*i), off)
		a.IMULQ(a.arg("pitch"), off)
		a.LEAQ(idx(x, off, 1, 0), p)
		a.TESTQ(off, off)
		a.CMOVQLT(zero, p)
		for v := range d {
			a.VFMADD231PS(at(p, 32*v), d[v], t.acc[i][v])
		}
	}
	a.ADDQ(tap, in)
	a.ADDQ(a.arg("pitch"), dy)
	a.DECQ(n)
	a.JNZ(operand.LabelRef(row))
	a.ADDQ(a.arg("image"), x)
	a.DECQ(images)
	a.JNZ(operand.LabelRef(image))
	list := a.load("taps")
	for i := range taps {
		w := a.GP64()
		a.MOVLQSX(at(list, 4*i), w)
		a.IMULQ(a.arg("wtap"), w)
		a.ADDQ(a.arg("dw"), w)
		for v, r := range t.acc[i] {
			a.VADDPS(at(w, 32*v), r, r)
			a.VMOVUPS(r, at(w, 32*v))
		}
	}
}
