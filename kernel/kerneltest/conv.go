package kerneltest

import (
	"fmt"
	"strings"

	"weft/kernel"
)

// conv describes a dense convolution of h·w images.
type conv struct {
	n, h, w, k, stride int
	cin, cout          int
	inMax, outMax      int // 0: cin, cout
	xPad, yPad         int // channels that follow those in use
	scale, shift       bool
	res, inPlace       bool
	act                kernel.Act
}

func (c conv) shape() string {
	words := []string{fmt.Sprintf("n%d %dx%d %dx%d/%d %d→%d", c.n, c.h, c.w, c.k, c.k, c.stride, c.cin, c.cout)}
	for _, o := range []struct {
		on   bool
		name string
	}{
		{c.inMax > c.cin || c.outMax > c.cout, "sliced"},
		{c.xPad+c.yPad > 0, "pitch"},
		{c.scale, "scale"},
		{c.shift, "shift"},
		{c.res, "res"},
		{c.inPlace, "accumulate"},
		{c.act != kernel.Linear, c.act.String()},
	} {
		if o.on {
			words = append(words, o.name)
		}
	}
	return strings.Join(words, " ")
}

func (c conv) window() *kernel.Window {
	return kernel.NewWindow(c.h, c.w, c.k, c.stride, kernel.Raster(c.k))
}

func (c conv) max() (in, out int) { return max(c.cin, c.inMax), max(c.cout, c.outMax) }

