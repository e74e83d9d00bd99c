package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// output: Aᵀ m A of one tile, and the epilogue.
func (w *winograd) output(n int) { w.outputNamed(w.name("Output", n), n) }

func (w *winograd) outputNamed(name string, n int) {
	w.function(name,
		"transforms channels/4 output channels of one tile from positions stride bytes apart, applies\n"+
			"scale, shift, residual and activation, and writes the first down rows and right columns of the tile.\n"+
			"row and pixel are the bytes of those in y and res. tmp holds the tile between two steps.",
		"m *float32, stride int, y *float32, row, pixel, down, right int, tmp *float32, channels int, "+
			"scale, shift, res *float32, act int")
	p := w.newPoints(n, false)
	m, g := w.load("m"), w.newGrid(n)
	w.channels("channels", func(lanes int, c reg.Register) {
		(&outputTile{winograd: w, n: n, lanes: lanes, p: p, g: g, m: m, c: c}).run()
	})
}

// outputFew: the same from few inputs, whose products are soon computed.
func (w *winograd) outputFew(n int) {
	w.function(w.name("OutputFew", n),
		"is winogradOutput for up to 16 outputs, of products that it computes itself from the three transformed\n"+
			"inputs at v and weights at u.",
		"v, u, y *float32, row, pixel, down, right int, tmp *float32, channels int, scale, shift, res *float32, act int")
	p, v, u := w.newPoints(n, false), w.load("v"), w.load("u")
	w.channels("channels", func(lanes int, c reg.Register) {
		(&outputTile{winograd: w, n: n, lanes: lanes, p: p, c: c, v: v, u: u}).run()
	})
}

// outputDown: the same for tiles of 2×2 outputs with stride 2, from 3×3 sums.
func (w *winograd) outputDown() { w.outputNamed(w.name("Output", down), 3) }

// outputTile is the transform of one vector of channels.
type outputTile struct {
	*winograd
	n, lanes int
	p        points
	g        *grid
	m        reg.Register
	c        reg.Register
	v, u     reg.Register // of few inputs
}

// product returns what stands at a position, row i of the current column.
func (t *outputTile) product(i, j int) reg.Register {
	d := t.vec(t.lanes)
	if t.u == nil {
		t.VMOVUPS(t.g.at(i), d)
		return d
	}
	for c := range few {
		u, x := idx(t.u, t.c, 1, 64*((i*t.n+j)*few+c)), at(t.v, 16*(i*t.n+j)+4*c)
		w := t.vec(t.lanes)
		switch {
		case t.winograd.lanes == 16:
			t.VMOVUPS(u, w)
			if c == 0 {
				t.VMULPS_BCST(x, w, d)
			} else {
				t.VFMADD231PS_BCST(x, w, d)
			}
		case c == 0:
			t.VBROADCASTSS(x, w)
			t.VMULPS(u, w, d)
		default:
			t.VBROADCASTSS(x, w)
			t.VFMADD231PS(u, w, d)
		}
	}
	return d
}

// outputs returns how many a side of the tile has.
func (t *outputTile) outputs() int { return max(t.n-2, 2) }

func (t *outputTile) run() {
	var half [4][6]reg.Register // [row][column], unless in memory
	var tmp reg.Register
	if t.winograd.lanes == 8 {
		tmp = t.winograd.load("tmp")
	}
	for j := range t.n {
		if t.u == nil {
			t.column(t.g, j, t.m, t.c)
		}
		var d [6]reg.Register
		for i := range t.n {
			d[i] = t.product(i, j)
		}
		for i, r := range t.transform(d) {
			if tmp != nil {
				t.VMOVUPS(r, at(tmp, tileAt+32*(i*t.n+j)))
			}
			half[i][j] = r
		}
	}
	off, down, done := t.GP64(), t.winograd.load("down"), t.label("tile")
	t.MOVQ(t.c, off)
	for i := range t.outputs() {
		if tmp != nil {
			for j := range t.n {
				half[i][j] = t.vec(t.lanes)
				t.VMOVUPS(at(tmp, tileAt+32*(i*t.n+j)), half[i][j])
			}
		}
		t.epilogue(t.transform(half[i]), off)
		if i < t.outputs()-1 {
			t.CMPQ(down, imm(i+2))
			t.JLT(operand.LabelRef(done))
			t.ADDQ(t.arg("row"), off)
		}
	}
	t.Label(done)
}

