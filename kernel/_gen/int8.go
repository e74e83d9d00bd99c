package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Offsets of the fields of args8 in package kernel.
var args8 = func() map[string]int {
	m, off := map[string]int{}, 0
	for _, f := range []string{
		"pixels", "offsets", "n", "taps", "ntaps", "cin", "w", "wtap", "wpanel", "pitch", "ypitch",
		"y", "res", "bias", "scale", "table", "float", "half", "first", "ch", "cinMain", "tap", "row", "px", "off",
	} {
		m[f] = off
		off += 8
	}
	for _, f := range []string{"zero", "zeroF", "addA", "addB", "addC", "top", "limit", "ones"} {
		m[f] = off
		off += 4
	}
	return m
}()

// conv8 generates the dense convolutions of one instruction set.
type conv8 struct {
	*asm
	args   reg.GPVirtual
	rows   int
	panels int
	split  int
	linear bool
	words  bool               // pairs of 16-bit integers instead of quads of bytes; sums begin at zero
	acc    [][]reg.VecVirtual // [split·rows + row][panel]
}

// field addresses a field of the arguments.
func (c *conv8) field(name string) operand.Mem { return at(c.args, args8[name]) }

// get returns a field in a register.
func (c *conv8) get(name string) reg.GPVirtual {
	r := c.GP64()
	c.MOVQ(c.field(name), r)
	return r
}

func int8VNNIFile(a *asm) {
	words := a.StaticGlobal("pack8")
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, lane := range []uint32{0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15} {
		a.AppendDatum(operand.U32(lane))
	}
	for _, panels := range []int{4, 3, 2, 1} {
		sizes := []int{6, 4, 2, 1}
		if panels < 4 {
			sizes = []int{8, 4, 2, 1}
		}
		a.conv8("conv8VNNI", panels, sizes, func(c *conv8) {
			for c.split*c.rows*panels < 8 && c.split < 4 {
				c.split *= 2
			}
			c.tile(words)
		})
	}
	a.depthwise8VNNI("depthwise8VNNIx64", func() reg.VecVirtual { return a.ZMM() })
	a.depthwise8VNNI("depthwise8VNNIx32", func() reg.VecVirtual { return a.YMM() })
}

// conv8 emits a function for rows by a list and one for linear rows, which compute so many
// panels by tiles of these sizes.
func (a *asm) conv8(name string, panels int, sizes []int, tile func(c *conv8)) {
	for _, linear := range []bool{false, true} {
		kind, from := "Indirect", "offsets"
		if linear {
			kind, from = "Linear", "first"
		}
		a.function(name+kind+string(rune('0'+panels)), "computes that many panels of outputs of rows of bytes; args is an args8.", "args *uint8")
		args, r := a.load("args"), a.GP64()
		a.MOVQ(at(args, args8["pixels"]), r) // the caller's pointers stay where they are
		a.MOVQ(r, at(args, args8["px"]))
		a.MOVQ(at(args, args8[from]), r)
		a.MOVQ(r, at(args, args8["off"]))
		a.tiles8(args, sizes, func(rows int) {
			tile(&conv8{asm: a, args: args, rows: rows, panels: panels, split: 1, linear: linear})
		})
		a.end()
	}
}

// tiles8 emits body for the largest tile while the rows last, then for smaller ones.
func (a *asm) tiles8(args reg.GPVirtual, sizes []int, body func(rows int)) {
	n := at(args, args8["n"])
	for i, rows := range sizes {
		next, skip := a.label("tile"), a.label("skip")
		a.Label(next)
		a.CMPQ(n, imm(rows))
		a.JLT(operand.LabelRef(skip))
		body(rows)
		a.SUBQ(imm(rows), n)
		if i == 0 {
			a.JMP(operand.LabelRef(next))
		}
		a.Label(skip)
	}
}

// tile computes one tile and moves the arguments on to the next.
func (c *conv8) tile(pack operand.Mem) {
	c.ahead()
	c.sums()
	c.epilogue(pack)
}

// ahead asks for the memory that the epilogue reads and writes.
func (c *conv8) ahead() {
	y, res := c.get("y"), c.get("res")
	c.TESTQ(res, res)
	c.CMOVQEQ(y, res)
	c.eachRow(func(i int, off reg.Register) {
		c.PREFETCHT0(idx(y, off, 1, 0))
		c.PREFETCHT0(idx(res, off, 1, 0))
	})
}

