package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gradTaps is how many taps one pass of the depthwise weight gradient accumulates: with
// two vectors of output gradients they fill the sixteen registers.
const gradTaps = 7

func depthwiseFile(a *asm) {
	depthwise(a)
	depthwiseGrad(a)
}

// depthwise: one or two vectors of channels for n rows.
func depthwise(a *asm) {
	a.function("depthwise",
		"computes 16 or 8 channels, which begin ch bytes into a pixel of the inputs, of n rows. pixels,\n"+
			"offsets and wtap are as in convIndirect; w, y, res, scale and shift point to the first channel.",
		"pixels **float32, offsets *int, n, outputs int, taps *int32, ntaps, ch int, w *float32, wtap int, "+
			"y, res, scale, shift *float32, act int")
	widths(a, func(cols int) {
		table, offsets, row, ch := a.load("pixels"), a.load("offsets"), a.loadRow(), a.load("ch")
		tiles(a, func(rows int) {
			t := a.newTile(rows, cols/8, 1)
			p, tap := a.newRowPointers(table, row, rows), a.GP64()
			a.XORQ(tap, tap)
			loop := a.label("tap")
			a.Label(loop)
			w := a.tapWeights(tap)
			wv := make([]reg.VecVirtual, t.vecs)
			for v := range wv {
				wv[v] = a.YMM()
				a.VMOVUPS(at(w, 32*v), wv[v])
			}
			for i := range rows {
				x := p.load(a, i)
				for v := range wv {
					a.VFMADD231PS(idx(x, ch, 1, 32*v), wv[v], t.acc[i][v])
				}
			}
			p.next(a, rows)
			a.INCQ(tap)
			a.CMPQ(tap, a.arg("ntaps"))
			a.JLT(operand.LabelRef(loop))
			t.epilogue(a, offsets)
			a.skipTile(table, offsets, row, rows)
		})
	})
}

// depthwiseGrad: up to gradTaps taps of one or two vectors of channels.
func depthwiseGrad(a *asm) {
	a.function("depthwiseGrad",
		"adds to the gradients of up to 7 taps of vecs·8 (8 or 16) channels, which begin ch bytes into\n"+
			"a pixel. pixels lists the inputs of each row, next bytes behind those of the last; pitch is the\n"+
			"bytes of a pixel of dy, wtap those of a tap of weights.",
		"pixels **float32, next, ch int, dy, dw *float32, taps *int32, ntaps, vecs, rows, pitch, wtap int")
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
	pixels, ch, dy := a.load("pixels"), a.load("ch"), a.load("dy")
	next, pitch, n := a.load("next"), a.load("pitch"), a.load("rows")
	row := a.label("row")
	a.Label(row)
	d := make([]reg.VecVirtual, vecs)
	for v := range d {
		d[v] = a.YMM()
		a.VMOVUPS(idx(dy, ch, 1, 32*v), d[v])
	}
	for i := range taps {
		p := a.GP64()
		a.MOVQ(at(pixels, 8*i), p)
		for v := range d {
			a.VFMADD231PS(idx(p, ch, 1, 32*v), d[v], t.acc[i][v])
		}
	}
	a.ADDQ(next, pixels)
	a.ADDQ(pitch, dy)
	a.DECQ(n)
	a.JNZ(operand.LabelRef(row))
	list := a.load("taps")
	for i := range taps {
		w := a.GP64()
		a.MOVLQSX(at(list, 4*i), w)
		a.IMULQ(a.arg("wtap"), w)
		a.ADDQ(a.arg("dw"), w)
		for v, r := range t.acc[i] {
			m := idx(w, ch, 1, 32*v)
			a.VADDPS(m, r, r)
			a.VMOVUPS(r, m)
		}
	}
}
