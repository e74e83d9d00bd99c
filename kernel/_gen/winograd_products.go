package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// products: one product of matrices a position, tiles by inputs times inputs by outputs.
func (w *winograd) products() {
	w.function(w.name("Products", 0),
		"multiplies, at each of so many positions, the inputs of tiles by weights: groups of so many rows of\n"+
			"tiles, the first more of which have one row more. row is the bytes of a tile's inputs, a multiple\n"+
			"of 32, mrow of its outputs; vstride, ustride and mstride are from position to position, upanel from\n"+
			"panel to panel.",
		"v *float32, vstride, row int, u *float32, ustride, upanel int, m *float32, mstride, mrow int, "+
			"positions, groups, rows, more, outputs int")
	w.eachWidth(w.positions)
}

// eachWidth emits body for every number of outputs, by the vectors that hold them.
func (w *winograd) eachWidth(body func(vecs []int)) {
	// Two narrow vectors are faster than a wide one: a broadcast serves both.
	widths := [][]int{{8}, {8, 8}, {16, 8}, {16, 16}}[:w.lanes/4] // by outputs/8
	labels := make([]string, len(widths))
	for i := range widths {
		labels[i] = w.label("outputs")
		w.CMPQ(w.arg("outputs"), imm(8*(i+1)))
		w.JEQ(operand.LabelRef(labels[i]))
	}
	for i, vecs := range widths {
		w.Label(labels[i])
		body(vecs)
	}
}

// eachGroup emits body for every number of rows that a group of tiles may have, and the
// loop over the groups.
func (w *winograd) eachGroup(body func(group reg.GPVirtual, rows int)) {
	left, again, done := w.GP64(), w.label("group"), w.label("groups")
	w.XORQ(left, left)
	w.Label(again)
	rows := w.GP64()
	w.CMPQ(left, w.arg("more"))
	w.MOVQ(w.arg("rows"), rows)
	w.ADCQ(imm(0), rows)
	labels := make([]string, w.rows+1)
	for i := w.rows; i > 0; i-- {
		labels[i] = w.label("rows")
		if i > 1 {
			w.CMPQ(rows, imm(i))
			w.JEQ(operand.LabelRef(labels[i]))
		}
	}
	for i := 1; i <= w.rows; i++ {
		w.Label(labels[i])
		body(left, i)
		w.JMP(operand.LabelRef(done))
	}
	w.Label(done)
	w.INCQ(left)
	w.CMPQ(left, w.arg("groups"))
	w.JLT(operand.LabelRef(again))
}

// positions walks over positions and groups of tiles and ends the function.
func (w *winograd) positions(vecs []int) {
	v, m, next := w.GP64(), w.GP64(), w.label("position")
	w.Label(next)
	w.MOVQ(w.arg("v"), v)
	w.MOVQ(w.arg("m"), m)
	w.eachGroup(func(group reg.GPVirtual, rows int) { w.product(v, m, group, rows, vecs) })
	for _, p := range [][2]string{{"v", "vstride"}, {"u", "ustride"}, {"m", "mstride"}} {
		s := w.load(p[1])
		w.ADDQ(s, w.arg(p[0]))
	}
	w.DECQ(w.arg("positions"))
	w.JNZ(operand.LabelRef(next))
	w.end()
}

// accumulators returns zeros for rows tiles.
func (w *winograd) accumulators(rows int, vecs []int) [][]reg.Register {
	acc := make([][]reg.Register, rows)
	for i := range acc {
		for _, lanes := range vecs {
			r := w.vec(lanes)
			w.VXORPS(r, r, r)
			acc[i] = append(acc[i], r)
		}
	}
	return acc
}

// product multiplies rows tiles at v by the weights and moves v and m past them.
func (w *winograd) product(v, m, group reg.GPVirtual, rows int, vecs []int) {
	acc := w.accumulators(rows, vecs)
	row, u, k := w.load("row"), w.load("u"), w.load("row")
	var panel reg.Register
	if vecs[0] == 16 {
		panel = w.load("upanel")
	}
	base := []reg.GPVirtual{v}
	for i := 3; i < rows; i += 3 {
		p := w.GP64()
		w.LEAQ(idx(base[len(base)-1], row, 2, 0), p)
		w.ADDQ(row, p)
		base = append(base, p)
	}
	w.multiply(acc, base, row, u, k, panel, vecs, w.nextWeights(group, panel))
	w.storeRows(acc, m, vecs)
	// The first base has moved past one row.
	switch {
	case rows%3 == 1:
		w.MOVQ(base[len(base)-1], v)
	default:
		w.LEAQ(idx(base[len(base)-1], row, uint8((rows-1)%3), 0), v)
	}
}

// multiply adds the products of k bytes of inputs, those of every third row at base, and
// the weights at u, and fetches weights that far ahead.
func (w *winograd) multiply(acc [][]reg.Register, base []reg.GPVirtual, row, u, k, panel reg.Register, vecs []int, next []reg.Register) {
	const unroll = 4
	loop := w.label("inputs")
	w.Label(loop)
	for _, n := range next {
		w.PREFETCHT1(idx(u, n, 1, 0))
		w.PREFETCHT1(idx(u, n, 1, 64))
	}
	for s := range unroll {
		var weights []reg.Register
		for i, lanes := range vecs {
			r := w.vec(lanes)
			src := at(u, 64*s+4*lanes*i)
			if panel != nil && i > 0 {
				src = idx(u, panel, 1, 64*s)
			}
			w.VMOVUPS(src, r)
			weights = append(weights, r)
		}
		for i := range acc {
			x := at(base[i/3], 4*s)
			if i%3 > 0 {
				x = idx(base[i/3], row, uint8(i%3), 4*s)
			}
			b := w.vec(vecs[0])
			w.VBROADCASTSS(x, b)
			for c, lanes := range vecs {
				w.VFMADD231PS(view(b, lanes), weights[c], acc[i][c])
			}
		}
	}
	w.ADDQ(imm(64*unroll), u)
	for _, p := range base {
		w.ADDQ(imm(4*unroll), p)
	}
	w.SUBQ(imm(4*unroll), k)
	w.JNZ(operand.LabelRef(loop))
}

// storeRows writes the products of tiles and moves m past them.
func (w *winograd) storeRows(acc [][]reg.Register, m reg.Register, vecs []int) {
	mrow := w.load("mrow")
	for i := range acc {
		for c, r := range acc[i] {
			w.VMOVUPS(r, at(m, 4*vecs[0]*c))
		}
		w.ADDQ(mrow, m)
	}
}

// nextWeights returns how far ahead of the weights of each panel a group of rows fetches
// those of the next position: even groups every first and second of four lines, odd ones
// the third and fourth. So two groups share the wait where weights are not in the cache.
func (w *winograd) nextWeights(group, panel reg.Register) []reg.Register {
	next := w.GP64()
	w.MOVQ(group, next)
	w.ANDQ(imm(1), next)
	w.SHLQ(imm(7), next)
	w.ADDQ(w.arg("ustride"), next)
	if panel == nil {
		return []reg.Register{next}
	}
	second := w.GP64()
	w.LEAQ(idx(next, panel, 1, 0), second)
	return []reg.Register{next, second}
}
