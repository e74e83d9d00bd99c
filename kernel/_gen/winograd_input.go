package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tileAt is where tmp holds a tile, behind the addresses of its pixels.
const tileAt = 320

// input: Bᵀ x B of one tile.
func (w *winograd) input(n int) {
	w.function(w.name("Input", n),
		"transforms the inputs of one tile, channels/4 channels, to positions stride bytes apart.\n"+
			"Its first pixel stands offset bytes behind x; row and pixel are the bytes of those. Above and left\n"+
			"are 1 where row and column 0 are padding, as are those from down and from right on; zero is what\n"+
			"padding reads. tmp has room for the addresses of the pixels and for the tile between two steps.",
		"v *float32, stride int, x *float32, offset, row, pixel, above, left, down, right int, "+
			"zero, tmp *float32, channels int")
	w.inputPixels(n)
	p := w.newPoints(n, true)
	tmp, v, g := w.load("tmp"), w.load("v"), w.newGrid(n)
	w.channels("channels", func(lanes int, c reg.Register) {
		in := &inputTile{winograd: w, n: n, lanes: lanes, p: p, g: g, v: v, tmp: tmp, c: c, ahead: w.load("pixel")}
		w.LEAQ(idx(c, in.ahead, uint8((n-1)/2*2), 0), in.ahead) // 2 or 4 pixels
		switch {
		case w.lanes == 8:
			in.throughMemory()
		case n < 6:
			in.inRegisters([]int{0, 1, 2, 3, 4}[:n])
		default:
			in.inRegisters([]int{1, 2, 3, 4})
			in.inRegisters([]int{0, 5})
		}
	})
}

// few is how many inputs the functions for few inputs take: the colours of an image.
const few = 3

// inputFew: Bᵀ x B of one tile of few inputs.
func (w *winograd) inputFew(n int) {
	w.function(w.name("InputFew", n),
		"is winogradInput for three channels, which it writes to positions of four.",
		"v *float32, x *float32, offset, row, pixel, above, left, down, right int, zero, tmp *float32")
	w.inputPixels(n)
	in := &inputTile{winograd: w, few: true, n: n, lanes: 4, p: w.newPoints(n, true), v: w.load("v"), tmp: w.load("tmp")}
	in.throughMemory()
	w.end()
}

// inputPixels fills the list of addresses.
func (w *winograd) inputPixels(n int) {
	list, row, zero := w.load("tmp"), w.load("x"), w.load("zero")
	pixel, left, right := w.load("pixel"), w.load("left"), w.load("right")
	w.ADDQ(w.arg("offset"), row)
	for i := range n {
		padding, done := w.label("padding"), w.label("row")
		switch {
		case i == 0:
			w.CMPQ(w.arg("above"), imm(0))
			w.JNE(operand.LabelRef(padding))
		case i > 1:
			w.CMPQ(w.arg("down"), imm(i))
			w.JLE(operand.LabelRef(padding))
		}
		p := w.GP64()
		w.MOVQ(row, p)
		for j := range n {
			q := w.GP64()
			w.MOVQ(p, q)
			switch {
			case j == 0:
				w.TESTQ(left, left)
				w.CMOVQNE(zero, q)
			case j > 1:
				w.CMPQ(right, imm(j))
				w.CMOVQLE(zero, q)
			}
			w.MOVQ(q, at(list, 8*(i*n+j)))
			if j < n-1 {
				w.ADDQ(pixel, p)
			}
		}
		if i != 1 {
			w.JMP(operand.LabelRef(done))
			w.Label(padding)
			for j := range n {
				w.MOVQ(zero, at(list, 8*(i*n+j)))
			}
			w.Label(done)
		}
		if i < n-1 {
			w.ADDQ(w.arg("row"), row)
		}
	}
}

// inputTile is the transform of one vector of channels.
type inputTile struct {
	*winograd
	few      bool
	n, lanes int
	p        points
	g        *grid
	v        reg.Register
	tmp      reg.Register
	c        reg.Register
	ahead    reg.GPVirtual // of the pixels that the tile to the right does not share
	seen     [6][6]bool    // that were fetched ahead
}

// address returns where the channels of a pixel begin.
func (t *inputTile) address(i, j int) reg.Register {
	q := t.GP64()
	t.MOVQ(at(t.tmp, 8*(i*t.n+j)), q)
	return q
}

// pixel returns an input.
func (t *inputTile) pixel(i, j int) operand.Mem {
	q := t.address(i, j)
	if i > 1 && j > 1 && !t.seen[i][j] {
		t.PREFETCHT0(idx(q, t.ahead, 1, 0))
		t.seen[i][j] = true
	}
	return idx(q, t.c, 1, 0)
}

func (t *inputTile) loadPixel(i, j int) reg.Register {
	r := t.vec(t.lanes)
	if t.few {
		q := t.address(i, j)
		t.VMOVSD(at(q, 0), r)
		t.VINSERTPS(imm(2<<4), at(q, 8), r, r)
		return r
	}
	t.VMOVUPS(t.pixel(i, j), r)
	return r
}

