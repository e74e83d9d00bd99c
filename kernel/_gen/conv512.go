package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// blockRows is how many rows a full block has. With 10 rows by 32 outputs each value is
// loaded seldom enough; 12 rows, which would fit the registers, measured slower.
const blockRows = 10

// conv512File: the dense convolution for AVX-512.
func conv512File(a *asm) {
	a.splat(1)
	a.splat(1.0 / 6)
	a.splat(0.5)
	a.function("convBlocks",
		"computes outputs (8, 16, 24 or 32) outputs of rows that gather their inputs: tiles blocks of m rows,\n"+
			"m up to 10, then less blocks of m−1. pixels lists the inputs behind each tap, row by row, row bytes\n"+
			"a row, and offsets the byte offset of each row's outputs. If pixels is nil the inputs are at x, those\n"+
			"of rows row and those of taps line bytes apart, and the outputs ypitch bytes apart. cinMain and cinAll are 4·(cin&^3)\n"+
			"and 4·cin, wtap the bytes of a tap of weights and wpanel those of a panel. Unless next is 0,\n"+
			"the first block asks the second-level cache for the weights of each tap's successor, of which the last\n"+
			"one's are next bytes behind its own.",
		"pixels **float32, offsets *int, x *float32, row, line, ypitch, m, tiles, less, outputs int, taps *int32, "+
			"ntaps, cinMain, cinAll int, w *float32, wtap, wpanel int, y, res, scale, shift *float32, act, next int")
	c := conv512{asm: a, tap: a.AllocLocal(8), out: a.AllocLocal(8)}
	a.MOVQ(operand.I32(0), c.out)
	done := a.label("done")
	for _, w := range []struct {
		outputs int
		widths  []int
	}{{32, []int{64, 64}}, {24, []int{64, 32}}, {16, []int{64}}, {8, []int{32}}} {
		skip := a.label("skip")
		a.CMPQ(a.arg("outputs"), imm(w.outputs))
		a.JNE(operand.LabelRef(skip))
		a.eachHeight(blockRows, done, func(rows int) { c.block(rows, w.widths) })
		a.Label(skip)
	}
	a.Label(done)
	a.end()
}

// eachHeight emits body for every height up to most and loops that run it tiles times for
// m rows, then less times for m−1; these are parameters, and tiles is above 0.
func (a *asm) eachHeight(most int, done string, body func(rows int)) {
	labels := make([]string, most+1)
	for i := range labels {
		labels[i] = a.label("rows")
	}
	m := a.load("m")
	for i := 1; i < most; i++ {
		a.CMPQ(m, imm(i))
		a.JEQ(operand.LabelRef(labels[i]))
	}
	for i := most; i >= 1; i-- {
		a.Label(labels[i])
		body(i)
		a.DECQ(a.arg("tiles"))
		a.JNZ(operand.LabelRef(labels[i]))
		if i > 1 {
			less := a.skipZero("less", done)
			a.MOVQ(less, a.arg("tiles"))
			a.MOVQ(operand.I32(0), a.arg("less"))
		}
	}
	a.JMP(operand.LabelRef(done))
}

// conv512 is the function convBlocks: tap and out are variables that count the taps and,
// for linear rows, the bytes of outputs that blocks have written.
type conv512 struct {
	*asm
	tap, out operand.Mem
}

func (a conv512) block(rows int, widths []int) {
	a.expect(rows, widths)
	b := a.newBlock(rows, widths, 4)
	a.MOVQ(operand.I32(0), a.tap)
	loop, done := a.label("tap"), a.label("taps")
	a.CMPQ(a.arg("ntaps"), imm(0))
	a.JEQ(operand.LabelRef(done))
	a.Label(loop)
	a.accumulate(b, a.inputs(rows))
	tap := a.GP64()
	a.MOVQ(a.tap, tap)
	a.INCQ(tap)
	a.MOVQ(tap, a.tap)
	a.CMPQ(tap, a.arg("ntaps"))
	a.JLT(operand.LabelRef(loop))
	a.Label(done)
	b.fold(a.asm)
	a.MOVQ(operand.I32(0), a.arg("next"))
	b.epilogue(a.asm, a.outputs(rows))
	a.advance(rows)
}

// inputs returns the pixels of a block's rows behind the tap.
func (a conv512) inputs(rows int) []reg.GPVirtual {
	x := make([]reg.GPVirtual, rows)
	for i := range x {
		x[i] = a.GP64()
	}
	linear, done := a.label("linear"), a.label("inputs")
	p := a.skipZero("pixels", linear)
	t := a.GP64()
	a.MOVQ(a.tap, t)
	a.LEAQ(idx(p, t, 8, 0), p)
	for i := range x {
		a.MOVQ(at(p, 0), x[i])
		if i < rows-1 {
			a.ADDQ(a.arg("row"), p)
		}
	}
	a.JMP(operand.LabelRef(done))
	a.Label(linear)
	a.MOVQ(a.tap, x[0])
	a.IMULQ(a.arg("line"), x[0])
	a.ADDQ(a.arg("x"), x[0])
	for i := 1; i < rows; i++ {
		a.MOVQ(x[i-1], x[i])
		a.ADDQ(a.arg("row"), x[i])
	}
	a.Label(done)
	return x
}

