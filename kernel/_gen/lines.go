package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// linesFile: depthwise convolutions for AVX-512, line by line.
func linesFile(a *asm) {
	for _, v := range []float32{1, 1.0 / 6, 0.5} {
		a.splat(v)
	}
	scaleTaps(a)
	for _, k := range []int{3, 5, 7} {
		for _, stride := range []int{1, 2} {
			lines(a, k, stride)
		}
	}
}

// scaleTaps: the weights of some channels as the functions of lines read them.
func scaleTaps(a *asm) {
	a.function("scaleTaps",
		"copies n taps of wide (64) or half as many bytes, times scale; offsets has their byte offsets in w. It\n"+
			"prefetches those of the channels that follow.",
		"dst, w *float32, offsets *int, n int, scale *float32, wide int")
	for _, width := range []int{64, 32} {
		other, loop := a.label("other"), a.label("tap")
		a.CMPQ(a.arg("wide"), imm(width))
		a.JNE(operand.LabelRef(other))
		dst, w, offsets, n := a.load("dst"), a.load("w"), a.load("offsets"), a.load("n")
		scale := a.vec(width)
		a.VMOVUPS(at(a.load("scale"), 0), scale)
		a.Label(loop)
		off, t := a.GP64(), a.vec(width)
		a.MOVQ(at(offsets, 0), off)
		a.VMULPS(idx(w, off, 1, 0), scale, t)
		a.PREFETCHT0(idx(w, off, 1, width))
		a.VMOVUPS(t, at(dst, 0))
		a.ADDQ(imm(64), dst)
		a.ADDQ(imm(8), offsets)
		a.DECQ(n)
		a.JNZ(operand.LabelRef(loop))
		a.VZEROUPPER()
		a.RET()
		a.Label(other)
	}
	a.RET()
}

// Byte offsets of the fields of the Go type line.
const (
	lineX, lineY, lineRows, lineEnter, lineColumns, lineOutputs = 0, 8, 16, 24, 32, 40
	lineSize                                                    = 48
)

// line is the code for windows of width k: as columns of inputs pass by, each goes into
// all the outputs that it takes part in, whose sums are in as many registers. The weights
// are in registers too, as far as these suffice.
type line struct {
	*asm
	k, stride, width int
	live             int // outputs that a column takes part in, at most

	w        []reg.VecVirtual   // taps in registers
	acc      [][]reg.VecVirtual // sums of outputs by number modulo live, in parts that source rows take turns in
	sum      reg.VecVirtual     // of what was written; nil: in memory
	taps     reg.GPVirtual      // all taps
	x        []reg.GPVirtual    // source rows
	off, out reg.GPVirtual      // bytes of the column in a source row, of the output in y
	rows     reg.GPVirtual      // bits of the source rows that are not padding
	columns  reg.GPVirtual      // still to come
	outputs  reg.GPVirtual      // still to be written
	drain    []string           // labels, by number of the oldest output modulo live
	done     string
}

// lines: a depthwise convolution of width k, some channels on several lines of outputs.
func lines(a *asm, k, stride int) {
	a.function(fmt.Sprintf("lines%dby%d", k, stride),
		fmt.Sprintf("computes n lines of outputs, each a Go line, of a depthwise convolution of width %d with stride %d for the\n", k, stride)+
			"channels of wide bytes (64 or 32). Taps are as scaleTaps writes them, in raster order; row and pitch\n"+
			"are the bytes of a source row and of a pixel. Unless it is nil, sum gets the sums of the outputs.",
		"list *int, n int, x, taps, y, res, shift, sum *float32, row, pitch, wide, act int")
	for _, width := range []int{64, 32} {
		other := a.label("other")
		a.CMPQ(a.arg("wide"), imm(width))
		a.JNE(operand.LabelRef(other))
		l := &line{asm: a, k: k, stride: stride, width: width, live: (k + stride - 1) / stride}
		l.emit()
		a.end()
		a.Label(other)
	}
	a.end()
}

// emit writes the loop over lines.
func (l *line) emit() {
	l.registers()
	next := l.label("line")
	l.done = l.label("done")
	for range l.live {
		l.drain = append(l.drain, l.label("drain"))
	}
	l.Label(next)
	enter := l.begin()
	entries := make([]string, (l.k+1)/2)
	for v := range entries {
		entries[v] = l.label("enter")
		l.CMPQ(enter, imm(v))
		l.JEQ(operand.LabelRef(entries[v]))
	}
	for v := range l.k - 1 { // columns before the one that completes the first output
		if v < len(entries) {
			l.Label(entries[v])
		}
		l.column(v)
	}
	loop := l.label("loop")
	l.Label(loop)
	for v := l.k - 1; v < l.k-1+l.live*l.stride; v++ {
		l.column(v)
	}
	l.JMP(operand.LabelRef(loop))
	for i := range l.live {
		l.Label(l.drain[i])
		l.complete(i)
		l.TESTQ(l.outputs, l.outputs)
		l.JZ(operand.LabelRef(l.done))
	}
	l.JMP(operand.LabelRef(l.drain[0]))
	l.Label(l.done)
	l.ADDQ(imm(lineSize), l.arg("list"))
	l.DECQ(l.arg("n"))
	l.JNZ(operand.LabelRef(next))
	if l.sum != nil {
		none := l.label("nosum")
		p := l.skipZero("sum", none)
		l.VADDPS(at(p, 0), l.sum, l.sum)
		l.VMOVUPS(l.sum, at(p, 0))
		l.Label(none)
	}
}

