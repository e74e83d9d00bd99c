package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// depthwise8 generates depthwise convolutions: four taps are interleaved to quads of bytes,
// each the inputs of one channel, which the dot product takes at once.
type depthwise8 struct {
	*conv8
	vec   func() reg.VecVirtual
	load  func(m operand.Mem, v reg.VecVirtual)
	dot   func(w operand.Mem, x, acc reg.VecVirtual)
	accs  []reg.VecVirtual
	high  bool // the upper half of what is loaded is in use: four accumulators, else two
	taken reg.Register
}

// rowLoop emits a loop over the rows; body finishes one.
func (d *depthwise8) rowLoop(body func()) {
	row := d.label("row")
	d.Label(row)
	list := d.get("px")
	d.dots(list)
	body()
	n := d.get("ntaps")
	d.SHLQ(imm(3), n)
	d.ADDQ(n, d.field("px"))
	d.ADDQ(imm(8), d.field("off"))
	d.DECQ(d.field("n"))
	d.JNZ(operand.LabelRef(row))
	d.end()
}

// begin8 emits the head of a function.
func (a *asm) begin8(name, doc string) *conv8 {
	a.function(name, doc, "args *uint8")
	args, r := a.load("args"), a.GP64()
	a.MOVQ(at(args, args8["pixels"]), r)
	a.MOVQ(r, at(args, args8["px"]))
	a.MOVQ(at(args, args8["offsets"]), r)
	a.MOVQ(r, at(args, args8["off"]))
	return &conv8{asm: a, args: args, rows: 1}
}

// dots sums up the products of one row, whose pixels are in the list.
func (d *depthwise8) dots(list reg.GPVirtual) {
	bias, w, ch, groups := d.get("bias"), d.get("w"), d.get("ch"), d.get("ntaps")
	n := 2
	if d.high {
		n = 4
	}
	d.accs = nil
	for j := range n {
		v := d.vec()
		d.load(at(bias, 64*j), v)
		d.accs = append(d.accs, v)
	}
	d.SHRQ(imm(2), groups)
	group, last := d.label("group"), d.label("last")
	d.JZ(operand.LabelRef(last))
	d.Label(group)
	d.group(list, w, ch, 4)
	d.ADDQ(imm(32), list)
	d.ADDQ(imm(256), w)
	d.DECQ(groups)
	d.JNZ(operand.LabelRef(group))
	d.Label(last)
	d.group(list, w, ch, 1)
}

// group adds the products of four taps, or of the last one.
func (d *depthwise8) group(list, w, ch reg.GPVirtual, taps int) {
	zero := d.vec()
	d.VXORPS(zero, zero, zero)
	t := []reg.VecVirtual{zero, zero, zero, zero}
	for i := range taps {
		p := d.GP64()
		d.MOVQ(at(list, 8*i), p)
		t[i] = d.vec()
		d.bytes(idx(p, ch, 1, 0), t[i])
	}
	pair := func(unpack func(...operand.Op), a, b reg.VecVirtual) reg.VecVirtual {
		v := d.vec()
		unpack(b, a, v)
		return v
	}
	halves := []func(...operand.Op){d.VPUNPCKLBW}
	if d.high {
		halves = append(halves, d.VPUNPCKHBW)
	}
	for h, unpack := range halves {
		ab, cd := pair(unpack, t[0], t[1]), zero
		if taps > 2 {
			cd = pair(unpack, t[2], t[3])
		}
		d.dot(at(w, 128*h), pair(d.VPUNPCKLWD, ab, cd), d.accs[2*h])
		d.dot(at(w, 128*h+64), pair(d.VPUNPCKHWD, ab, cd), d.accs[2*h+1])
	}
}

// bytes loads the bytes of a tap.
func (d *depthwise8) bytes(m operand.Mem, v reg.VecVirtual) {
	switch {
	case d.taken != nil:
		d.VMOVDQU8_Z(m, d.taken, v)
	case d.high:
		d.VMOVDQU(m, v)
	default:
		d.VMOVQ(m, v)
	}
}