// accumulate adds up all inputs of one tap of the rows' pixels x.
func (a conv512) accumulate(b *block, x []reg.GPVirtual) {
	const unroll = 4
	w, t := a.load("taps"), a.GP64()
	a.MOVQ(a.tap, t)
	a.MOVLQSX(idx(w, t, 4, 0), w)
	a.IMULQ(a.arg("wtap"), w)
	a.ADDQ(a.arg("w"), w)
	k, panel := a.GP64(), reg.GPVirtual(nil)
	if b.off(len(b.widths)) > 64 {
		panel = a.load("wpanel")
	}
	next := a.ahead()
	a.XORQ(k, k)
	step := func(n int, asking bool) {
		for s := range n {
			b.outer(a.asm, s%b.split,
				func(i int) operand.Mem { return idx(x[i], k, 1, 4*s) },
				func(v int) operand.Mem {
					if off := b.off(v); off >= 64 {
						return idx(w, panel, 1, 64*s+off-64)
					}
					return at(w, 64*s+b.off(v))
				})
		}
		if asking {
			a.ask(w, next, n)
			if panel != nil {
				second := a.GP64()
				a.LEAQ(idx(w, panel, 1, 0), second)
				a.ask(second, next, n)
			}
		}
		a.ADDQ(imm(64*n), w)
		a.ADDQ(imm(4*n), k)
	}
	main, plain, rest, one, done := a.label("main"), a.label("plain"), a.label("rest"), a.label("one"), a.label("inputs")
	a.CMPQ(a.arg("cinMain"), imm(0))
	a.JEQ(operand.LabelRef(rest))
	a.TESTQ(next, next)
	a.JZ(operand.LabelRef(plain))
	a.Label(main)
	step(unroll, true)
	a.CMPQ(k, a.arg("cinMain"))
	a.JLT(operand.LabelRef(main))
	a.JMP(operand.LabelRef(rest))
	a.Label(plain)
	step(unroll, false)
	a.CMPQ(k, a.arg("cinMain"))
	a.JLT(operand.LabelRef(plain))
	a.Label(rest)
	a.CMPQ(k, a.arg("cinAll"))
	a.JGE(operand.LabelRef(done))
	a.Label(one)
	step(1, false)
	a.CMPQ(k, a.arg("cinAll"))
	a.JLT(operand.LabelRef(one))
	a.Label(done)
}

// ask prefetches n cache lines into the second level, from distance bytes behind p on.
func (a conv512) ask(p, distance reg.GPVirtual, n int) {
	for s := range n {
		a.PREFETCHT1(idx(p, distance, 1, 64*s))
	}
}

// ahead returns the distance from the weights of the tap to those of the one that follows,
// after the last from the parameter next, and 0 if that is.
func (a conv512) ahead() reg.GPVirtual {
	done := a.label("distance")
	next := a.skipZero("next", done)
	t := a.GP64()
	a.MOVQ(a.tap, t)
	a.INCQ(t)
	a.CMPQ(t, a.arg("ntaps"))
	a.JGE(operand.LabelRef(done))
	p, here := a.load("taps"), a.GP64()
	a.MOVLQSX(idx(p, t, 4, 0), next)
	a.MOVLQSX(idx(p, t, 4, -4), here)
	a.SUBQ(here, next)
	a.IMULQ(a.arg("wtap"), next)
	a.Label(done)
	return next
}

// outputs returns the byte offsets of a block's rows in y.
func (a conv512) outputs(rows int) []reg.GPVirtual {
	off := make([]reg.GPVirtual, rows)
	for i := range off {
		off[i] = a.GP64()
	}
	linear, done := a.label("linear"), a.label("outputs")
	list := a.skipZero("offsets", linear)
	for i := range off {
		a.MOVQ(at(list, 8*i), off[i])
	}
	a.JMP(operand.LabelRef(done))
	a.Label(linear)
	a.MOVQ(a.out, off[0])
	for i := 1; i < rows; i++ {
		a.MOVQ(off[i-1], off[i])
		a.ADDQ(a.arg("ypitch"), off[i])
	}
	a.Label(done)
	return off
}

// advance goes on to the next block: it moves the parameters pixels and offsets, or x, and
// the offset of linear rows.
func (a conv512) advance(rows int) {
	linear, done := a.label("linear"), a.label("advanced")
	a.skipZero("offsets", linear)
	a.ADDQ(imm(8*rows), a.arg("offsets"))
	a.ADDQ(a.times("row", rows), a.arg("pixels"))
	a.JMP(operand.LabelRef(done))
	a.Label(linear)
	a.ADDQ(a.times("row", rows), a.arg("x"))
	a.ADDQ(a.times("ypitch", rows), a.out)
	a.Label(done)
}

// times returns n times a parameter.
func (a conv512) times(name string, n int) reg.GPVirtual {
	r := a.load(name)
	a.IMUL3Q(imm(n), r, r)
	return r
}

// expect asks for the cache lines that the block's outputs and residuals begin in, which
// would otherwise be waited for at its end.
func (a conv512) expect(rows int, widths []int) {
	off := a.outputs(rows)
	lines := func(p reg.GPVirtual) {
		for _, o := range off {
			for v := range widths {
				a.PREFETCHT0(idx(p, o, 1, 64*v))
			}
		}
	}
	lines(a.load("y"))
	none := a.label("nores")
	lines(a.skipZero("res", none))
	a.Label(none)
}