// registers allocates them and loads the taps: what remains of 32 after the sums, an input and
// one more that activations need.
func (l *line) registers() {
	split := 1
	if l.k == 5 && l.stride == 2 { // 25 multiply-adds in a row would wait for each other
		split = 2
	}
	for range l.live {
		var parts []reg.VecVirtual
		for range split {
			parts = append(parts, l.vec(l.width))
		}
		l.acc = append(l.acc, parts)
	}
	if l.k == 3 {
		l.sum = l.vec(l.width)
		l.zero(l.sum)
	}
	l.taps = l.load("taps")
	for t := range min(l.k*l.k, 30-l.live*split) {
		w := l.vec(l.width)
		l.VMOVUPS(at(l.taps, 64*t), w)
		l.w = append(l.w, w)
	}
	for range l.k {
		l.x = append(l.x, l.GP64())
	}
	l.off, l.out, l.rows, l.columns, l.outputs = l.GP64(), l.GP64(), l.GP64(), l.GP64(), l.GP64()
}

// begin loads a line and returns the column of the first window that the image begins with.
func (l *line) begin() reg.GPVirtual {
	shift := l.load("shift")
	for i := range l.acc {
		l.reset(shift, i)
	}
	p := l.load("list")
	l.MOVQ(at(p, lineX), l.x[0])
	l.ADDQ(l.arg("x"), l.x[0])
	for i := 1; i < l.k; i++ {
		l.MOVQ(l.x[i-1], l.x[i])
		l.ADDQ(l.arg("row"), l.x[i])
	}
	l.XORQ(l.off, l.off)
	l.MOVQ(at(p, lineY), l.out)
	l.MOVQ(at(p, lineRows), l.rows)
	l.MOVQ(at(p, lineColumns), l.columns)
	l.MOVQ(at(p, lineOutputs), l.outputs)
	l.MOVQ(at(p, lineEnter), p)
	return p
}

// reset makes the sum of an output ready.
func (l *line) reset(shift reg.Register, i int) {
	l.VMOVUPS(at(shift, 0), l.acc[i][0])
	for _, r := range l.acc[i][1:] {
		l.zero(r)
	}
}

// part returns what source row r of output i is added to.
func (l *line) part(i, r int) reg.VecVirtual {
	parts := l.acc[i%l.live]
	return parts[r%len(parts)]
}

// column adds column v, counted from the first that the line's first output reads.
func (l *line) column(v int) {
	for r := range l.k {
		skip := l.label("row")
		l.TESTQ(operand.I32(1<<r), l.rows)
		l.JZ(operand.LabelRef(skip))
		x := l.vec(l.width)
		l.VMOVUPS(idx(l.x[r], l.off, 1, 0), x)
		for i := (max(0, v-l.k+1) + l.stride - 1) / l.stride; i*l.stride <= v; i++ {
			t := r*l.k + v - i*l.stride
			if t < len(l.w) {
				l.VFMADD231PS(x, l.w[t], l.part(i, r))
			} else {
				l.VFMADD231PS(at(l.taps, 64*t), x, l.part(i, r))
			}
		}
		l.Label(skip)
	}
	l.ADDQ(l.arg("pitch"), l.off)
	oldest := 0
	if n := v - l.k + 1; n >= 0 {
		oldest = (n + l.stride - 1) / l.stride
		if n%l.stride == 0 {
			l.complete(oldest % l.live)
			oldest++
		}
	}
	more := l.label("more")
	l.DECQ(l.columns)
	l.JNZ(operand.LabelRef(more))
	l.TESTQ(l.outputs, l.outputs)
	l.JNZ(operand.LabelRef(l.drain[oldest%l.live]))
	l.JMP(operand.LabelRef(l.done))
	l.Label(more)
}

// complete writes an output and makes its register ready for another.
func (l *line) complete(i int) {
	z := l.acc[i][0]
	for _, r := range l.acc[i][1:] {
		l.VADDPS(r, z, z)
	}
	noRes, noSum := l.label("nores"), l.label("nosum")
	res := l.skipZero("res", noRes)
	l.VADDPS(idx(res, l.out, 1, 0), z, z)
	l.Label(noRes)
	l.activateOne(z)
	l.VMOVUPS(z, idx(l.load("y"), l.out, 1, 0))
	sum := l.skipZero("sum", noSum)
	if l.sum != nil {
		l.VADDPS(z, l.sum, l.sum)
	} else {
		l.VADDPS(at(sum, 0), z, z)
		l.VMOVUPS(z, at(sum, 0))
	}
	l.Label(noSum)
	l.ADDQ(l.arg("pitch"), l.out)
	l.reset(l.load("shift"), i)
	l.DECQ(l.outputs)
}

// activateOne is activate512 for one register, with two more at most.
func (a *asm) activateOne(z reg.VecVirtual) {
	width := int(z.Size())
	done, linearOr, hard := a.label("acted"), a.label("notrelu"), a.label("hard")
	act := a.load("act")
	a.CMPQ(act, imm(relu))
	a.JNE(operand.LabelRef(linearOr))
	c := a.vec(width)
	a.zero(c)
	a.VMAXPS(c, z, z)
	a.JMP(operand.LabelRef(done))
	a.Label(linearOr)
	a.JLT(operand.LabelRef(done))
	h := a.vec(width)
	c = a.vec(width)
	a.VMULPS_BCST(a.splat(1.0/6), z, h)
	a.VADDPS_BCST(a.splat(0.5), h, h)
	a.zero(c)
	a.VMAXPS(h, c, h)
	a.VBROADCASTSS(a.splat(1), c)
	a.VMINPS(h, c, h)
	a.CMPQ(act, imm(hswish))
	a.JEQ(operand.LabelRef(hard))
	a.VMOVAPS(h, z)
	a.JMP(operand.LabelRef(done))
	a.Label(hard)
	a.VMULPS(h, z, z)
	a.Label(done)
}