// depthwise8VNNI emits a function for up to 64 channels, of four lanes, or up to 32 of two.
func (a *asm) depthwise8VNNI(name string, vec func() reg.VecVirtual) {
	c := a.begin8(name, "computes as many channels as half has bits, which begin ch bytes into a pixel, of n rows.")
	k := a.K()
	a.KMOVQ(c.field("half"), k)
	d := &depthwise8{
		conv8: c, high: true, taken: k, vec: vec,
		load: func(m operand.Mem, v reg.VecVirtual) { a.VMOVDQU32(m, v) },
		dot:  func(w operand.Mem, x, acc reg.VecVirtual) { a.VPDPBUSD(w, x, acc) },
	}
	limit, zero := vec(), vec()
	a.VPBROADCASTW(c.field("zero"), zero)
	a.VBROADCASTSS(c.field("limit"), limit)
	d.rowLoop(func() {
		scale := d.get("scale")
		for j, z := range d.accs {
			d.VCVTDQ2PS(z, z)
			d.VMULPS(at(scale, 64*j), z, z)
			d.VMINPS(limit, z, z)
			d.VCVTPS2DQ(z, z)
		}
		z := d.accs[0]
		d.VPACKSSDW(d.accs[1], z, z)
		d.VPACKSSDW(d.accs[3], d.accs[2], d.accs[2])
		d.VPADDSW(zero, z, z)
		d.VPADDSW(zero, d.accs[2], d.accs[2])
		d.VPACKUSWB(d.accs[2], z, z)
		d.acc = [][]reg.VecVirtual{{z}}
		d.lookUp()
		d.storeSome(z)
	})
}

// storeSome writes as many bytes as half has bits: 64, or what adds up of 32, 16 and 8.
func (d *depthwise8) storeSome(z reg.VecVirtual) {
	y, off, part, done := d.get("y"), d.get("off"), d.label("part"), d.label("stored")
	d.MOVQ(at(off, 0), off)
	d.ADDQ(off, y)
	count := d.GP64()
	d.POPCNTQ(d.field("half"), count)
	d.TESTQ(operand.U32(64), count)
	d.JZ(operand.LabelRef(part))
	d.VMOVDQU32(z.AsZ(), at(y, 0))
	d.JMP(operand.LabelRef(done))
	d.Label(part)
	for _, n := range []int{32, 16, 8} {
		skip := d.label("skip")
		d.TESTQ(operand.U32(n), count)
		d.JZ(operand.LabelRef(skip))
		switch n {
		case 32:
			d.VMOVDQU32(z.AsY(), at(y, 0))
			d.VEXTRACTI64X4(imm(1), z.AsZ(), z.AsY())
		case 16:
			d.VMOVDQU32(z.AsX(), at(y, 0))
			d.VEXTRACTI32X4(imm(1), z.AsY(), z.AsX())
		default:
			d.VMOVQ(z.AsX(), at(y, 0))
		}
		d.ADDQ(imm(n), y)
		d.Label(skip)
	}
	d.Label(done)
}

// depthwise8AVX2 emits a function for 32 channels, of two lanes, or for 8 of one lane.
func (a *asm) depthwise8AVX2(name string, lanes int) {
	c := a.begin8(name, "computes that many channels, which begin ch bytes into a pixel, of n rows.")
	d := &depthwise8{conv8: c, high: lanes == 2}
	d.vec = func() reg.VecVirtual {
		if d.high {
			return a.YMM()
		}
		return a.XMM()
	}
	d.load = func(m operand.Mem, v reg.VecVirtual) { a.VMOVDQU(m, v) }
	ones, limit, zero := d.vec(), d.vec(), d.vec()
	a.VPCMPEQW(ones, ones, ones)
	a.VPSRLW(imm(15), ones, ones)
	a.VPBROADCASTW(c.field("zero"), zero)
	a.VBROADCASTSS(c.field("limit"), limit)
	d.dot = func(w operand.Mem, x, acc reg.VecVirtual) {
		a.VPMADDUBSW(w, x, x)
		a.VPMADDWD(ones, x, x)
		a.VPADDD(x, acc, acc)
	}
	d.rowLoop(func() {
		scale := d.get("scale")
		for j, v := range d.accs {
			d.VCVTDQ2PS(v, v)
			d.VMULPS(at(scale, 64*j), v, v)
			d.VMINPS(limit, v, v)
			d.VCVTPS2DQ(v, v)
		}
		v, y, off := d.accs[0], d.get("y"), d.get("off")
		d.MOVQ(at(off, 0), off)
		d.VPACKSSDW(d.accs[1], v, v)
		d.VPADDSW(zero, v, v)
		if !d.high {
			d.VPACKUSWB(v, v, v)
			d.VMOVQ(v, idx(y, off, 1, 0))
			return
		}
		d.VPACKSSDW(d.accs[3], d.accs[2], d.accs[2])
		d.VPADDSW(zero, d.accs[2], d.accs[2])
		d.VPACKUSWB(d.accs[2], v, v)
		d.VMOVDQU(v, idx(y, off, 1, 0))
	})
}