// transform computes Aᵀd, in place of d.
func (t *outputTile) transform(d [6]reg.Register) []reg.Register {
	switch t.n {
	case 3:
		t.VADDPS(d[1], d[0], d[0])
		t.VADDPS(d[2], d[1], d[1])
		return d[:2]
	case 4:
		t.VADDPS(d[1], d[0], d[0])
		t.VADDPS(d[2], d[0], d[0])
		t.VSUBPS(d[2], d[1], d[1])
		t.VSUBPS(d[3], d[1], d[1])
		return d[:2]
	}
	view := func(r reg.Vec) reg.Register { return view(r, t.lanes) }
	s := t.vec(t.lanes)
	t.VADDPS(d[2], d[1], s)
	t.VSUBPS(d[2], d[1], d[1])
	t.VADDPS(d[4], d[3], d[2])
	t.VSUBPS(d[4], d[3], d[3])
	t.VFMADD231PS(view(t.p.root), s, d[0])
	t.VFMADD231PS(view(t.p.half), d[1], d[5])
	t.VMULPS(view(t.p.inv), s, s)
	t.VADDPS(d[3], d[1], d[1])
	t.VFMADD231PS(view(t.p.inv), d[2], d[0])
	t.VFMADD231PS(view(t.p.two), d[3], d[5])
	t.VFMADD231PS(view(t.p.root), d[2], s)
	return []reg.Register{d[0], d[1], s, d[5]}
}

// epilogue finishes one row of outputs, off bytes behind the start of y and res.
func (t *outputTile) epilogue(row []reg.Register, off reg.Register) {
	noScale, noShift, noRes := t.label("noscale"), t.label("noshift"), t.label("nores")
	p := t.skipZero("scale", noScale)
	s := t.vec(t.lanes)
	t.VMOVUPS(idx(p, t.c, 1, 0), s)
	for _, r := range row {
		t.VMULPS(s, r, r)
	}
	t.Label(noScale)
	p = t.skipZero("shift", noShift)
	s = t.vec(t.lanes)
	t.VMOVUPS(idx(p, t.c, 1, 0), s)
	for _, r := range row {
		t.VADDPS(s, r, r)
	}
	t.Label(noShift)
	p = t.skipZero("res", noRes)
	t.eachPixel(p, off, row, func(r reg.Register, res operand.Mem) { t.VADDPS(res, r, r) })
	t.Label(noRes)
	t.activate(row)
	y, ahead := t.winograd.load("y"), t.winograd.load("pixel")
	t.LEAQ(idx(y, ahead, uint8(t.outputs()), 0), ahead)
	t.eachPixel(ahead, off, row, func(_ reg.Register, y operand.Mem) { t.PREFETCHT0(y) })
	t.eachPixel(y, off, row, func(r reg.Register, y operand.Mem) { t.VMOVUPS(r, y) })
}

// eachPixel emits body for the pixels of a row that are in the image.
func (t *outputTile) eachPixel(base, off reg.Register, row []reg.Register, body func(reg.Register, operand.Mem)) {
	p, pixel, right, done := t.GP64(), t.winograd.load("pixel"), t.winograd.load("right"), t.label("pixels")
	t.LEAQ(idx(base, off, 1, 0), p)
	for j, r := range row {
		switch j {
		case 0:
			body(r, at(p, 0))
		case 3:
			t.ADDQ(pixel, p)
			body(r, idx(p, pixel, 2, 0))
		default:
			body(r, idx(p, pixel, uint8(j), 0))
		}
		if j < len(row)-1 {
			t.CMPQ(right, imm(j+2))
			t.JLT(operand.LabelRef(done))
		}
	}
	t.Label(done)
}

// activate applies the activation that the parameter act names, as asm.activate does.
func (t *outputTile) activate(row []reg.Register) {
	t.eachAct(func(act int) {
		if act == linear {
			return
		}
		zero := t.vec(t.lanes)
		t.VXORPS(zero, zero, zero)
		if act == relu {
			for _, r := range row {
				t.VMAXPS(zero, r, r)
			}
			return
		}
		c := func(v float32) reg.Register {
			r := t.vec(t.lanes)
			t.VBROADCASTSS(t.splat(v), r)
			return r
		}
		three, six, sixth := c(3), c(6), c(1.0/6)
		for _, r := range row {
			s := t.vec(t.lanes)
			t.VADDPS(three, r, s)
			t.VMAXPS(s, zero, s)
			t.VMINPS(s, six, s)
			t.VMULPS(sixth, s, s)
			if act == hswish {
				t.VMULPS(s, r, r)
			} else {
				t.VMOVAPS(s, r)
			}
		}
	})
}
