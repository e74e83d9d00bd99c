package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tileRows is how many rows a full tile has: 6 rows by 16 outputs fill twelve of the
// sixteen vector registers.
const tileRows = 6

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

// rowPointers walks the pointers of a tile's rows, tap by tap: the table holds those of
// row 0, then of row 1, and so on.
type rowPointers struct {
	low, high reg.GPVirtual // rows from 0 and from 3 on
	row       reg.GPVirtual // bytes of one row
}

// newRowPointers starts at a tile of the table; row is 8·ntaps.
func (a *asm) newRowPointers(table, row reg.GPVirtual, rows int) rowPointers {
	p := rowPointers{a.GP64(), a.GP64(), row}
	a.MOVQ(table, p.low)
	if rows > 3 {
		a.LEAQ(idx(table, row, 2, 0), p.high)
		a.ADDQ(row, p.high)
	}
	return p
}

// load returns the pixel of row i.
func (p rowPointers) load(a *asm, i int) reg.GPVirtual {
	base := p.low
	if i >= 3 {
		base = p.high
	}
	r := a.GP64()
	if i%3 == 0 {
		a.MOVQ(at(base, 0), r)
	} else {
		a.MOVQ(idx(base, p.row, uint8(i%3), 0), r)
	}
	return r
}

// next goes on to the next tap.
func (p rowPointers) next(a *asm, rows int) {
	a.ADDQ(imm(8), p.low)
	if rows > 3 {
		a.ADDQ(imm(8), p.high)
	}
}

// loadRow returns 8·ntaps.
func (a *asm) loadRow() reg.GPVirtual {
	r := a.load("ntaps")
	a.SHLQ(imm(3), r)
	return r
}

// skipTile moves the table and the list of output offsets past a tile.
func (a *asm) skipTile(table, offsets, row reg.GPVirtual, rows int) {
	n := a.GP64()
	a.IMUL3Q(imm(rows), row, n)
	a.ADDQ(n, table)
	a.ADDQ(imm(8*rows), offsets)
}

// tapWeights returns the address of the weights of column tap of the gather.
func (a *asm) tapWeights(tap reg.Register) reg.GPVirtual {
	w := a.load("taps")
	a.MOVLQSX(idx(w, tap, 4, 0), w)
	a.IMULQ(a.arg("wtap"), w)
	a.ADDQ(a.arg("w"), w)
	return w
}

// convIndirect: one panel of outputs for n rows that gather their inputs.
func convIndirect(a *asm) {
	a.function("convIndirect",
		"computes 16 or 8 outputs of n rows. pixels lists the inputs behind each tap, row by row, and\n"+
			"offsets the byte offset of each row's outputs. cinMain and cinAll are 4·(cin&^3) and 4·cin,\n"+
			"wtap the bytes of a tap of weights.",
		"pixels **float32, offsets *int, n, outputs int, taps *int32, ntaps, cinMain, cinAll int, w *float32, "+
			"wtap int, y, res, scale, shift *float32, act int")
	widths(a, func(cols int) {
		table, offsets, row := a.load("pixels"), a.load("offsets"), a.loadRow()
		tiles(a, func(rows int) {
			convTile(a, table, row, offsets, rows, cols)
			a.skipTile(table, offsets, row, rows)
		})
	})
}

func convTile(a *asm, table, row, offsets reg.GPVirtual, rows, cols int) {
	t := a.newTile(rows, cols/8, 4)
	p := a.newRowPointers(table, row, rows)
	tap := a.GP64()
	a.XORQ(tap, tap)
	loop, done := a.label("tap"), a.label("taps")
	a.CMPQ(a.arg("ntaps"), imm(0))
	a.JEQ(operand.LabelRef(done))
	a.Label(loop)
	var x []reg.Register
	for i := range rows {
		x = append(x, p.load(a, i))
	}
	p.next(a, rows)
	t.inputs(a, x, a.tapWeights(tap))
	a.INCQ(tap)
	a.CMPQ(tap, a.arg("ntaps"))
	a.JLT(operand.LabelRef(loop))
	a.Label(done)
	t.fold(a)
	t.epilogue(a, offsets)
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
	t.epilogueAt(a, nil, func(f func(int, reg.Register)) {
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