// inRegisters computes some columns: first along the rows of the tile, then down them.
func (t *inputTile) inRegisters(cols []int) {
	var half [6][6]reg.Register // [row][column]
	for i := range t.n {
		switch {
		case t.n < 6:
			d := [6]reg.Register{}
			for j := range t.n {
				d[j] = t.loadPixel(i, j)
			}
			half[i] = t.transform(d)
		case cols[0] == 1:
			m := t.middle([4]reg.Register{t.loadPixel(i, 1), t.loadPixel(i, 2), t.loadPixel(i, 3), t.loadPixel(i, 4)})
			copy(half[i][1:], m[:])
		default:
			for _, j := range cols { // 0 from pixels 0, 2, 4 and 5 from 5, 3, 1
				r := t.loadPixel(i, j)
				t.VADDPS(t.pixel(i, 4-j*3/5), r, r)
				t.VFNMADD231PS(t.pixel(i, 2+j/5), view(t.p.mid, t.lanes), r)
				half[i][j] = r
			}
		}
	}
	for j := range t.n {
		t.column(t.g, j, t.v, t.c)
		for _, col := range cols {
			if col == j {
				var d [6]reg.Register
				for i := range t.n {
					d[i] = half[i][j]
				}
				t.store(t.transform(d))
			}
		}
	}
}

// throughMemory computes all columns with few registers.
func (t *inputTile) throughMemory() {
	for i := range t.n {
		var d [6]reg.Register
		for j := range t.n {
			d[j] = t.loadPixel(i, j)
		}
		d = t.transform(d)
		for j := range t.n {
			t.VMOVUPS(d[j], at(t.tmp, tileAt+32*(i*t.n+j)))
		}
	}
	for j := range t.n {
		var d [6]reg.Register
		for i := range t.n {
			d[i] = t.vec(t.lanes)
			t.VMOVUPS(at(t.tmp, tileAt+32*(i*t.n+j)), d[i])
		}
		d = t.transform(d)
		if !t.few {
			t.column(t.g, j, t.v, t.c)
			t.store(d)
			continue
		}
		for i := range t.n {
			t.VMOVUPS(d[i], at(t.v, 16*(i*t.n+j)))
		}
	}
}

// store writes a column of positions.
func (t *inputTile) store(d [6]reg.Register) {
	for i := range t.n {
		t.VMOVUPS(d[i], t.g.at(i))
	}
}

// transform computes Bᵀd, in place of d.
func (t *inputTile) transform(d [6]reg.Register) [6]reg.Register {
	switch t.n {
	case 4:
		return t.four(d)
	case down:
		t.VSUBPS(d[2], d[0], d[0])
		t.VSUBPS(d[2], d[4], d[4])
		return [6]reg.Register{d[0], d[1], d[2], d[4], d[3]}
	}
	mid := view(t.p.mid, t.lanes)
	t.VADDPS(d[4], d[0], d[0])
	t.VFNMADD231PS(mid, d[2], d[0])
	t.VADDPS(d[1], d[5], d[5])
	t.VFNMADD231PS(mid, d[3], d[5])
	m := t.middle([4]reg.Register(d[1:5]))
	return [6]reg.Register{d[0], m[0], m[1], m[2], m[3], d[5]}
}

// four computes Bᵀd of F(2,3).
func (t *inputTile) four(d [6]reg.Register) [6]reg.Register {
	s := t.vec(t.lanes)
	t.VADDPS(d[2], d[1], s)
	t.VSUBPS(d[2], d[0], d[0])
	t.VSUBPS(d[1], d[2], d[2])
	t.VSUBPS(d[3], d[1], d[1])
	return [6]reg.Register{d[0], s, d[2], d[1]}
}

// middle computes elements 1 to 4 of Bᵀd of F(4,3) from elements 1 to 4 of d:
// with e(q) = d4 − q·d2 and o(q) = d3 − q·d1, they are e(2) ± o(2)/√2 and e(½) ± o(½)·√2.
func (t *inputTile) middle(d [4]reg.Register) [4]reg.Register {
	e, o := t.vec(t.lanes), t.vec(t.lanes)
	half, two := view(t.p.half, t.lanes), view(t.p.two, t.lanes)
	t.VMOVAPS(d[3], e)
	t.VMOVAPS(d[2], o)
	t.VFNMADD231PS(two, d[1], e)
	t.VFNMADD231PS(two, d[0], o)
	t.VFNMADD213PS(d[3], half, d[1])
	t.VFNMADD213PS(d[2], half, d[0])
	t.VMULPS(view(t.p.inv, t.lanes), o, o)
	t.VMULPS(view(t.p.root, t.lanes), d[0], d[0])
	t.VADDPS(o, e, d[3])
	t.VSUBPS(o, e, e)
	t.VADDPS(d[0], d[1], d[2])
	t.VSUBPS(d[0], d[1], d[1])
	return [4]reg.Register{d[3], e, d[2], d[1]}
}
