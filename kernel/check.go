package kernel

import "fmt"

// ShapeError is what kernels panic with when a shape does not fit its slice.
type ShapeError string

func (e ShapeError) Error() string { return "kernel: " + string(e) }

// need panics unless a slice has at least n elements.
func need[T any](op, name string, s []T, n int) {
	if len(s) < n {
		panic(ShapeError(fmt.Sprintf("%s: %s has %d elements, the shape needs %d", op, name, len(s), n)))
	}
}

func require(ok bool, op, what string) {
	if !ok {
		panic(ShapeError(op + ": " + what))
	}
}

// images returns how many images rows up to hi belong to.
func (g *Gather) images(hi int) int { return (hi-1)/g.Rows() + 1 }

// check panics unless the gather is consistent with weights of so many taps.
func (g *Gather) check(op string, taps int) {
	if g.In != nil {
		need(op, "G.In", g.In, g.Rows()*len(g.Taps))
	} else {
		require(len(g.Taps) == 1, op, "a gather without In has one tap")
	}
	for _, t := range g.Taps {
		require(uint(t) < uint(taps), op, "a gather names a tap that the weights lack")
	}
}

// pixels returns the length of n pixels of c channels that stand pitch apart.
func pixels(n, pitch, c int) int { return (n-1)*pitch + c }

func (c *Conv) check(hi int) {
	const op = "conv"
	c.G.check(op, c.Taps)
	n := c.G.images(hi)
	require(c.Cin > 0 && c.Cin <= c.InMax && c.Cin <= c.XPitch, op, "Cin outside 1..min(InMax, XPitch)")
	require(c.Cout > 0 && c.Cout%8 == 0 && c.Cout <= c.YPitch, op, "Cout is no multiple of 8 up to YPitch")
	need(op, "X", c.X, pixels(n*c.G.InPix, c.XPitch, c.Cin))
	need(op, "W", c.W, PackedLen(c.Cout, c.Taps, c.InMax))
	need(op, "Y", c.Y, pixels(n*c.G.OutPix, c.YPitch, c.Cout))
	checkEpilogue(op, c.Scale, c.Shift, c.Res, c.Cout, pixels(n*c.G.OutPix, c.YPitch, c.Cout))
}

func checkEpilogue(op string, scale, shift, res []float32, channels, n int) {
	if scale != nil {
		need(op, "Scale", scale, channels)
	}
	if shift != nil {
		need(op, "Shift", shift, channels)
	}
	if res != nil {
		need(op, "Res", res, n)
	}
}

func (c *ConvGrad) check(hi int) {
	const op = "conv gradient"
	c.G.check(op, c.Taps)
	require(c.Cin > 0 && c.Cin <= c.InMax && c.Cin <= c.XPitch, op, "Cin outside 1..min(InMax, XPitch)")
	require(c.Cout > 0 && c.Cout%8 == 0 && c.Cout <= c.YPitch, op, "Cout is no multiple of 8 up to YPitch")
	need(op, "X", c.X, pixels(hi*c.G.InPix, c.XPitch, c.Cin))
	need(op, "DY", c.DY, pixels(hi*c.G.OutPix, c.YPitch, c.Cout))
	need(op, "DW", c.DW, PackedLen(c.Cout, c.Taps, c.InMax))
}

func (d *Depthwise) check(hi int) {
	const op = "depthwise"
	taps := checkDepthwise(op, d.C, d.CMax, d.W)
	d.G.check(op, taps)
	n := d.G.images(hi)
	need(op, "X", d.X, n*d.G.InPix*d.C)
	need(op, "Y", d.Y, n*d.G.OutPix*d.C)
	checkEpilogue(op, d.Scale, d.Shift, d.Res, d.C, n*d.G.OutPix*d.C)
	if d.Sum != nil {
		require(d.G.Out == nil, op, "Sum with a gather that has an Out")
		need(op, "Sum", d.Sum, d.C)
	}
}

func (d *DepthwiseGrad) check(hi int) {
	const op = "depthwise gradient"
	taps := checkDepthwise(op, d.C, d.CMax, d.DW)
	d.G.check(op, taps)
	need(op, "X", d.X, hi*d.G.InPix*d.C)
	need(op, "DY", d.DY, hi*d.G.OutPix*d.C)
}

// checkDepthwise returns how many taps the weights w have.
func checkDepthwise(op string, c, cMax int, w []float32) int {
	require(c > 0 && c%8 == 0 && c <= cMax, op, "C is no multiple of 8 up to CMax")
	return (len(w) + cMax - c) / cMax
}

// checkRows panics unless every slice holds rows of c channels.
func checkRows(op string, rows, c int, slices ...[]float32) {
	require(c > 0 && c%8 == 0, op, "the number of channels is no multiple of 8")
	for _, s := range slices {
		need(op, "an activation", s, rows*c)
	}
}

// checkChannels panics unless every slice holds c channels.
func checkChannels(op string, c int, slices ...[]float32) {
	for _, s := range slices {
		need(op, "a vector of channels", s, c)
	}
}

func checkPool(op string, g *Gather, x, y []float32, c int) {
	require(c > 0 && c%8 == 0, op, "the number of channels is no multiple of 8")
	require(len(g.Taps) > 0 && g.Out == nil, op, "the gather has no taps, or an Out")
	need(op, "G.In", g.In, g.OutPix*len(g.Taps))
	need(op, "x", x, g.InPix*c)
	need(op, "y", y, g.OutPix*c)
}
