package kerneltest

import (
	"fmt"
	"math"

	"weft/kernel"
)

// Gradient is an operation and its gradients on one shape.
type Gradient struct {
	Op, Shape string
	check     func(*arena) error
}

func (g Gradient) String() string { return g.Op + " " + g.Shape }

// Check compares the gradients with finite differences.
func (g Gradient) Check(seed uint64) error {
	if err := g.check(newArena(seed, false)); err != nil {
		return fmt.Errorf("%s: %w", g, err)
	}
	return nil
}

// Gradients lists what Check covers: the gradients by inputs and by weights of every
// convolution, and the two passes of the gradient through batch normalisation.
func Gradients() []Gradient {
	var gs []Gradient
	for _, c := range []conv{
		{n: 2, h: 5, w: 6, k: 3, stride: 1, cin: 8, cout: 16},
		{n: 2, h: 7, w: 6, k: 3, stride: 2, cin: 24, cout: 8, inMax: 32, outMax: 40},
		{n: 1, h: 6, w: 6, k: 2, stride: 2, cin: 8, cout: 24},
		{n: 2, h: 5, w: 5, k: 1, stride: 2, cin: 16, cout: 8},
		{n: 3, h: 3, w: 3, k: 1, stride: 1, cin: 16, cout: 40},
	} {
		gs = append(gs, Gradient{"conv", c.shape(), c.checkGradients})
	}
	for _, d := range []depthwise{
		{n: 2, h: 6, w: 5, k: 3, stride: 1, c: 8},
		{n: 1, h: 9, w: 8, k: 5, stride: 2, c: 24, cMax: 32, kMax: 7},
		{n: 1, h: 7, w: 7, k: 7, stride: 1, c: 16},
	} {
		gs = append(gs, Gradient{"depthwise", d.shape(), d.checkGradients})
	}
	for _, act := range acts {
		gs = append(gs, Gradient{"batch norm", act.String(), func(a *arena) error { return checkNorm(a, 40, 16, act) }})
	}
	return gs
}

// dot is the loss Σ r·y, whose gradient by y is r.
func dot(r, y []float32) float64 {
	var s float64
	for i, v := range y {
		s += float64(r[i]) * float64(v)
	}
	return s
}

// differ compares some elements of the gradient of a loss by x with central differences
// of step eps. Where the loss is linear in x, any step is exact but for rounding.
func (a *arena) differ(name string, x, grad []float32, loss func() float64, eps float32, tol float64) error {
	scale := 1.0
	for _, g := range grad {
		scale = max(scale, math.Abs(float64(g)))
	}
	for range 40 {
		i := a.rng.IntN(len(x))
		was := x[i]
		x[i] = was + eps
		hi, up := loss(), x[i]
		x[i] = was - eps
		lo, down := loss(), x[i]
		x[i] = was
		want := (hi - lo) / float64(up-down)
		if got := float64(grad[i]); !(math.Abs(got-want) <= tol*scale) {
			return fmt.Errorf("%s[%d]: got %v, differences say %v", name, i, got, want)
		}
	}
	return nil
}

func (c conv) checkGradients(a *arena) error {
	k := c.args(a)
	in, out := c.max()
	win := c.window()
	r := a.param("r", len(k.Y))
	loss := func() float64 {
		k.Rows(0, c.n*k.G.Rows())
		return dot(r, k.Y)
	}
	dw := make([]float32, len(k.W))
	g := kernel.ConvGrad{
		G: k.G, X: k.X, DY: r, DW: dw, Cin: c.cin, Cout: c.cout,
		XPitch: k.XPitch, YPitch: k.YPitch, Taps: k.Taps, InMax: k.InMax,
	}
	g.Images(0, c.n)
	outPad := kernel.Panels(out) * kernel.Panel
	wt := make([]float32, kernel.PackedLen(in, k.Taps, outPad))
	kernel.PackTransposed(wt, k.W, out, k.Taps, in)
	dx := make([]float32, len(k.X))
	for i := range win.Bwd {
		b := kernel.Conv{
			G: &win.Bwd[i], X: r, W: wt, Y: dx, Cin: c.cout, Cout: c.cin,
			XPitch: k.YPitch, YPitch: k.XPitch, Taps: k.Taps, InMax: outPad,
		}
		b.Rows(0, c.n*b.G.Rows())
	}
	if err := a.differ("dw", k.W, dw, loss, 1, 1e-5); err != nil {
		return err
	}
	return a.differ("dx", k.X, dx, loss, 1, 1e-5)
}

func (d depthwise) checkGradients(a *arena) error {
	win := d.window()
	n, cMax := d.weights()
	g := &win.Fwd
	k := kernel.Depthwise{G: g, C: d.c, CMax: cMax}
	k.X, k.W = a.param("x", d.n*g.InPix*d.c), a.param("w", n)
	k.Y = make([]float32, d.n*g.OutPix*d.c)
	r := a.param("r", len(k.Y))
	loss := func() float64 {
		k.Rows(0, d.n*g.Rows())
		return dot(r, k.Y)
	}
	dw, dx := make([]float32, len(k.W)), make([]float32, len(k.X))
	grad := kernel.DepthwiseGrad{G: g, X: k.X, DY: r, DW: dw, C: d.c, CMax: cMax}
	grad.Images(0, d.n)
	for i := range win.Bwd {
		b := kernel.Depthwise{G: &win.Bwd[i], X: r, W: k.W, Y: dx, C: d.c, CMax: cMax}
		b.Rows(0, d.n*b.G.Rows())
	}
	if err := a.differ("dw", k.W, dw, loss, 1, 1e-5); err != nil {
		return err
	}
	return a.differ("dx", k.X, dx, loss, 1, 1e-5)
}
