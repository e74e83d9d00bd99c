package main

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// winograd generates the functions of one tier.
type winograd struct {
	*asm
	lanes int // floats of a vector: 8 for AVX2, 16 for AVX-512
	rows  int // tiles that the accumulators of products hold, by two vectors of outputs
}

func winogradFile(a *asm) {
	w := &winograd{a, 8, 6}
	w.file()
	for _, m := range []int{2, 4} {
		w.inputFew(m + 2)
	}
}

func winograd512File(a *asm) { (&winograd{a, 16, 14}).file() }

func (w *winograd) file() {
	for _, m := range []int{2, 4} {
		w.input(m + 2)
		w.output(m + 2)
		w.outputFew(m + 2)
	}
	w.products()
	w.input(down)
	w.productsDown()
	w.outputDown()
}

// name returns the name of a function on tiles of n×n positions, or any, of this tier.
func (w *winograd) name(what string, n int) string {
	switch n {
	case 0:
	case down:
		what += "Down"
	default:
		what = fmt.Sprintf("%s%d", what, n-2)
	}
	if w.lanes == 16 {
		what += "Wide"
	}
	return "winograd" + what
}

// vec returns a new vector register of so many floats.
func (w *winograd) vec(lanes int) reg.VecVirtual {
	switch lanes {
	case 16:
		return w.ZMM()
	case 8:
		return w.YMM()
	default:
		return w.XMM()
	}
}

// view returns a register, or its lower part, as a vector of so many floats.
func view(r reg.Vec, lanes int) reg.Register {
	switch lanes {
	case 16:
		return r.AsZ()
	case 8:
		return r.AsY()
	default:
		return r.AsX()
	}
}

// constant returns a register with copies of v.
func (w *winograd) constant(v float64) reg.VecVirtual {
	r := w.vec(w.lanes)
	w.VBROADCASTSS(w.splat(float32(v)), r)
	return r
}

// channels emits body for as many whole vectors as the channels fill whose bytes are in
// the parameter name, then for half a vector, and ends the function; c is the byte offset
// of the vector.
func (w *winograd) channels(name string, body func(lanes int, c reg.Register)) {
	c, end := w.GP64(), w.load(name)
	w.XORQ(c, c)
	loop, half, done := w.label("loop"), w.label("half"), w.label("done")
	w.SUBQ(imm(4*w.lanes), end)
	w.JLT(operand.LabelRef(half))
	w.Label(loop)
	body(w.lanes, c)
	w.ADDQ(imm(4*w.lanes), c)
	w.CMPQ(c, end)
	w.JLE(operand.LabelRef(loop))
	w.Label(half)
	if w.lanes == 16 {
		w.ADDQ(imm(4*w.lanes), end)
		w.CMPQ(c, end)
		w.JGE(operand.LabelRef(done))
		body(8, c)
		w.Label(done)
	}
	w.end()
}

// grid addresses the n×n positions of a tile, stride bytes apart.
type grid struct {
	low, high   reg.GPVirtual // rows 0, 1, 2, 4 and 3, 5 of a column
	stride, row reg.GPVirtual
}

func (w *winograd) newGrid(n int) *grid {
	g := &grid{w.GP64(), w.GP64(), w.load("stride"), w.GP64()}
	w.IMUL3Q(imm(n), g.stride, g.row)
	return g
}

// column goes to column 0 of the tile at base + c, or to the column that follows.
func (w *winograd) column(g *grid, j int, base, c reg.Register) {
	if j == 0 {
		w.LEAQ(idx(base, c, 1, 0), g.low)
	} else {
		w.ADDQ(g.stride, g.low)
	}
	w.LEAQ(idx(g.low, g.row, 1, 0), g.high)
}

// at returns row i of the column.
func (g *grid) at(i int) operand.Mem {
	switch i {
	case 0:
		return at(g.low, 0)
	case 3, 5:
		return idx(g.high, g.row, uint8(i-1), 0)
	default:
		return idx(g.low, g.row, uint8(i), 0)
	}
}

// points are the constants of F(4,3): 0, ±1/√2, ±√2 and ∞ are its interpolation points.
type points struct{ half, two, root, inv, mid reg.VecVirtual } // ½, 2, √2, 1/√2 and 5/2

// newPoints loads the constants, mid only on request.
func (w *winograd) newPoints(n int, mid bool) (p points) {
	if n == 6 {
		p = points{half: w.constant(0.5), two: w.constant(2), root: w.constant(math.Sqrt2), inv: w.constant(math.Sqrt2 / 2)}
		if mid {
			p.mid = w.constant(2.5)
		}
	}
	return p
}
