package kernel

import (
	"errors"
	"testing"
)

// TestShapesAreChecked: what does not fit panics with a ShapeError before any kernel,
// which checks nothing, runs.
func TestShapesAreChecked(t *testing.T) {
	s := func(n int) []float32 { return make([]float32, n) }
	win := NewWindow(4, 4, 3, 1, Raster(3))
	conv := func(change func(*Conv)) func() {
		c := &Conv{
			G: &win.Fwd, X: s(2 * 16 * 8), W: s(PackedLen(16, 9, 8)), Y: s(2 * 16 * 16),
			Cin: 8, Cout: 16, XPitch: 8, YPitch: 16, Taps: 9, InMax: 8,
		}
		change(c)
		return func() { c.Rows(0, 32) }
	}
	grad := func(change func(*ConvGrad)) func() {
		c := &ConvGrad{
			G: &win.Fwd, X: s(16 * 8), DW: s(PackedLen(16, 9, 8)), DY: s(16 * 16),
			Cin: 8, Cout: 16, XPitch: 8, YPitch: 16, Taps: 9, InMax: 8,
		}
		change(c)
		return func() { c.Images(0, 1) }
	}
	depthwise := func(change func(*Depthwise)) func() {
		d := &Depthwise{G: &win.Fwd, X: s(16 * 8), W: s(9 * 8), Y: s(16 * 8), C: 8, CMax: 8}
		change(d)
		return func() { d.Rows(0, 16) }
	}
	for _, c := range []struct {
		name string
		run  func()
		fits bool
	}{
		{"conv", conv(func(*Conv) {}), true},
		{"conv X", conv(func(c *Conv) { c.X = c.X[1:] }), false},
		{"conv Y", conv(func(c *Conv) { c.Y = c.Y[1:] }), false},
		{"conv W", conv(func(c *Conv) { c.W = c.W[1:] }), false},
		{"conv Res", conv(func(c *Conv) { c.Res = c.Y[1:] }), false},
		{"conv Scale", conv(func(c *Conv) { c.Scale = s(15) }), false},
		{"conv Cin", conv(func(c *Conv) { c.Cin = 9 }), false},
		{"conv Cout", conv(func(c *Conv) { c.Cout = 12 }), false},
		{"conv taps", conv(func(c *Conv) { c.Taps = 8 }), false},
		{"conv In", conv(func(c *Conv) { c.G = &Gather{InPix: 16, OutPix: 16, Taps: []int32{0}, In: make([]int32, 15)} }), false},
		{"gradient", grad(func(*ConvGrad) {}), true},
		{"gradient DY", grad(func(c *ConvGrad) { c.DY = c.DY[1:] }), false},
		{"gradient DW", grad(func(c *ConvGrad) { c.DW = c.DW[1:] }), false},
		{"depthwise", depthwise(func(*Depthwise) {}), true},
		{"depthwise X", depthwise(func(d *Depthwise) { d.X = d.X[1:] }), false},
		{"depthwise W", depthwise(func(d *Depthwise) { d.W = d.W[1:] }), false},
		{"depthwise C", depthwise(func(d *Depthwise) { d.C = 4 }), false},
		{"moments", func() { Moments(s(31), 2, 16, s(16), s(16), s(16)) }, false},
		{"scale", func() { ScaleShift(s(32), s(32), nil, 2, 16, s(16), s(15), ReLU) }, false},
		{"norm gradient", func() { NormGrad(s(32), nil, s(32), 2, 16, nil, nil, s(16), ReLU, s(16), s(16)) }, false},
		{"norm gradient linear", func() { NormGrad(s(32), nil, s(32), 2, 16, nil, nil, s(16), Linear, s(16), s(16)) }, true},
		{"add", func() { Add(s(3), s(4)) }, false},
		{"sgd", func() { SGD(s(4), s(4), s(3), 0, 0, 0) }, false},
		{"max pool", func() { MaxPool(&win.Fwd, s(16*8), s(16*8), make([]int32, 16), 8) }, false},
		{"pack transposed", func() { PackTransposed(s(16*16*9-1), s(16*16*9), 16, 9, 16) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			defer func() {
				err, _ := recover().(error)
				if shape := ShapeError(""); errors.As(err, &shape) == c.fits {
					t.Errorf("recovered %v, fits %v", err, c.fits)
				}
			}()
			c.run()
		})
	}
}
