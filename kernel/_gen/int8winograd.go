package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// int8WinogradFile: the three steps of F(4×4, 3×3) on integers.
func int8WinogradFile(a *asm) {
	order := a.StaticGlobal("packWords8")
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, lane := range []uint32{0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15} {
		a.AppendDatum(operand.U32(lane))
	}
	inverse := a.StaticGlobal("ninth")
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	a.AppendDatum(operand.U32(0x38e38e39)) // times 9 it is 1 modulo 2³²
	a.winograd8Input()
	for panels := 1; panels <= 4; panels++ {
		a.winograd8Products(panels)
	}
	a.winograd8Output(order, inverse)
}

// winograd8Input transforms the inputs of tiles: Bᵀ x B, 32 channels at a time.
func (a *asm) winograd8Input() {
	const line = 64
	c := a.begin8("winograd8Input", "transforms as many channels as half has bits, which begin ch bytes into a pixel, of n tiles.\n"+
		"Each has 36 pixels in the list. Positions of the results at float stand wpanel bytes apart, tiles pitch bytes; y has room for 36 lines.")
	k := a.K()
	a.KMOVD(c.field("half"), k)
	list, ch, tmp, stride, out := c.get("px"), c.get("ch"), c.get("y"), c.get("wpanel"), c.get("float")
	tile := a.label("tile")
	a.Label(tile)
	for j := range 6 {
		var d [6]reg.VecVirtual
		for i := range d {
			p := a.GP64()
			a.MOVQ(at(list, 8*(6*i+j)), p)
			d[i] = a.ZMM()
			a.VPMOVZXBW_Z(idx(p, ch, 1, 0), k, d[i])
		}
		for i, z := range a.winograd8In(d) {
			a.VMOVDQU32(z, at(tmp, line*(6*i+j)))
		}
	}
	pos := a.GP64()
	a.MOVQ(out, pos)
	for i := range 6 {
		var d [6]reg.VecVirtual
		for j := range d {
			d[j] = a.ZMM()
			a.VMOVDQU32(at(tmp, line*(6*i+j)), d[j])
		}
		for _, z := range a.winograd8In(d) {
			a.VMOVDQU32(z, at(pos, 0))
			a.ADDQ(stride, pos)
		}
	}
	a.ADDQ(imm(8*36), list)
	a.ADDQ(c.field("pitch"), out)
	a.DECQ(c.field("n"))
	a.JNZ(operand.LabelRef(tile))
	a.end()
}

// winograd8In computes Bᵀd on 16-bit integers.
func (a *asm) winograd8In(d [6]reg.VecVirtual) [6]reg.VecVirtual {
	u, v, w, x := a.ZMM(), a.ZMM(), a.ZMM(), a.ZMM()
	a.VPSLLW(imm(2), d[2], u)
	a.VPSUBW(u, d[4], u) // d4 − 4·d2
	a.VPSLLW(imm(2), d[1], v)
	a.VPSUBW(v, d[3], v)       // d3 − 4·d1
	a.VPSUBW(d[2], d[4], d[4]) // d4 − d2
	a.VPSUBW(d[2], d[0], d[0])
	a.VPSLLW(imm(2), d[0], d[0])
	a.VPADDW(d[4], d[0], d[0])
	a.VPSUBW(d[1], d[3], w) // d3 − d1
	a.VPSUBW(d[3], d[5], d[5])
	a.VPSLLW(imm(2), w, x)
	a.VPSUBW(x, d[5], d[5])
	a.VPADDW(w, w, w)
	a.VPADDW(v, u, d[1])
	a.VPSUBW(v, u, d[2])
	a.VPADDW(w, d[4], d[3])
	a.VPSUBW(w, d[4], d[4])
	return d
}

