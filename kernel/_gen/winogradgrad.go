package main

import (
	"math"

	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// What training needs besides inference, of F(4,3).
func winogradGradFile(a *asm)    { (&winograd{a, 8, 0}).training() }
func winogradGrad512File(a *asm) { (&winograd{a, 16, 0}).training() }

func (w *winograd) training() {
	w.repack()
	w.weightGrad()
	w.outputGrad()
}

// factors are the constants of G.
type factors struct{ third, big, small reg.VecVirtual } // 1/3, √2/3 and √2/6

func (w *winograd) newFactors() factors {
	return factors{w.constant(1.0 / 3), w.constant(math.Sqrt2 / 3), w.constant(math.Sqrt2 / 6)}
}

// taps addresses the nine taps of a window, stride bytes apart.
type taps struct {
	row    [3]reg.GPVirtual
	stride reg.Register
}

func (w *winograd) newTaps(base, stride reg.Register) taps {
	t := taps{stride: stride}
	for i := range t.row {
		t.row[i] = w.GP64()
		if i == 0 {
			w.MOVQ(base, t.row[0])
			continue
		}
		w.LEAQ(idx(t.row[i-1], stride, 2, 0), t.row[i])
		w.ADDQ(stride, t.row[i])
	}
	return t
}

func (t taps) at(i, j int) operand.Mem {
	if j == 0 {
		return at(t.row[i], 0)
	}
	return idx(t.row[i], t.stride, uint8(j), 0)
}

// advance goes on to the next vector.
func (w *winograd) advance(ts taps, n reg.Register, loop string) {
	for _, r := range ts.row {
		w.ADDQ(imm(4*w.lanes), r)
	}
	w.SUBQ(imm(w.lanes), n)
	w.JNZ(operand.LabelRef(loop))
}

// repack: G w Gᵀ.
func (w *winograd) repack() {
	w.function(w.name("Repack", 6),
		"transforms n weights, a multiple of 16, of nine taps that are tap bytes apart to positions stride bytes apart.",
		"dst *float32, stride int, src *float32, tap, n int")
	f, g := w.newFactors(), w.newGrid(6)
	src, dst, c, n := w.newTaps(w.load("src"), w.load("tap")), w.load("dst"), w.GP64(), w.load("n")
	w.XORQ(c, c)
	loop := w.label("loop")
	w.Label(loop)
	tap := func(i, j int) reg.Register {
		r := w.vec(w.lanes)
		w.VMOVUPS(src.at(i, j), r)
		return r
	}
	column := func(j int, d [3]reg.Register) {
		w.column(g, j, dst, c)
		for i, r := range w.spread(f, d) {
			w.VMOVUPS(r, g.at(i))
		}
	}
	column(0, [3]reg.Register{tap(0, 0), tap(1, 0), tap(2, 0)})
	for j := 1; j <= 3; j += 2 {
		var sum, diff [3]reg.Register
		for i := range 3 {
			sum[i], diff[i] = w.pair(f, j == 3, tap(i, 0), tap(i, 1), tap(i, 2))
		}
		if j == 1 {
			sum, diff = diff, sum
		}
		column(j, sum)
		column(j+1, diff)
	}
	column(5, [3]reg.Register{tap(0, 2), tap(1, 2), tap(2, 2)})
	w.ADDQ(imm(4*w.lanes), c)
	w.advance(src, n, loop)
	w.end()
}

// pair returns e + b/3 and e − b/3 with e = a·√2/6 + c·√2/3, or −a·√2/3 − c·√2/6.
func (w *winograd) pair(f factors, positive bool, a, b, c reg.Register) (sum, diff reg.Register) {
	e, s := w.vec(w.lanes), w.vec(w.lanes)
	if positive {
		w.VMULPS(f.small, a, e)
		w.VFMADD231PS(f.big, c, e)
	} else {
		w.VXORPS(e, e, e)
		w.VFNMADD231PS(f.big, a, e)
		w.VFNMADD231PS(f.small, c, e)
	}
	w.VMULPS(f.third, b, s)
	d := w.vec(w.lanes)
	w.VSUBPS(s, e, d)
	w.VADDPS(s, e, s)
	return s, d
}

// spread computes G·d.
func (w *winograd) spread(f factors, d [3]reg.Register) [6]reg.Register {
	s1, d1 := w.pair(f, false, d[0], d[1], d[2])
	s2, d2 := w.pair(f, true, d[0], d[1], d[2])
	return [6]reg.Register{d[0], d1, s1, s2, d2, d[2]}
}

// weightGrad: Gᵀ u G.
func (w *winograd) weightGrad() {
	w.function(w.name("WeightGrad", 6),
		"takes gradients of n transformed weights, a multiple of 16, at positions stride bytes apart back and adds\n"+
			"them to those of the nine taps, which are tap bytes apart.",
		"dst *float32, tap int, src *float32, stride, n int")
	f, g := w.newFactors(), w.newGrid(6)
	dst, src, c, n := w.newTaps(w.load("dst"), w.load("tap")), w.load("src"), w.GP64(), w.load("n")
	w.XORQ(c, c)
	loop := w.label("loop")
	w.Label(loop)
	var acc [3][3]reg.VecVirtual
	for i := range 3 {
		for j := range 3 {
			acc[i][j] = w.vec(w.lanes)
			w.VMOVUPS(dst.at(i, j), acc[i][j])
		}
	}
	for j := range 6 {
		w.column(g, j, src, c)
		for i := range 3 {
			h := w.gather(f, g, i)
			switch j {
			case 0:
				w.VADDPS(h, acc[i][0], acc[i][0])
			case 5:
				w.VADDPS(h, acc[i][2], acc[i][2])
			case 1, 2:
				w.VFNMADD231PS(f.big, h, acc[i][0])
				w.VFNMADD231PS(f.small, h, acc[i][2])
			default:
				w.VFMADD231PS(f.small, h, acc[i][0])
				w.VFMADD231PS(f.big, h, acc[i][2])
			}
			switch j {
			case 1, 4:
				w.VFNMADD231PS(f.third, h, acc[i][1])
			case 2, 3:
				w.VFMADD231PS(f.third, h, acc[i][1])
			}
		}
	}
	for i := range 3 {
		for j := range 3 {
			w.VMOVUPS(acc[i][j], dst.at(i, j))
		}
	}
	w.ADDQ(imm(4*w.lanes), c)
	w.advance(dst, n, loop)
	w.end()
}

// gather computes row i of Gᵀd for the column of the grid.
func (w *winograd) gather(f factors, g *grid, i int) reg.Register {
	h, s := w.vec(w.lanes), w.vec(w.lanes)
	if i == 1 {
		w.VMOVUPS(g.at(2), h)
		w.VSUBPS(g.at(1), h, h)
		w.VADDPS(g.at(3), h, h)
		w.VSUBPS(g.at(4), h, h)
		w.VMULPS(f.third, h, h)
		return h
	}
	one, two := f.big, f.small
	if i == 2 {
		one, two = two, one
	}
	w.VMOVUPS(g.at(5*i/2), h)
	w.VMOVUPS(g.at(1), s)
	w.VADDPS(g.at(2), s, s)
	w.VFNMADD231PS(one, s, h)
	w.VMOVUPS(g.at(3), s)
	w.VADDPS(g.at(4), s, s)
	w.VFMADD231PS(two, s, h)
	return h
}

// rowsAt is where tmp of outputGrad holds the tile, behind the addresses of its pixels.
const rowsAt = 128

// outputGrad: A dy Aᵀ of one tile.
func (w *winograd) outputGrad() {
	w.function(w.name("OutputGrad", 6),
		"transforms the output gradients of one tile, channels/4 channels, to positions stride bytes apart.\n"+
			"row and pixel are the bytes of those; rows from down and pixels from right on are none, and zero is\n"+
			"read for them. tmp has room for the addresses of the pixels and for the tile between two steps.",
		"m *float32, stride int, dy *float32, row, pixel, down, right int, zero, tmp *float32, channels int")
	w.gradPixels()
	p, g, tmp, m := w.newPoints(6, false), w.newGrid(6), w.load("tmp"), w.load("m")
	w.channels("channels", func(lanes int, c reg.Register) {
		for i := range 4 {
			var d [4]reg.Register
			for j := range d {
				q := w.GP64()
				w.MOVQ(at(tmp, 8*(4*i+j)), q)
				d[j] = w.vec(lanes)
				w.VMOVUPS(idx(q, c, 1, 0), d[j])
			}
			for j, r := range w.widen(p, lanes, d) {
				w.VMOVUPS(r, at(tmp, rowsAt+64*(6*i+j)))
			}
		}
		for j := range 6 {
			w.column(g, j, m, c)
			var d [4]reg.Register
			for i := range d {
				d[i] = w.vec(lanes)
				w.VMOVUPS(at(tmp, rowsAt+64*(6*i+j)), d[i])
			}
			for i, r := range w.widen(p, lanes, d) {
				w.VMOVUPS(r, g.at(i))
			}
		}
	})
}

// gradPixels fills the list of addresses.
func (w *winograd) gradPixels() {
	list, row, zero := w.load("tmp"), w.load("dy"), w.load("zero")
	pixel, down, right := w.load("pixel"), w.load("down"), w.load("right")
	for i := range 4 {
		p := w.GP64()
		w.MOVQ(row, p)
		for j := range 4 {
			q := w.GP64()
			w.MOVQ(p, q)
			w.CMPQ(right, imm(j))
			w.CMOVQLE(zero, q)
			w.CMPQ(down, imm(i))
			w.CMOVQLE(zero, q)
			w.MOVQ(q, at(list, 8*(4*i+j)))
			w.ADDQ(pixel, p)
		}
		w.ADDQ(w.arg("row"), row)
	}
}

// widen computes A·d: with e1 = √2·d0 + d2/√2, o1 = d1 + d3/2, e2 = d0/√2 + √2·d2 and
// o2 = d1 + 2·d3, it is d0, e1 ± o1, e2 ± o2, d3.
func (w *winograd) widen(p points, lanes int, d [4]reg.Register) [6]reg.Register {
	v := func(r reg.Vec) reg.Register { return view(r, lanes) }
	e1, e2, o1, o2 := w.vec(lanes), w.vec(lanes), w.vec(lanes), w.vec(lanes)
	w.VMULPS(v(p.root), d[0], e1)
	w.VFMADD231PS(v(p.inv), d[2], e1)
	w.VMULPS(v(p.inv), d[0], e2)
	w.VFMADD231PS(v(p.root), d[2], e2)
	w.VMOVAPS(d[1], o1)
	w.VFMADD231PS(v(p.half), d[3], o1)
	w.VMOVAPS(d[1], o2)
	w.VFMADD231PS(v(p.two), d[3], o2)
	m2, m4 := w.vec(lanes), w.vec(lanes)
	w.VSUBPS(o1, e1, m2)
	w.VADDPS(o1, e1, e1)
	w.VSUBPS(o2, e2, m4)
	w.VADDPS(o2, e2, e2)
	return [6]reg.Register{d[0], e1, m2, e2, m4, d[3]}
}
