package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// down is how many positions a side of the tiles of stride 2 have.
const down = 5

// productsDown: the sums of products of a tile of stride 2.
func (w *winograd) productsDown() {
	w.function(w.name("ProductsDown", 0),
		"is winogradProducts for sums over several positions. Each of the sums is that of the terms up to the\n"+
			"next last one; a term is a position of v, one of u, and 0 for the last.",
		"v *float32, vstride, row int, u *float32, ustride, upanel int, m *float32, mstride, mrow int, "+
			"terms *int, sums, groups, rows, more, outputs int")
	w.eachWidth(w.sums)
}

// sums walks over sums and groups of tiles and ends the function.
func (w *winograd) sums(vecs []int) {
	v, m, next := w.GP64(), w.GP64(), w.label("sum")
	w.Label(next)
	w.MOVQ(w.arg("v"), v)
	w.MOVQ(w.arg("m"), m)
	w.eachGroup(func(_ reg.GPVirtual, rows int) { w.sum(v, m, rows, vecs) })
	s := w.load("mstride")
	w.ADDQ(s, w.arg("m"))
	term, last := w.load("terms"), w.label("term")
	w.Label(last) // goes on behind the last term
	w.ADDQ(imm(24), term)
	w.CMPQ(at(term, -8), imm(0))
	w.JNE(operand.LabelRef(last))
	w.MOVQ(term, w.arg("terms"))
	w.DECQ(w.arg("sums"))
	w.JNZ(operand.LabelRef(next))
	w.end()
}

// sum computes one sum for rows tiles at v and moves v and m past them.
func (w *winograd) sum(v, m reg.GPVirtual, rows int, vecs []int) {
	acc := w.accumulators(rows, vecs)
	var panel reg.Register
	if vecs[0] == 16 {
		panel = w.load("upanel")
	}
	row, term, next := w.load("row"), w.load("terms"), w.label("term")
	w.Label(next)
	base, u, k := []reg.GPVirtual{w.GP64()}, w.GP64(), w.GP64()
	w.MOVQ(at(term, 0), base[0])
	w.IMULQ(w.arg("vstride"), base[0])
	w.ADDQ(v, base[0])
	w.MOVQ(at(term, 8), u)
	w.IMULQ(w.arg("ustride"), u)
	w.ADDQ(w.arg("u"), u)
	w.MOVQ(row, k)
	for i := 3; i < rows; i += 3 {
		p := w.GP64()
		w.LEAQ(idx(base[len(base)-1], row, 2, 0), p)
		w.ADDQ(row, p)
		base = append(base, p)
	}
	w.multiply(acc, base, row, u, k, panel, vecs, nil)
	w.ADDQ(imm(24), term)
	w.CMPQ(at(term, -8), imm(0))
	w.JNE(operand.LabelRef(next))
	w.storeRows(acc, m, vecs)
	w.IMUL3Q(imm(rows), row, row)
	w.ADDQ(row, v)
}
