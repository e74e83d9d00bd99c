package kerneltest

import (
	"fmt"

	"weft/kernel"
)

// winograd describes a 3x3 convolution by F(m×m, 3×3), or with stride 2; c.k is 3.
type winograd struct {
	conv
	m int
}

func (c winograd) args(a *arena) *kernel.Winograd {
	in, out := c.max()
	k := &kernel.Winograd{
		M: c.m, Stride: c.stride, H: c.h, W: c.w, Cin: c.cin, Cout: c.cout, XPitch: c.cin + c.xPad, YPitch: c.cout + c.yPad,
		InMax: in, Act: c.act, U: make([]float32, kernel.WinogradLen(c.m, out, in)),
	}
	kernel.WinogradPack(k.U, a.param("w", kernel.PackedLen(out, 9, in)), c.m, c.stride, out, in)
	k.X = a.input("x", c.n*c.h*c.w*k.XPitch)
	k.Y = a.output("y", c.n*((c.h+c.stride-1)/c.stride)*((c.w+c.stride-1)/c.stride)*k.YPitch)
	if c.scale {
		k.Scale = a.param("scale", c.cout)
	}
	if c.shift {
		k.Shift = a.param("shift", c.cout)
	}
	if c.res {
		k.Res = a.input("res", len(k.Y))
	}
	if c.inPlace {
		k.Res = k.Y
	}
	return k
}

func (c winograd) forward() Case {
	op := fmt.Sprintf("winograd F(%d,3)", c.m)
	if c.stride == 2 {
		op = "winograd stride 2"
	}
	return Case{Op: op, Shape: c.shape(), setup: func(a *arena) work {
		k := c.args(a)
		scratch := make([]float32, k.Scratch())
		return work{units: k.Tiles(c.n), flops: c.flops(), run: func(lo, hi int) {
			k.Run(lo, hi, scratch)
		}}
	}}
}

// forms returns all ways to compute a 3x3 convolution of a shape, with stride 2 as well.
func forms(c conv) []Case {
	c.k, c.stride = 3, 1
	cs := []Case{winograd{c, 2}.forward(), winograd{c, 4}.forward()}
	if c.stride = 2; c.cin%8 == 0 {
		cs = append(cs, winograd{c, 2}.forward())
	}
	return cs
}

// winogradCases are for agreement: every tail of rows, columns, tiles and channels.
func winogradCases() []Case {
	var cs []Case
	for _, c := range []conv{
		{n: 1, h: 1, w: 1, cin: 8, cout: 8},
		{n: 2, h: 5, w: 9, cin: 8, cout: 16, scale: true},
		{n: 2, h: 7, w: 7, cin: 24, cout: 40, inMax: 40, outMax: 64, shift: true, act: kernel.ReLU},
		{n: 1, h: 14, w: 14, cin: 40, cout: 24, scale: true, shift: true, res: true, act: kernel.HSwish},
		{n: 1, h: 28, w: 28, cin: 16, cout: 32, xPad: 8, yPad: 16, scale: true, shift: true, act: kernel.ReLU},
		{n: 3, h: 6, w: 3, cin: 48, cout: 56, yPad: 8, res: true, act: kernel.HSigmoid},
		{n: 5, h: 4, w: 4, cin: 8, cout: 48, outMax: 56, inPlace: true, act: kernel.ReLU},
		{n: 1, h: 2, w: 35, cin: 16, cout: 8, inPlace: true},
		{n: 2, h: 9, w: 7, cin: 3, cout: 40, outMax: 64, yPad: 8, scale: true, shift: true, act: kernel.ReLU},
		{n: 1, h: 1, w: 1, cin: 3, cout: 8, xPad: 1, res: true, act: kernel.HSwish},
		{n: 3, h: 32, w: 31, cin: 3, cout: 16, shift: true},
	} {
		cs = append(cs, forms(c)...)
	}
	for tiles := 3; tiles < 32; tiles++ { // every number of rows of the products
		cs = append(cs, forms(conv{n: tiles, h: 2, w: 2, cin: 8, cout: 8 + tiles%4*8})...)
	}
	return cs
}

// winogradSpeed are the shapes that convSpeed times, and those of one image.
func winogradSpeed() []Case {
	var cs []Case
	for _, out := range []int{16, 32} {
		cs = append(cs, forms(conv{n: 1, h: 32, w: 32, cin: 3, cout: out, scale: true, shift: true, act: kernel.ReLU})...)
	}
	for _, s := range []struct{ hw, ch int }{
		{32, 16}, {32, 32}, {32, 64}, {16, 64}, {16, 128}, {14, 64}, {14, 128}, {8, 64}, {8, 128}, {8, 256}, {7, 64}, {7, 96}, {7, 512}, {4, 96}, {4, 256},
	} {
		for _, n := range []int{1, 8} {
			cs = append(cs, forms(conv{n: n, h: s.hw, w: s.hw, cin: s.ch, cout: s.ch, scale: true, shift: true, act: kernel.ReLU})...)
		}
	}
	return cs
}
