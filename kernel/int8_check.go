package kernel

func (c *Conv8) check(hi int) {
	const op = "conv8"
	c.G.check(op, c.Taps)
	n := c.G.images(hi)
	require(c.Cin > 0 && c.Cin%quad == 0 && c.Cin <= c.InMax && c.Cin <= c.XPitch, op, "Cin is no multiple of 4 up to min(InMax, XPitch)")
	require(c.InMax%quad == 0, op, "InMax is no multiple of 4")
	require(c.Cout > 0 && c.Cout%8 == 0 && c.Cout <= c.YPitch, op, "Cout is no multiple of 8 up to YPitch")
	require(c.Taps*c.Cin <= maxSum8 && c.Cin <= maxPad8, op, "too many inputs")
	need(op, "X", c.X, pixels(n*c.G.InPix, c.XPitch, c.Cin))
	need(op, "W", c.W, PackedLen8(c.Cout, c.Taps, c.InMax))
	out := pixels(n*c.G.OutPix, c.YPitch, c.Cout)
	need(op, "Bias", c.Bias, Panels(c.Cout)*Panel)
	need(op, "Scale", c.Scale, Panels(c.Cout)*Panel)
	if c.Float != nil {
		require(c.Res == nil && c.Table == nil, op, "Float with Res or Table")
		need(op, "Float", c.Float, out)
		return
	}
	need(op, "Y", c.Y, out)
	if c.Res != nil {
		need(op, "Res", c.Res, out)
	}
}

func (d *Depthwise8) check(hi int) {
	const op = "depthwise8"
	taps := len(d.G.Taps)
	d.G.check(op, taps)
	require(d.G.In != nil && taps%quad == 1, op, "the taps are not those of an odd window")
	for i, t := range d.G.Taps {
		require(int(t) == i, op, "the taps are not those of the weights, in order")
	}
	require(d.C > 0 && d.C%8 == 0 && d.C <= maxPad8, op, "C is no multiple of 8")
	require(d.Res == nil, op, "Res is not supported")
	n := d.G.images(hi)
	need(op, "X", d.X, n*d.G.InPix*d.C)
	need(op, "W", d.W, DepthwiseLen8(d.C, taps))
	need(op, "Y", d.Y, n*d.G.OutPix*d.C)
	need(op, "Bias", d.Bias, DepthwisePad8(d.C))
	need(op, "Scale", d.Scale, DepthwisePad8(d.C))
}

func checkPool8(op string, g *Gather, x, y []uint8, c int) {
	require(c > 0 && c%8 == 0, op, "the number of channels is no multiple of 8")
	require(len(g.Taps) > 0 && g.Out == nil, op, "the gather has no taps, or an Out")
	need(op, "G.In", g.In, g.OutPix*len(g.Taps))
	need(op, "x", x, g.InPix*c)
	need(op, "y", y, g.OutPix*c)
}