// winograd8Products multiplies the transformed inputs of one position by its weights.
func (a *asm) winograd8Products(panels int) {
	a.function("winograd8Products"+string(rune('0'+panels)), "multiplies pairs of 16-bit integers: n rows of cin bytes, pitch bytes apart, and that many panels;\n"+
		"the rows of the results at float are ypitch integers apart.", "args *uint8")
	args, r := a.load("args"), a.GP64()
	a.MOVQ(at(args, args8["pixels"]), r)
	a.MOVQ(r, at(args, args8["px"]))
	a.MOVQ(at(args, args8["first"]), r)
	a.MOVQ(r, at(args, args8["off"]))
	sizes := []int{6, 4, 2, 1}
	if panels < 4 {
		sizes[0] = 8
	}
	a.tiles8(args, sizes, func(rows int) {
		c := &conv8{asm: a, args: args, rows: rows, panels: panels, split: 1, linear: true, words: true}
		for c.split*c.rows*panels < 8 && c.split < 4 {
			c.split *= 2
		}
		c.sums()
		y := c.get("float")
		c.eachRow(func(i int, off reg.Register) {
			for p, z := range c.acc[i] {
				c.VMOVDQU32(z, idx(y, off, 4, 64*p))
			}
		})
		c.next()
	})
	a.end()
}

// winograd8Output transforms the products of tiles, Aᵀ m A, and requantises.
func (a *asm) winograd8Output(order, inverse operand.Mem) {
	c := a.begin8("winograd8Output", "transforms the products of one panel, at float, of n tiles and requantises them. Positions stand\n"+
		"wpanel bytes apart, tiles pitch bytes. Each tile has 16 offsets, the last output first.")
	c.rows, c.panels, c.linear = 16, 1, false
	tile := a.label("tile")
	a.Label(tile)
	m, stride := c.get("float"), c.get("wpanel")
	row, three := a.GP64(), a.GP64()
	a.IMUL3Q(imm(6), stride, row)
	a.LEAQ(idx(row, row, 2, 0), three)
	var half [4][6]reg.VecVirtual
	for j := range 6 {
		low := a.GP64()
		a.LEAQ(idx(m, three, 1, 0), low)
		var d [6]reg.VecVirtual
		for i, p := range []operand.Mem{at(m, 0), idx(m, row, 1, 0), idx(m, row, 2, 0), at(low, 0), idx(low, row, 1, 0), idx(low, row, 2, 0)} {
			d[i] = a.ZMM()
			a.VMOVDQU32(p, d[i])
		}
		for i, z := range a.winograd8Out(d) {
			half[i][j] = z
		}
		if j < 5 {
			a.ADDQ(stride, m)
		}
	}
	c.acc = make([][]reg.VecVirtual, 16)
	for i := range half {
		for j, z := range a.winograd8Out(half[i]) {
			c.acc[15-(4*i+j)] = []reg.VecVirtual{z}
		}
	}
	bias := c.get("bias")
	for _, r := range c.acc { // 24²·sums
		a.VPMULLD_BCST(inverse, r[0], r[0])
		a.VPSRAD(imm(6), r[0], r[0])
		a.VPADDD(at(bias, 0), r[0], r[0])
	}
	c.bytes(order)
	c.next()
	n := c.get("pitch")
	a.ADDQ(n, c.field("float"))
	a.DECQ(c.field("n"))
	a.JNZ(operand.LabelRef(tile))
	a.end()
}

// winograd8Out computes 24·Aᵀd on 32-bit integers.
func (a *asm) winograd8Out(d [6]reg.VecVirtual) [4]reg.VecVirtual {
	p := a.ZMM()
	a.VPADDD(d[2], d[1], p)
	a.VPSUBD(d[2], d[1], d[1])
	a.VPADDD(d[4], d[3], d[2])
	a.VPSUBD(d[4], d[3], d[3])
	a.VPSLLD(imm(2), p, p)
	a.VPADDD(d[0], d[0], d[0])
	a.VPADDD(p, d[0], d[0])
	a.VPADDD(d[2], d[0], d[0]) // 2·m0 + 4(m1 + m2) + m3 + m4
	a.VPSLLD(imm(2), d[2], d[2])
	a.VPADDD(p, d[2], d[2]) // 4(m1 + m2 + m3 + m4)
	a.VPSLLD(imm(2), d[1], d[1])
	a.VPADDD(d[3], d[5], d[5])
	a.VPADDD(d[3], d[3], d[3])
	a.VPADDD(d[1], d[3], d[3]) // 4(m1 − m2) + 2(m3 − m4)
	a.VPSLLD(imm(3), d[5], d[5])
	a.VPADDD(d[1], d[5], d[5]) // 4(m1 − m2) + 8(m3 − m4 + m5)
	return [4]reg.VecVirtual{d[0], d[3], d[2], d[5]}
}
