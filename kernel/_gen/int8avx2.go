package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// int8AVX2File: dense convolution where bytes are multiplied in pairs. An accumulator holds
// eight outputs, so that a panel takes two.
func int8AVX2File(a *asm) {
	order := a.StaticGlobal("pack16")
	a.DataAttributes(attr.RODATA | attr.NOPTR)
	for _, lane := range []uint32{0, 4, 1, 5, 0, 0, 0, 0} {
		a.AppendDatum(operand.U32(lane))
	}
	a.conv8("conv8AVX2", 1, []int{6, 4, 2, 1}, func(c *conv8) {
		c.start2()
		c.taps(c.inputs2)
		c.epilogue2(order)
	})
	a.depthwise8AVX2("depthwise8AVX2x32", 2)
	a.depthwise8AVX2("depthwise8AVX2x8", 1)
}

// start2 sets the accumulators to the biases.
func (c *conv8) start2() {
	bias := c.get("bias")
	for i := range c.rows {
		r := []reg.VecVirtual{c.YMM(), c.YMM()}
		for h, y := range r {
			if i > 0 {
				c.VMOVDQA(c.acc[0][h], y)
			} else {
				c.VMOVDQU(at(bias, 32*h), y)
			}
		}
		c.acc = append(c.acc, r)
	}
}

// inputs2 adds the products of all inputs of one tap.
func (c *conv8) inputs2(x []reg.Register, w reg.GPVirtual) {
	k, ones := c.GP64(), c.YMM()
	c.XORQ(k, k)
	c.VPCMPEQW(ones, ones, ones)
	c.VPSRLW(imm(15), ones, ones)
	c.rounds(k, 2, func(n int) {
		for s := range n {
			for i := range c.rows {
				b := c.YMM()
				c.VPBROADCASTD(idx(x[i], k, 1, 4*s), b)
				for h, y := range c.acc[i] {
					p := b
					if h == 0 {
						p = c.YMM()
					}
					c.VPMADDUBSW(at(w, 64*s+32*h), b, p)
					c.VPMADDWD(ones, p, p)
					c.VPADDD(p, y, y)
				}
			}
		}
		c.ADDQ(imm(64*n), w)
		c.ADDQ(imm(4*n), k)
	})
}

// epilogue2 requantises and stores; tables are looked up by the caller.
func (c *conv8) epilogue2(pack operand.Mem) {
	float, res, join, done := c.label("float"), c.label("res"), c.label("bytes"), c.label("stored")
	scale := c.get("scale")
	for _, r := range c.acc {
		for h, y := range r {
			c.VCVTDQ2PS(y, y)
			c.VMULPS(at(scale, 32*h), y, y)
		}
	}
	c.CMPQ(c.field("float"), imm(0))
	c.JNE(operand.LabelRef(float))
	c.CMPQ(c.field("res"), imm(0))
	c.JNE(operand.LabelRef(res))
	limit, zero := c.YMM(), c.YMM()
	c.VBROADCASTSS(c.field("limit"), limit)
	c.VPBROADCASTW(c.field("zero"), zero)
	for _, r := range c.acc {
		for _, y := range r {
			c.VMINPS(limit, y, y)
			c.VCVTPS2DQ(y, y)
		}
		c.VPACKSSDW(r[1], r[0], r[0])
		c.VPADDSW(zero, r[0], r[0])
	}
	c.JMP(operand.LabelRef(join))
	c.Label(res)
	c.residual2()
	c.Label(join)
	c.store2(pack)
	c.JMP(operand.LabelRef(done))
	c.Label(float)
	c.floats2()
	c.Label(done)
	c.next()
}

// isHalf jumps to label when only eight outputs of the panel are in use.
func (c *conv8) isHalf(label string) {
	c.CMPQ(c.field("half"), operand.U32(0xffff))
	c.JNE(operand.LabelRef(label))
}

// residual2 adds the residual to every row and leaves 16-bit words.
func (c *conv8) residual2() {
	base, high, half := c.get("res"), c.GP64(), c.label("half")
	c.MOVQ(base, high) // of half a panel, the second half repeats the first
	c.isHalf(half)
	c.ADDQ(imm(8), high)
	c.Label(half)
	t := c.YMM()
	with := func(name string) reg.VecVirtual {
		c.VBROADCASTSS(c.field(name), t)
		return t
	}
	c.eachRow(func(i int, off reg.Register) {
		for h, y := range c.acc[i] {
			c.VROUNDPS(imm(8), y, y)
			c.VADDPS(with("zeroF"), y, y)
			c.VXORPS(t, t, t)
			c.VMAXPS(t, y, y)
			c.VMINPS(with("top"), y, y)
			x, sum := c.YMM(), c.YMM()
			c.VPMOVZXBD(idx([]reg.GPVirtual{base, high}[h], off, 1, 0), x)
			c.VCVTDQ2PS(x, x)
			c.VBROADCASTSS(c.field("addC"), sum)
			c.VFMADD231PS(with("addB"), x, sum)
			c.VFMADD132PS(with("addA"), sum, y)
			c.VCVTPS2DQ(y, y)
		}
		c.VPACKSSDW(c.acc[i][1], c.acc[i][0], c.acc[i][0])
	})
}

// store2 narrows the words of all rows to bytes and writes them.
func (c *conv8) store2(pack operand.Mem) {
	order, half, done := c.YMM(), c.label("half"), c.label("whole")
	c.VMOVDQU(pack, order)
	for _, r := range c.acc {
		c.VPACKUSWB(r[0], r[0], r[0])
		c.VPERMD(r[0], order, r[0])
	}
	y := c.get("y")
	c.isHalf(half)
	c.eachRow(func(i int, off reg.Register) { c.VMOVDQU(c.acc[i][0].AsX(), idx(y, off, 1, 0)) })
	c.JMP(operand.LabelRef(done))
	c.Label(half)
	c.eachRow(func(i int, off reg.Register) { c.VMOVQ(c.acc[i][0].AsX(), idx(y, off, 1, 0)) })
	c.Label(done)
}

// floats2 stores products as they are.
func (c *conv8) floats2() {
	y, half := c.get("float"), c.label("half")
	c.eachRow(func(i int, off reg.Register) { c.VMOVUPS(c.acc[i][0], idx(y, off, 4, 0)) })
	c.isHalf(half)
	c.eachRow(func(i int, off reg.Register) { c.VMOVUPS(c.acc[i][1], idx(y, off, 4, 32)) })
	c.Label(half)
}
