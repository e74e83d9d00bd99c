package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// block is a tile of accumulators for AVX-512: rows × len(widths) registers of 64 or 32
// bytes, in split independent copies so that few rows still hide the
// latency of a fused multiply-add.
type block struct {
	rows, split int
	widths      []int
	acc         [][]reg.VecVirtual // [split*rows + row][vec]
}

// vec returns a new vector register of so many bytes.
func (a *asm) vec(width int) reg.VecVirtual {
	if width == 64 {
		return a.ZMM()
	}
	return a.YMM()
}

// zero clears a register.
func (a *asm) zero(r reg.VecVirtual) { a.VXORPS(r, r, r) }

// newBlock allocates and clears the accumulators; copies are made while at most sixteen
// registers are used.
func (a *asm) newBlock(rows int, widths []int, maxSplit int) *block {
	b := &block{rows: rows, split: 1, widths: widths}
	for rows*len(widths)*b.split*2 <= 16 && b.split*2 <= maxSplit {
		b.split *= 2
	}
	for range b.split * rows {
		var r []reg.VecVirtual
		for _, w := range widths {
			v := a.vec(w)
			a.zero(v)
			r = append(r, v)
		}
		b.acc = append(b.acc, r)
	}
	return b
}

// off returns the byte offset of vector v in a row.
func (b *block) off(v int) int {
	n := 0
	for _, w := range b.widths[:v] {
		n += w
	}
	return n
}

// fold adds the copies into the first.
func (b *block) fold(a *asm) {
	for s := b.split / 2; s >= 1; s /= 2 {
		for i := range s * b.rows {
			for v := range b.widths {
				a.VADDPS(b.acc[s*b.rows+i][v], b.acc[i][v], b.acc[i][v])
			}
		}
	}
}

// outer adds the outer product of rows broadcast values x(i) and the vectors w to copy s.
// A broadcast within the multiply-add measured faster than one for several of them.
func (b *block) outer(a *asm, s int, x func(i int) operand.Mem, w func(v int) operand.Mem) {
	var wv []reg.VecVirtual
	for v, width := range b.widths {
		r := a.vec(width)
		a.VMOVUPS(w(v), r)
		wv = append(wv, r)
	}
	for i := range b.rows {
		for v, r := range b.acc[s*b.rows+i] {
			a.VFMADD231PS_BCST(x(i), wv[v], r)
		}
	}
}

// epilogue applies scale, shift, residual and activation to the first copy and stores it.
// It reads the parameters y, res, scale, shift and act; off has the byte offset of each
// row in y and res.
func (b *block) epilogue(a *asm, off []reg.GPVirtual) {
	acc := b.acc[:b.rows]
	b.affine(a, acc)
	noRes := a.label("nores")
	p := a.skipZero("res", noRes)
	for i, o := range off {
		for v, r := range acc[i] {
			a.VADDPS(idx(p, o, 1, b.off(v)), r, r)
		}
	}
	a.Label(noRes)
	var all []reg.VecVirtual
	for _, r := range acc {
		all = append(all, r...)
	}
	a.activate512(all)
	p = a.load("y")
	for i, o := range off {
		for v, r := range acc[i] {
			a.VMOVUPS(r, idx(p, o, 1, b.off(v)))
		}
	}
}

// affine multiplies the accumulators by the parameter scale and adds shift, where given.
func (b *block) affine(a *asm, acc [][]reg.VecVirtual) {
	noScale, noShift, done := a.label("noscale"), a.label("noshift"), a.label("scaled")
	each := func(ps, pt reg.Register, f func(s, t, r reg.VecVirtual)) {
		for v, width := range b.widths {
			var s, t reg.VecVirtual
			if ps != nil {
				s = a.vec(width)
				a.VMOVUPS(at(ps, b.off(v)), s)
			}
			if pt != nil {
				t = a.vec(width)
				a.VMOVUPS(at(pt, b.off(v)), t)
			}
			for _, r := range acc {
				f(s, t, r[v])
			}
		}
	}
	ps := a.skipZero("scale", noScale)
	pt := a.skipZero("shift", noShift)
	each(ps, pt, func(s, t, r reg.VecVirtual) { a.VFMADD213PS(t, s, r) })
	a.JMP(operand.LabelRef(done))
	a.Label(noShift)
	each(ps, nil, func(s, _, r reg.VecVirtual) { a.VMULPS(s, r, r) })
	a.JMP(operand.LabelRef(done))
	a.Label(noScale)
	pt = a.skipZero("shift", done)
	each(nil, pt, func(_, t, r reg.VecVirtual) { a.VADDPS(t, r, r) })
	a.Label(done)
}

// activate512 applies the activation that the parameter act names, with h-sigmoid as
// clamp(x/6 + 1/2, 0, 1). Operand order decides what becomes of a NaN: ReLU gives 0, the
// other functions pass it on.
func (a *asm) activate512(regs []reg.VecVirtual) {
	a.eachAct(func(act int) {
		if act == linear {
			return
		}
		k := a.actConstants(act)
		for _, r := range regs {
			a.apply512(act, r, k)
		}
	})
}

// actConstants are what activations are computed with.
type actConstants struct{ zero, one, sixth, half reg.VecVirtual }

func (a *asm) actConstants(act int) actConstants {
	k := actConstants{zero: a.ZMM()}
	a.zero(k.zero)
	if act == hswish || act == hsigmoid {
		k.one, k.sixth, k.half = a.ZMM(), a.ZMM(), a.ZMM()
		a.VBROADCASTSS(a.splat(1), k.one)
		a.VBROADCASTSS(a.splat(1.0/6), k.sixth)
		a.VBROADCASTSS(a.splat(0.5), k.half)
	}
	return k
}

// apply512 computes z = act(z) on a register of either width.
func (a *asm) apply512(act int, z reg.VecVirtual, k actConstants) {
	as := func(r reg.VecVirtual) reg.Register {
		if z.Size() == 32 {
			return r.AsY()
		}
		return r
	}
	switch act {
	case relu:
		a.VMAXPS(as(k.zero), z, z)
	case hswish, hsigmoid:
		h := z
		if act == hswish {
			h = a.vec(int(z.Size()))
			a.VMOVAPS(z, h)
		}
		a.VFMADD213PS(as(k.half), as(k.sixth), h)
		a.VMAXPS(h, as(k.zero), h)
		a.VMINPS(h, as(k.one), h)
		if act == hswish {
			a.VMULPS(h, z, z)
		}
	}
}