// sums leaves the sums of products in the accumulators of the rows.
func (c *conv8) sums() {
	c.start()
	c.taps(c.inputs)
	for s := c.split / 2; s >= 1; s /= 2 {
		for i := range s * c.rows {
			for p := range c.panels {
				c.VPADDD(c.acc[s*c.rows+i][p], c.acc[i][p], c.acc[i][p])
			}
		}
	}
}

// taps calls body with the addresses of the rows' pixels and of the weights, of the one tap
// of linear rows or in a loop over all taps.
func (c *conv8) taps(body func(x []reg.Register, w reg.GPVirtual)) {
	if c.linear {
		x := c.linearRows()
		body(x, c.get("w"))
	} else {
		c.eachTap(body)
	}
}

// next moves the outputs on to the next tile.
func (c *conv8) next() {
	if c.linear {
		n := c.get("ypitch")
		c.IMUL3Q(imm(c.rows), n, n)
		c.ADDQ(n, c.field("off"))
	} else {
		c.ADDQ(imm(8*c.rows), c.field("off"))
	}
}

// start sets the accumulators to the biases.
func (c *conv8) start() {
	var bias reg.GPVirtual
	if !c.words {
		bias = c.get("bias")
	}
	for i := range c.split * c.rows {
		var r []reg.VecVirtual
		for p := range c.panels {
			z := c.ZMM()
			switch {
			case i >= c.rows || c.words:
				c.VXORPS(z, z, z)
			case i > 0:
				c.VMOVDQA64(c.acc[0][p], z)
			default:
				c.VMOVDQU32(at(bias, 64*p), z)
			}
			r = append(r, z)
		}
		c.acc = append(c.acc, r)
	}
}

// linearRows returns the addresses of rows that follow each other and moves on.
func (c *conv8) linearRows() []reg.Register {
	pitch := c.get("pitch")
	x := []reg.Register{c.get("px")}
	for i := 1; i <= c.rows; i++ {
		r := c.GP64()
		c.LEAQ(idx(x[i-1], pitch, 1, 0), r)
		x = append(x, r)
	}
	c.MOVQ(x[c.rows], c.field("px"))
	return x[:c.rows]
}

// eachTap emits a loop over the taps with the addresses of the rows' pixels and of the
// tap's weights.
func (c *conv8) eachTap(body func(x []reg.Register, w reg.GPVirtual)) {
	zero := c.GP64()
	c.XORQ(zero, zero)
	c.MOVQ(zero, c.field("tap"))
	start := c.get("px")
	c.MOVQ(start, c.field("row"))
	loop := c.label("tap")
	c.Label(loop)
	col, stride := c.get("row"), c.get("ntaps")
	c.SHLQ(imm(3), stride)
	x := make([]reg.Register, c.rows)
	base := col
	for _, i := range []int{0, 1, 2, 4, 6, 3, 5, 7} { // row i is 0, 1, 2 or 4 rows behind a base
		from := map[int]int{6: 2, 3: 3, 5: 3, 7: 3}[i]
		switch {
		case i == 6 && c.rows > 3:
			c.LEAQ(idx(base, stride, 2, 0), base)
		case i == 3 && c.rows > 3:
			c.ADDQ(stride, base)
		}
		if i >= c.rows {
			continue
		}
		r, m := c.GP64(), at(base, 0)
		if i > from {
			m = idx(base, stride, uint8(i-from), 0)
		}
		c.MOVQ(m, r)
		x[i] = r
	}
	c.ADDQ(imm(8), c.field("row"))
	tap, w := c.get("tap"), c.get("taps")
	c.MOVLQSX(idx(w, tap, 4, 0), w)
	c.IMULQ(c.field("wtap"), w)
	c.ADDQ(c.field("w"), w)
	c.INCQ(tap)
	c.MOVQ(tap, c.field("tap"))
	body(x, w)
	next := c.get("tap")
	c.CMPQ(next, c.field("ntaps"))
	c.JLT(operand.LabelRef(loop))
	c.SHLQ(imm(3), next)
	c.IMUL3Q(imm(c.rows), next, next)
	c.ADDQ(next, c.field("px"))
}

