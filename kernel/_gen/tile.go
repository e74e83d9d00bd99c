package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// tile is a block of accumulators: rows × vecs registers of eight floats, in split
// independent copies so that few rows still hide the latency of a fused multiply-add.
type tile struct {
	rows, vecs, split int
	acc               [][]reg.VecVirtual // [split*rows + row][vec]
}

// newTile allocates and clears the accumulators; at most twelve are used.
func (a *asm) newTile(rows, vecs, maxSplit int) *tile {
	t := &tile{rows: rows, vecs: vecs, split: 1}
	for rows*vecs*t.split*2 <= 12 && t.split*2 <= maxSplit {
		t.split *= 2
	}
	for range t.split * rows {
		var r []reg.VecVirtual
		for range vecs {
			y := a.YMM()
			a.VXORPS(y, y, y)
			r = append(r, y)
		}
		t.acc = append(t.acc, r)
	}
	return t
}

// fold adds the copies into the first.
func (t *tile) fold(a *asm) {
	for s := t.split / 2; s >= 1; s /= 2 {
		for i := range s * t.rows {
			for v := range t.vecs {
				a.VADDPS(t.acc[s*t.rows+i][v], t.acc[i][v], t.acc[i][v])
			}
		}
	}
}

// outer adds the outer product of rows broadcast values x(i) and the vectors w to copy s.
func (t *tile) outer(a *asm, s int, x func(i int) operand.Mem, w func(v int) operand.Mem) {
	var wv []reg.VecVirtual
	for v := range t.vecs {
		y := a.YMM()
		a.VMOVUPS(w(v), y)
		wv = append(wv, y)
	}
	for i := range t.rows {
		b := a.YMM()
		a.VBROADCASTSS(x(i), b)
		for v := range t.vecs {
			a.VFMADD231PS(b, wv[v], t.acc[s*t.rows+i][v])
		}
	}
}

// epilogue is epilogueAt for rows whose offsets are in a list.
func (t *tile) epilogue(a *asm, list reg.Register) {
	t.epilogueAt(a, nil, func(f func(int, reg.Register)) {
		for i := range t.rows {
			off := a.GP64()
			a.MOVQ(at(list, 8*i), off)
			f(i, off)
		}
	})
}

// epilogueAt applies scale, shift, residual and activation to the first copy and stores
// it. It reads the parameters y, res, scale, shift and act; offsets yields, row after
// row, the byte offset of a row in y and res; ch is the byte offset of the first channel
// in scale and shift, nil for 0.
func (t *tile) epilogueAt(a *asm, ch reg.Register, offsets func(func(i int, off reg.Register))) {
	acc := t.acc[:t.rows]
	vec := func(p reg.Register, v int) operand.Mem {
		if ch != nil {
			return idx(p, ch, 1, 32*v)
		}
		return at(p, 32*v)
	}
	noScale, noShift, noRes := a.label("noscale"), a.label("noshift"), a.label("nores")
	p := a.skipZero("scale", noScale)
	for v := range t.vecs {
		s := a.YMM()
		a.VMOVUPS(vec(p, v), s)
		for _, r := range acc {
			a.VMULPS(s, r[v], r[v])
		}
	}
	a.Label(noScale)
	p = a.skipZero("shift", noShift)
	for v := range t.vecs {
		s := a.YMM()
		a.VMOVUPS(vec(p, v), s)
		for _, r := range acc {
			a.VADDPS(s, r[v], r[v])
		}
	}
	a.Label(noShift)
	p = a.skipZero("res", noRes)
	offsets(func(i int, off reg.Register) {
		for v, r := range acc[i] {
			a.VADDPS(idx(p, off, 1, 32*v), r, r)
		}
	})
	a.Label(noRes)
	var all []reg.VecVirtual
	for _, r := range acc {
		all = append(all, r...)
	}
	a.activate(all)
	p = a.load("y")
	offsets(func(i int, off reg.Register) {
		for v, r := range acc[i] {
			a.VMOVUPS(r, idx(p, off, 1, 32*v))
		}
	})
}

// activate applies the activation that the parameter act names. Operand order decides
// what becomes of a NaN: ReLU gives 0, the other functions pass it on.
func (a *asm) activate(regs []reg.VecVirtual) {
	zero, six := a.YMM(), a.YMM()
	a.VXORPS(zero, zero, zero)
	a.VMOVUPS(a.splat(6), six)
	a.eachAct(func(act int) {
		for _, r := range regs {
			a.apply(act, r, zero, six)
		}
	})
}

// hardSigmoid computes out = clamp(in + 3, 0, 6) / 6.
func (a *asm) hardSigmoid(in, out, zero, six reg.VecVirtual) {
	a.VADDPS(a.splat(3), in, out)
	a.VMAXPS(out, zero, out)
	a.VMINPS(out, six, out)
	a.VMULPS(a.splat(1.0/6), out, out)
}
