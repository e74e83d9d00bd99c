package kerneltest

import (
	"fmt"

	"weft/kernel"
)

// depthwise describes a depthwise convolution of h·w images.
type depthwise struct {
	n, h, w, k, stride, c int
	cMax, kMax            int // 0: c, k
	scale, shift, res     bool
	sum                   bool
	act                   kernel.Act
}

func (d depthwise) shape() string {
	s := fmt.Sprintf("n%d %dx%d %dx%d/%d %d", d.n, d.h, d.w, d.k, d.k, d.stride, d.c)
	if d.cMax > d.c || d.kMax > d.k {
		s += " sliced"
	}
	if d.res {
		s += " res"
	}
	if d.act != kernel.Linear {
		s += " " + d.act.String()
	}
	if d.sum {
		s += " sum"
	}
	return s
}

func (d depthwise) window() *kernel.Window {
	return kernel.NewWindow(d.h, d.w, d.k, d.stride, kernel.Rings(d.k))
}

func (d depthwise) weights() (n, cMax int) {
	k := max(d.k, d.kMax)
	cMax = max(d.c, d.cMax)
	return k * k * cMax, cMax
}

func (d depthwise) flops() float64 {
	return 2 * float64(d.n) * float64(d.window().Fwd.OutPix) * float64(d.c*d.k*d.k)
}

func (d depthwise) forward() Case {
	return Case{Op: "depthwise", Shape: d.shape(), setup: func(a *arena) work {
		g := &d.window().Fwd
		n, cMax := d.weights()
		k := &kernel.Depthwise{G: g, C: d.c, CMax: cMax, Act: d.act}
		k.X, k.W = a.input("x", d.n*g.InPix*d.c), a.param("w", n)
		k.Y = a.output("y", d.n*g.OutPix*d.c)
		if d.scale {
			k.Scale = a.param("scale", d.c)
		}
		if d.shift {
			k.Shift = a.param("shift", d.c)
		}
		if d.res {
			k.Res = a.input("res", len(k.Y))
		}
		if d.sum {
			k.Sum = a.output("sum", d.c)
		}
		return work{units: d.n * g.Rows(), run: k.Rows, flops: d.flops(), serial: d.sum}
	}}
}

// backward computes input gradients: a depthwise convolution over Window.Bwd.
func (d depthwise) backward() Case {
	return Case{Op: "depthwise dx", Shape: d.shape(), setup: func(a *arena) work {
		win := d.window()
		n, cMax := d.weights()
		dy, w := a.input("dy", d.n*win.Fwd.OutPix*d.c), a.param("w", n)
		dx := a.output("dx", d.n*win.Fwd.InPix*d.c)
		var parts []*kernel.Depthwise
		for i := range win.Bwd {
			parts = append(parts, &kernel.Depthwise{G: &win.Bwd[i], X: dy, W: w, Y: dx, C: d.c, CMax: cMax})
		}
		return work{units: d.n, flops: d.flops(), run: func(lo, hi int) {
			for _, p := range parts {
				p.Rows(lo*p.G.Rows(), hi*p.G.Rows())
			}
		}}
	}}
}

func (d depthwise) gradient() Case {
	return Case{Op: "depthwise dw", Shape: d.shape(), setup: func(a *arena) work {
		g := &d.window().Fwd
		n, cMax := d.weights()
		k := &kernel.DepthwiseGrad{G: g, C: d.c, CMax: cMax}
		k.X, k.DY = a.input("x", d.n*g.InPix*d.c), a.param("dy", d.n*g.OutPix*d.c)
		k.DW = a.output("dw", n)
		return work{units: d.n, run: k.Images, flops: d.flops(), serial: true}
	}}
}