// inputs adds the products of all inputs of one tap.
func (c *conv8) inputs(x []reg.Register, w reg.GPVirtual) {
	unroll := max(2, c.split)
	panel, k := c.get("wpanel"), c.GP64()
	high := w
	if c.panels > 2 {
		high = c.GP64()
		c.LEAQ(idx(w, panel, 2, 0), high)
	}
	c.XORQ(k, k)
	step := func(n int) {
		for s := range n {
			var wv []reg.VecVirtual
			for p := range c.panels {
				z := c.ZMM()
				base := w
				if p >= 2 {
					base = high
				}
				if p%2 == 0 {
					c.VMOVDQU32(at(base, 64*s), z)
				} else {
					c.VMOVDQU32(idx(base, panel, 1, 64*s), z)
				}
				wv = append(wv, z)
			}
			for i := range c.rows {
				b := c.ZMM()
				c.VPBROADCASTD(idx(x[i], k, 1, 4*s), b)
				for p := range c.panels {
					if acc := c.acc[s%c.split*c.rows+i][p]; c.words {
						c.VPDPWSSD(wv[p], b, acc)
					} else {
						c.VPDPBUSD(wv[p], b, acc)
					}
				}
			}
		}
		c.ADDQ(imm(64*n), w)
		if c.panels > 2 {
			c.ADDQ(imm(64*n), high)
		}
		c.ADDQ(imm(4*n), k)
	}
	c.rounds(k, unroll, step)
}

// rounds emits loops of steps of four inputs, of which k counts the bytes.
func (c *conv8) rounds(k reg.GPVirtual, unroll int, step func(n int)) {
	main, rest, one, done := c.label("main"), c.label("rest"), c.label("one"), c.label("inputs")
	full := c.get("cin")
	c.ANDQ(operand.I8(-4*unroll), full)
	c.MOVQ(full, c.field("cinMain"))
	c.JZ(operand.LabelRef(rest))
	c.Label(main)
	step(unroll)
	c.CMPQ(k, c.field("cinMain"))
	c.JLT(operand.LabelRef(main))
	c.Label(rest)
	c.CMPQ(k, c.field("cin"))
	c.JGE(operand.LabelRef(done))
	c.Label(one)
	step(1)
	c.CMPQ(k, c.field("cin"))
	c.JLT(operand.LabelRef(one))
	c.Label(done)
}

// eachRow calls f with the offset of each row's outputs.
func (c *conv8) eachRow(f func(i int, off reg.Register)) {
	list := c.get("off")
	off := c.GP64()
	if c.linear {
		c.MOVQ(list, off)
	}
	for i := range c.rows {
		if !c.linear {
			c.MOVQ(at(list, 8*i), off)
		}
		f(i, off)
		if c.linear {
			c.ADDQ(c.field("ypitch"), off)
		}
	}
}

// scaled makes the sums reals.
func (c *conv8) scaled() {
	scale := c.get("scale")
	for _, r := range c.acc[:c.rows] {
		for p, z := range r {
			c.VCVTDQ2PS(z, z)
			c.VMULPS(at(scale, 64*p), z, z)
		}
	}
}

// epilogue requantises and stores.
func (c *conv8) epilogue(pack operand.Mem) {
	float, done := c.label("float"), c.label("stored")
	c.CMPQ(c.field("float"), imm(0))
	c.JNE(operand.LabelRef(float))
	c.bytes(pack)
	c.JMP(operand.LabelRef(done))
	c.Label(float)
	c.scaled()
	c.floats()
	c.Label(done)
	c.next()
}

// bytes requantises and stores bytes.
func (c *conv8) bytes(pack operand.Mem) {
	res, join := c.label("res"), c.label("bytes")
	c.scaled()
	c.CMPQ(c.field("res"), imm(0))
	c.JNE(operand.LabelRef(res))
	c.plain(pack)
	c.JMP(operand.LabelRef(join))
	c.Label(res)
	c.residual(pack)
	c.Label(join)
	c.lookUp()
	c.store()
}

// plain leaves the bytes of each row in its first accumulator.
func (c *conv8) plain(pack operand.Mem) {
	zero, order, limit := c.ZMM(), c.ZMM(), c.ZMM()
	c.VPBROADCASTW(c.field("zero"), zero)
	c.VBROADCASTSS(c.field("limit"), limit)
	c.VMOVDQU32(pack, order)
	for _, r := range c.acc[:c.rows] {
		for _, z := range r {
			c.VMINPS(limit, z, z)
			c.VCVTPS2DQ(z, z)
		}
		c.pack(r, order, func(z reg.VecVirtual) { c.VPADDSW(zero, z, z) })
	}
}

// pack narrows the panels of one row; between is applied to 16-bit words.
func (c *conv8) pack(r []reg.VecVirtual, order reg.VecVirtual, between func(reg.VecVirtual)) {
	high := 0
	switch c.panels {
	case 1:
		c.VPACKSSDW(r[0], r[0], r[0])
	case 2:
		c.VPACKSSDW(r[1], r[0], r[0])
	default:
		c.VPACKSSDW(r[1], r[0], r[0])
		c.VPACKSSDW(r[c.panels-1], r[2], r[2])
		between(r[2])
		high = 2
	}
	between(r[0])
	c.VPACKUSWB(r[high], r[0], r[0])
	c.VPERMD(r[0], order, r[0])
}