// args builds the convolution on fresh buffers.
func (c conv) args(a *arena) *kernel.Conv {
	g := &c.window().Fwd
	in, out := c.max()
	k := &kernel.Conv{
		G: g, Cin: c.cin, Cout: c.cout, XPitch: c.cin + c.xPad, YPitch: c.cout + c.yPad,
		Taps: c.k * c.k, InMax: in, Act: c.act,
	}
	k.X = a.input("x", c.n*g.InPix*k.XPitch)
	k.W = a.param("w", kernel.PackedLen(out, c.k*c.k, in))
	k.Y = a.output("y", c.n*g.OutPix*k.YPitch)
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

func (c conv) flops() float64 {
	return 2 * float64(c.n) * float64(c.window().Fwd.OutPix) * float64(c.cin*c.cout*c.k*c.k)
}

func (c conv) forward() Case {
	return Case{Op: "conv", Shape: c.shape(), setup: func(a *arena) work {
		k := c.args(a)
		return work{units: c.n * k.G.Rows(), run: k.Rows, flops: c.flops()}
	}}
}

// backward computes input gradients with transposed weights.
func (c conv) backward() Case {
	return Case{Op: "conv dx", Shape: c.shape(), setup: func(a *arena) work {
		win := c.window()
		in, out := c.max()
		outPad := kernel.Panels(out) * kernel.Panel
		var parts []*kernel.Conv
		dy := a.input("dy", c.n*win.Fwd.OutPix*c.cout)
		wt := a.param("wt", kernel.PackedLen(in, c.k*c.k, outPad))
		dx := a.output("dx", c.n*win.Fwd.InPix*c.cin)
		for i := range win.Bwd {
			parts = append(parts, &kernel.Conv{
				G: &win.Bwd[i], X: dy, W: wt, Y: dx, Cin: c.cout, Cout: c.cin,
				XPitch: c.cout, YPitch: c.cin, Taps: c.k * c.k, InMax: outPad,
			})
		}
		return work{units: c.n, flops: c.flops(), run: func(lo, hi int) {
			for _, p := range parts {
				p.Rows(lo*p.G.Rows(), hi*p.G.Rows())
			}
		}}
	}}
}

func (c conv) gradient() Case {
	return Case{Op: "conv dw", Shape: c.shape(), setup: func(a *arena) work {
		g := &c.window().Fwd
		in, out := c.max()
		k := &kernel.ConvGrad{
			G: g, Cin: c.cin, Cout: c.cout, XPitch: c.cin + c.xPad, YPitch: c.cout + c.yPad,
			Taps: c.k * c.k, InMax: in,
		}
		k.X = a.input("x", c.n*g.InPix*k.XPitch)
		k.DY = a.param("dy", c.n*g.OutPix*k.YPitch)
		k.DW = a.output("dw", kernel.PackedLen(out, c.k*c.k, in))
		return work{units: c.n, run: k.Images, flops: c.flops(), serial: true}
	}}
}

// convCases are for agreement: every tail, stride, option and slice at small sizes.
func convCases() []Case {
	var cs []Case
	for _, c := range []conv{
		{n: 2, h: 5, w: 5, k: 3, stride: 1, cin: 8, cout: 16},
		{n: 3, h: 7, w: 6, k: 3, stride: 2, cin: 16, cout: 24, inMax: 40, outMax: 64, act: kernel.ReLU, shift: true},
		{n: 2, h: 6, w: 9, k: 3, stride: 2, cin: 24, cout: 8, scale: true, shift: true, act: kernel.HSwish},
		{n: 2, h: 9, w: 9, k: 5, stride: 1, cin: 5, cout: 40, act: kernel.HSigmoid, scale: true, res: true},
		{n: 1, h: 13, w: 11, k: 3, stride: 1, cin: 1, cout: 32, shift: true, act: kernel.ReLU},
		{n: 2, h: 8, w: 8, k: 3, stride: 1, cin: 3, cout: 16, xPad: 2, yPad: 8},
		{n: 7, h: 4, w: 4, k: 1, stride: 1, cin: 48, cout: 24, xPad: 8, yPad: 16, outMax: 56, res: true, act: kernel.ReLU},
		{n: 2, h: 7, w: 7, k: 1, stride: 2, cin: 13, cout: 48, inMax: 20},
		{n: 2, h: 7, w: 7, k: 1, stride: 2, cin: 16, cout: 48},
		{n: 2, h: 8, w: 6, k: 2, stride: 2, cin: 8, cout: 16, outMax: 32, inPlace: true},
		{n: 1, h: 1, w: 1, k: 1, stride: 1, cin: 72, cout: 56, inPlace: true, shift: true},
		{n: 2, h: 1, w: 1, k: 1, stride: 1, cin: 33, cout: 16, act: kernel.HSigmoid},
		{n: 3, h: 1, w: 1, k: 1, stride: 1, cin: 8, cout: 8, act: kernel.HSwish},
		{n: 4, h: 1, w: 1, k: 1, stride: 1, cin: 10, cout: 8},
		{n: 5, h: 1, w: 1, k: 1, stride: 1, cin: 7, cout: 24, res: true},
		{n: 211, h: 1, w: 1, k: 1, stride: 1, cin: 16, cout: 24, shift: true},
		{n: 14, h: 4, w: 3, k: 3, stride: 1, cin: 8, cout: 24, res: true, act: kernel.ReLU},
		{n: 20, h: 4, w: 5, k: 3, stride: 2, cin: 16, cout: 16, inPlace: true},
		{n: 13, h: 3, w: 3, k: 5, stride: 1, cin: 8, cout: 16},
		{n: 1, h: 20, w: 20, k: 3, stride: 1, cin: 104, cout: 8},
		{n: 1, h: 14, w: 13, k: 7, stride: 2, cin: 3, cout: 24, scale: true},
		{n: 2, h: 23, w: 12, k: 3, stride: 2, cin: 3, cout: 24, scale: true, shift: true, act: kernel.HSwish},
		{n: 2, h: 5, w: 11, k: 5, stride: 2, cin: 1, cout: 16, yPad: 8, res: true},
		{n: 3, h: 8, w: 7, k: 7, stride: 2, cin: 3, cout: 40, shift: true},
		{n: 3, h: 3, w: 3, k: 3, stride: 1, cin: 3, cout: 16, inPlace: true},
		{n: 1, h: 2, w: 2, k: 3, stride: 1, cin: 24, cout: 56, inMax: 40, outMax: 96, shift: true, act: kernel.ReLU},
		{n: 1, h: 4, w: 3, k: 3, stride: 2, cin: 72, cout: 40, res: true},
		{n: 1, h: 1, w: 1, k: 1, stride: 1, cin: 600, cout: 48, scale: true},
	} {
		if c.cin%8 == 0 {
			cs = append(cs, c.backward())
		}
		cs = append(cs, c.forward(), c.gradient())
	}
	for cin := 1; cin <= 14; cin++ { // every tail of the weight gradient
		c := conv{n: 3, h: 5, w: 4, k: 3, stride: 1, cin: cin, cout: 24, inMax: 16}
		one := conv{n: 3, h: 5, w: 4, k: 1, stride: 1, cin: cin, cout: 24, inMax: 16}
		cs = append(cs, c.gradient(), one.gradient())
	}
	for i := range cs {
		cs[i].Shape = strings.TrimSpace(cs[i].Shape)
	}
	return cs
}

// convSpeed are shapes of residual networks and of small supernets.
func convSpeed() []Case {
	var cs []Case
	for _, s := range []struct{ hw, ch int }{
		{32, 16}, {32, 32}, {32, 64}, {32, 128}, {28, 16}, {28, 24}, {14, 32}, {14, 48}, {14, 64}, {14, 128}, {7, 32}, {7, 64}, {7, 96}, {4, 96},
	} {
		for _, k := range []int{3, 1} {
			c := conv{n: 8, h: s.hw, w: s.hw, k: k, stride: 1, cin: s.ch, cout: s.ch, scale: true, shift: true, act: kernel.ReLU}
			cs = append(cs, c.forward(), conv{n: 8, h: s.hw, w: s.hw, k: k, stride: 1, cin: s.ch, cout: s.ch}.gradient())
		}
	}
	first := conv{n: 8, h: 28, w: 28, k: 3, stride: 1, cin: 1, cout: 16, scale: true, shift: true, act: kernel.ReLU}
	down := conv{n: 8, h: 28, w: 28, k: 3, stride: 2, cin: 32, cout: 64}
	fc := conv{n: 64, h: 1, w: 1, k: 1, stride: 1, cin: 256, cout: 96, shift: true}
	single := conv{n: 1, h: 1, w: 1, k: 1, stride: 1, cin: 256, cout: 96, shift: true}
	cs = append(cs, first.forward(), first.gradient(), down.forward(), down.backward(), down.gradient(),
		fc.forward(), fc.gradient(), single.forward())
	for _, n := range []int{1, 8} {
		for _, c := range networkConvs {
			c.n, c.scale, c.shift = n, true, true
			cs = append(cs, c.forward())
		}
	}
	return cs
}

// networkConvs are layers of ResNet50D and MobileNetV3 for 224x224 pixels, then of MobileNetV3
// and ResNet50D for 32x32.
var networkConvs = []conv{
	{h: 224, w: 224, k: 3, stride: 2, cin: 3, cout: 32, act: kernel.ReLU},
	{h: 112, w: 112, k: 3, stride: 1, cin: 32, cout: 64, act: kernel.ReLU},
	{h: 56, w: 56, k: 1, stride: 1, cin: 64, cout: 256},
	{h: 56, w: 56, k: 1, stride: 1, cin: 256, cout: 64, act: kernel.ReLU},
	{h: 56, w: 56, k: 3, stride: 1, cin: 64, cout: 64, act: kernel.ReLU},
	{h: 56, w: 56, k: 3, stride: 2, cin: 128, cout: 128, act: kernel.ReLU},
	{h: 28, w: 28, k: 1, stride: 1, cin: 512, cout: 128, act: kernel.ReLU},
	{h: 14, w: 14, k: 1, stride: 1, cin: 1024, cout: 256, act: kernel.ReLU},
	{h: 7, w: 7, k: 1, stride: 1, cin: 2048, cout: 512, act: kernel.ReLU},
	{h: 7, w: 7, k: 3, stride: 1, cin: 512, cout: 512, act: kernel.ReLU},
	{h: 224, w: 224, k: 3, stride: 2, cin: 3, cout: 16, act: kernel.HSwish},
	{h: 112, w: 112, k: 1, stride: 1, cin: 16, cout: 64, act: kernel.ReLU},
	{h: 56, w: 56, k: 1, stride: 1, cin: 72, cout: 24},
	{h: 28, w: 28, k: 1, stride: 1, cin: 40, cout: 120, act: kernel.ReLU},
	{h: 14, w: 14, k: 1, stride: 1, cin: 80, cout: 240, act: kernel.HSwish},
	{h: 14, w: 14, k: 1, stride: 1, cin: 672, cout: 112},
	{h: 7, w: 7, k: 1, stride: 1, cin: 960, cout: 160},
	{h: 1, w: 1, k: 1, stride: 1, cin: 960, cout: 240, act: kernel.ReLU},
	{h: 1, w: 1, k: 1, stride: 1, cin: 1280, cout: 1000},
	{h: 32, w: 32, k: 3, stride: 1, cin: 3, cout: 16, act: kernel.HSwish},
	{h: 16, w: 16, k: 1, stride: 1, cin: 24, cout: 96, act: kernel.ReLU},
	{h: 8, w: 8, k: 1, stride: 1, cin: 120, cout: 40},
	{h: 4, w: 4, k: 1, stride: 1, cin: 112, cout: 336, act: kernel.HSwish},
	{h: 2, w: 2, k: 1, stride: 1, cin: 480, cout: 160},
	{h: 2, w: 2, k: 3, stride: 1, cin: 208, cout: 208, act: kernel.ReLU},
	{h: 2, w: 2, k: 1, stride: 1, cin: 208, cout: 1024},
}