func depthwiseCases() []Case {
	var cs []Case
	for _, d := range []depthwise{
		{n: 2, h: 5, w: 7, k: 3, stride: 1, c: 8},
		{n: 2, h: 9, w: 8, k: 3, stride: 2, c: 24, cMax: 40, kMax: 7, shift: true, act: kernel.ReLU},
		{n: 7, h: 4, w: 4, k: 3, stride: 1, c: 16, scale: true, shift: true, res: true, act: kernel.HSwish},
		{n: 2, h: 14, w: 14, k: 5, stride: 2, c: 40, scale: true},
		{n: 1, h: 8, w: 9, k: 5, stride: 1, c: 32, res: true, act: kernel.HSigmoid},
		{n: 2, h: 11, w: 9, k: 7, stride: 1, c: 56, shift: true, cMax: 64},
		{n: 1, h: 14, w: 13, k: 7, stride: 2, c: 8},
		{n: 2, h: 3, w: 37, k: 3, stride: 1, c: 16, act: kernel.ReLU},
		{n: 1, h: 2, w: 67, k: 5, stride: 1, c: 8, scale: true},
		{n: 3, h: 7, w: 6, k: 1, stride: 2, c: 8},
		{n: 3, h: 2, w: 3, k: 1, stride: 1, c: 24, shift: true},
		{n: 2, h: 10, w: 9, k: 3, stride: 1, c: 40, sum: true, shift: true, act: kernel.ReLU},
		{n: 2, h: 6, w: 7, k: 5, stride: 1, c: 24, sum: true, scale: true, res: true, act: kernel.HSwish},
		{n: 2, h: 9, w: 7, k: 7, stride: 2, c: 24, sum: true, act: kernel.HSigmoid},
		{n: 3, h: 7, w: 8, k: 1, stride: 2, c: 16, sum: true},
	} {
		cs = append(cs, d.forward(), d.backward(), d.gradient())
	}
	for hw := 1; hw <= 8; hw++ { // windows that images do not fill
		for _, k := range []int{3, 5, 7} {
			for stride := 1; stride <= 2; stride++ {
				d := depthwise{n: 2, h: hw, w: 9 - hw, k: k, stride: stride, c: 24, scale: true, shift: true}
				cs = append(cs, d.forward(), d.backward())
			}
		}
	}
	return cs
}

func depthwiseSpeed() []Case {
	var cs []Case
	for _, s := range []struct{ hw, c, k, stride int }{
		{32, 64, 3, 1}, {28, 16, 3, 1}, {28, 48, 3, 2}, {14, 72, 3, 1}, {14, 72, 5, 1}, {14, 72, 7, 1}, {7, 96, 5, 1}, {7, 96, 7, 1},
	} {
		d := depthwise{n: 8, h: s.hw, w: s.hw, k: s.k, stride: s.stride, c: s.c}
		f := d
		f.scale, f.shift, f.act = true, true, kernel.ReLU
		cs = append(cs, f.forward(), d.backward(), d.gradient())
	}
	for _, n := range []int{1, 8} {
		for _, d := range networkDepthwise {
			d.n, d.scale, d.shift = n, true, true
			cs = append(cs, d.forward())
		}
	}
	return cs
}

// networkDepthwise are layers of MobileNetV3 for 224x224 pixels, then for 32x32.
var networkDepthwise = []depthwise{
	{h: 112, w: 112, k: 3, stride: 1, c: 16, act: kernel.ReLU},
	{h: 112, w: 112, k: 3, stride: 2, c: 64, act: kernel.ReLU},
	{h: 56, w: 56, k: 3, stride: 1, c: 72, act: kernel.ReLU},
	{h: 56, w: 56, k: 5, stride: 2, c: 72, act: kernel.ReLU},
	{h: 28, w: 28, k: 5, stride: 1, c: 120, act: kernel.ReLU},
	{h: 28, w: 28, k: 7, stride: 1, c: 240, act: kernel.ReLU},
	{h: 28, w: 28, k: 3, stride: 2, c: 240, act: kernel.HSwish},
	{h: 14, w: 14, k: 3, stride: 1, c: 480, act: kernel.HSwish},
	{h: 14, w: 14, k: 5, stride: 2, c: 672, act: kernel.HSwish},
	{h: 14, w: 14, k: 7, stride: 2, c: 672, act: kernel.HSwish},
	{h: 7, w: 7, k: 5, stride: 1, c: 960, act: kernel.HSwish},
	{h: 7, w: 7, k: 7, stride: 1, c: 960, act: kernel.HSwish},
	{h: 16, w: 16, k: 3, stride: 1, c: 96, act: kernel.ReLU},
	{h: 8, w: 8, k: 5, stride: 1, c: 120, act: kernel.HSwish},
	{h: 4, w: 4, k: 7, stride: 1, c: 336, act: kernel.HSwish},
}