// residual is plain with the residual.
func (c *conv8) residual(pack operand.Mem) {
	zero, fa, fb, none, top := c.ZMM(), c.ZMM(), c.ZMM(), c.ZMM(), c.ZMM()
	c.VBROADCASTSS(c.field("zeroF"), zero)
	c.VBROADCASTSS(c.field("addA"), fa)
	c.VBROADCASTSS(c.field("addB"), fb)
	c.VBROADCASTSS(c.field("top"), top)
	c.VXORPS(none, none, none)
	last := c.K()
	c.KMOVW(c.field("half"), last)
	base := c.get("res")
	c.eachRow(func(i int, off reg.Register) {
		for p, z := range c.acc[i] {
			c.VRNDSCALEPS(operand.U8(8), z, z)
			c.VADDPS(zero, z, z)
			c.VMAXPS(none, z, z)
			c.VMINPS(top, z, z)
			x := c.ZMM()
			if m := idx(base, off, 1, 16*p); p == c.panels-1 {
				c.VPMOVZXBD_Z(m, last, x)
			} else {
				c.VPMOVZXBD(m, x)
			}
			c.VCVTDQ2PS(x, x)
			c.VFMADD213PS_BCST(c.field("addC"), fb, x)
			c.VFMADD213PS(x, fa, z)
			c.VCVTPS2DQ(z, z)
		}
		order := c.ZMM()
		c.VMOVDQU32(pack, order)
		c.pack(c.acc[i], order, func(reg.VecVirtual) {})
	})
}

// lookUp passes the bytes in the rows' first accumulators through the table.
func (c *conv8) lookUp() {
	skip := c.label("notable")
	table := c.get("table")
	c.TESTQ(table, table)
	c.JZ(operand.LabelRef(skip))
	low, high := c.ZMM(), c.ZMM()
	c.VMOVDQU32(at(table, 0), low)
	c.VMOVDQU32(at(table, 128), high)
	for _, r := range c.acc[:c.rows] {
		lo, hi, upper := c.ZMM(), c.ZMM(), c.K()
		z := r[0].AsZ()
		c.VMOVDQA64(z, lo)
		c.VMOVDQA64(z, hi)
		c.VPMOVB2M(z, upper)
		c.VPERMI2B(at(table, 64), low, lo)
		c.VPERMI2B(at(table, 192), high, hi)
		c.VPBLENDMB(hi, lo, upper, z)
	}
	c.Label(skip)
}

// store writes the bytes of all rows; of the last panel, eight where half says so.
func (c *conv8) store() {
	half, done := c.label("half"), c.label("whole")
	y := c.get("y")
	c.CMPQ(c.field("half"), operand.U32(0xffff))
	c.JNE(operand.LabelRef(half))
	c.eachRow(func(i int, off reg.Register) {
		z, m := c.acc[i][0], idx(y, off, 1, 0)
		switch c.panels {
		case 4:
			c.VMOVDQU32(z, m)
		case 3:
			c.VMOVDQU32(z.AsY(), m)
			c.VEXTRACTI32X4(imm(2), z, z.AsX())
			c.VMOVDQU32(z.AsX(), idx(y, off, 1, 32))
		case 2:
			c.VMOVDQU32(z.AsY(), m)
		default:
			c.VMOVDQU32(z.AsX(), m)
		}
	})
	c.JMP(operand.LabelRef(done))
	c.Label(half)
	c.eachRow(func(i int, off reg.Register) {
		z, disp := c.acc[i][0], 0
		if c.panels > 2 {
			c.VMOVDQU32(z.AsY(), idx(y, off, 1, 0))
			c.VEXTRACTI64X4(imm(1), z, z.AsY())
			disp = 32
		}
		if c.panels%2 == 0 {
			c.VMOVDQU32(z.AsX(), idx(y, off, 1, disp))
			c.VEXTRACTI32X4(imm(1), z.AsY(), z.AsX())
			disp += 16
		}
		c.VMOVQ(z.AsX(), idx(y, off, 1, disp))
	})
	c.Label(done)
}

// floats stores products as they are.
func (c *conv8) floats() {
	y, last := c.get("float"), c.K()
	c.KMOVW(c.field("half"), last)
	c.eachRow(func(i int, off reg.Register) {
		for p, z := range c.acc[i] {
			if m := idx(y, off, 4, 64*p); p == c.panels-1 {
				c.VMOVDQU32(z, last, m)
			} else {
				c.VMOVDQU32(z, m)
			}
		}
	})
}
