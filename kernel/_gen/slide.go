package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// slidePixels is how many neighbouring outputs the sliding depthwise kernels compute at a
// time: with seven weights and one input they fill the sixteen registers.
const slidePixels = 8

func slideFile(a *asm) {
	a.splat(6)
	a.splat(3)
	a.splat(1.0 / 6)
	for _, k := range []int{3, 5, 7} {
		slide(a, k)
	}
}

// slide: a depthwise convolution whose neighbouring outputs share their inputs: each input
// is loaded once for the k taps of a source row that it takes part in.
func slide(a *asm, k int) {
	a.function(fmt.Sprintf("slide%d", k),
		fmt.Sprintf("computes tiles·m neighbouring outputs, m up to 8, of a depthwise convolution of width %d.\n"+
			"pixels lists the inputs of the first of height source rows, next bytes before those of the next\n"+
			"row; weights has the byte offsets in w of %d taps a source row, from left to right; channels and\n"+
			"pitch are the bytes of the channels in use and of a pixel.", k, k),
		"pixels **float32, next, height, m, tiles int, weights *int, w *float32, channels, pitch int, "+
			"y, res, scale, shift *float32, act int")
	done := a.label("done")
	n := a.load("m")
	var labels [slidePixels + 1]string
	for m := 1; m < slidePixels; m++ {
		labels[m] = a.label("pixels")
		a.CMPQ(n, imm(m))
		a.JEQ(operand.LabelRef(labels[m]))
	}
	for m := slidePixels; m >= 1; m-- {
		if m < slidePixels {
			a.Label(labels[m])
		}
		slideTiles(a, k, m)
		a.JMP(operand.LabelRef(done))
	}
	a.Label(done)
	a.end()
}

func slideTiles(a *asm, k, m int) {
	pixels, out, ch := a.load("pixels"), a.GP64(), a.GP64()
	a.XORQ(out, out)
	tile, channel := a.label("tile"), a.label("channel")
	a.Label(tile)
	a.XORQ(ch, ch)
	a.Label(channel)
	t := a.newTile(m, 1, 1)
	t.slideRows(a, k, pixels, ch)
	t.epilogueAt(a, ch, func(f func(int, reg.Register)) {
		off := a.GP64()
		a.LEAQ(idx(out, ch, 1, 0), off)
		for i := range m {
			f(i, off)
			if i < m-1 {
				a.ADDQ(a.arg("pitch"), off)
			}
		}
	})
	a.ADDQ(imm(32), ch)
	a.CMPQ(ch, a.arg("channels"))
	a.JLT(operand.LabelRef(channel))
	a.ADDQ(imm(8*m), pixels)
	step := a.load("pitch")
	a.IMUL3Q(imm(m), step, step)
	a.ADDQ(step, out)
	a.DECQ(a.arg("tiles"))
	a.JNZ(operand.LabelRef(tile))
}

// slideRows accumulates over all source rows, eight channels from byte ch on.
func (t *tile) slideRows(a *asm, k int, pixels, ch reg.GPVirtual) {
	w, weights, n, p := a.load("w"), a.load("weights"), a.load("height"), a.GP64()
	a.ADDQ(ch, w)
	a.MOVQ(pixels, p)
	loop := a.label("row")
	a.Label(loop)
	wv := make([]reg.VecVirtual, k)
	for dx := range wv {
		off := a.GP64()
		a.MOVQ(at(weights, 8*dx), off)
		wv[dx] = a.YMM()
		a.VMOVUPS(idx(w, off, 1, 0), wv[dx])
	}
	for j := range t.rows + k - 1 {
		x, v := a.GP64(), a.YMM()
		a.MOVQ(at(p, 8*j), x)
		a.VMOVUPS(idx(x, ch, 1, 0), v)
		for dx := range wv {
			if i := j - dx; i >= 0 && i < t.rows {
				a.VFMADD231PS(v, wv[dx], t.acc[i][0])
			}
		}
	}
	a.ADDQ(a.arg("next"), p)
	a.ADDQ(imm(8*k), weights)
	a.DECQ(n)
	a.JNZ(operand.LabelRef(loop))
}
