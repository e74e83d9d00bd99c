package kernel

// act applies an activation function to one value.
func (a Act) apply(x float32) float32 {
	switch a {
	case ReLU:
		if !(x > 0) {
			return 0
		}
		return x
	case HSwish:
		return x * HSigmoid.apply(x)
	case HSigmoid:
		return min(max(x+3, 0), 6) * (1.0 / 6)
	default:
		return x
	}
}

// grad returns the derivative of the activation at z.
func (a Act) grad(z float32) float32 {
	switch a {
	case ReLU:
		if z > 0 {
			return 1
		}
		return 0
	case HSwish:
		switch {
		case z <= -3:
			return 0
		case z >= 3:
			return 1
		default:
			return (2*z + 3) * (1.0 / 6)
		}
	case HSigmoid:
		if z > -3 && z < 3 {
			return 1.0 / 6
		}
		return 0
	default:
		return 1
	}
}

// row resolves row r of a batch: the base of its image in x pixels, its output pixel in
// the batch, and its slice of In (nil for the identity).
func (g *Gather) row(r int) (xBase, yPix int, in []int32) {
	rows := g.Rows()
	n, i := r/rows, r%rows
	out := i
	if g.Out != nil {
		out = int(g.Out[i])
	}
	if g.In == nil {
		return n*g.InPix + i, n*g.OutPix + out, nil
	}
	t := len(g.Taps)
	return n * g.InPix, n*g.OutPix + out, g.In[i*t : i*t+t]
}

// source returns the input pixel behind tap column j of a row, or -1.
func source(xBase int, in []int32, j int) int {
	if in == nil {
		return xBase
	}
	if in[j] < 0 {
		return -1
	}
	return xBase + int(in[j])
}

func convGeneric(c *Conv, lo, hi int) {
	var acc [Panel]float32
	for r := lo; r < hi; r++ {
		xBase, yPix, in := c.G.row(r)
		for co := 0; co < c.Cout; co += Panel {
			n := min(Panel, c.Cout-co)
			acc = [Panel]float32{}
			for j, t := range c.G.Taps {
				p := source(xBase, in, j)
				if p < 0 {
					continue
				}
				x := c.X[p*c.XPitch:][:c.Cin]
				w := c.W[PackedIndex(c.Taps, c.InMax, co, int(t), 0):][:c.Cin*Panel]
				for ci, v := range x {
					wr := (*[Panel]float32)(w[ci*Panel:])
					for l := range wr {
						acc[l] += v * wr[l]
					}
				}
			}
			y := c.Y[yPix*c.YPitch+co:][:n]
			for l := range y {
				v := acc[l]
				if c.Scale != nil {
					v *= c.Scale[co+l]
				}
				if c.Shift != nil {
					v += c.Shift[co+l]
				}
				if c.Res != nil {
					v += c.Res[yPix*c.YPitch+co+l]
				}
				y[l] = c.Act.apply(v)
			}
		}
	}
}

func convGradGeneric(c *ConvGrad, lo, hi int) {
	rows := c.G.Rows()
	for r := lo * rows; r < hi*rows; r++ {
		xBase, yPix, in := c.G.row(r)
		dy := c.DY[yPix*c.YPitch:][:c.Cout]
		for j, t := range c.G.Taps {
			p := source(xBase, in, j)
			if p < 0 {
				continue
			}
			x := c.X[p*c.XPitch:][:c.Cin]
			for co := 0; co < c.Cout; co += Panel {
				d := dy[co:min(co+Panel, c.Cout)]
				dw := c.DW[PackedIndex(c.Taps, c.InMax, co, int(t), 0):][:c.Cin*Panel]
				for ci, v := range x {
					wr := dw[ci*Panel:][:len(d)]
					for l := range wr {
						wr[l] += v * d[l]
					}
				}
			}
		}
	}
}

func depthwiseGeneric(d *Depthwise, lo, hi int) {
	for r := lo; r < hi; r++ {
		xBase, yPix, in := d.G.row(r)
		y := d.Y[yPix*d.C:][:d.C]
		for ch := range y {
			var acc float32
			for j, t := range d.G.Taps {
				if p := source(xBase, in, j); p >= 0 {
					acc += d.X[p*d.C+ch] * d.W[int(t)*d.CMax+ch]
				}
			}
			if d.Scale != nil {
				acc *= d.Scale[ch]
			}
			if d.Shift != nil {
				acc += d.Shift[ch]
			}
			if d.Res != nil {
				acc += d.Res[yPix*d.C+ch]
			}
			y[ch] = d.Act.apply(acc)
			if d.Sum != nil {
				d.Sum[ch] += y[ch]
			}
		}
	}
}

func depthwiseGradGeneric(d *DepthwiseGrad, lo, hi int) {
	rows := d.G.Rows()
	for r := lo * rows; r < hi*rows; r++ {
		xBase, yPix, in := d.G.row(r)
		dy := d.DY[yPix*d.C:][:d.C]
		for j, t := range d.G.Taps {
			p := source(xBase, in, j)
			if p < 0 {
				continue
			}
			x := d.X[p*d.C:][:d.C]
			dw := d.DW[int(t)*d.CMax:][:d.C]
			for ch := range dw {
				dw[ch] += x[ch] * dy[ch]
			}
		}
	}
}

func packTransposedGeneric(dst, w []float32, outMax, taps, inMax int) {
	outPad := Panels(outMax) * Panel
	clear(dst[:PackedLen(inMax, taps, outPad)])
	for co := range outMax {
		for t := range taps {
			for ci := range inMax {
				dst[PackedIndex(taps, outPad, ci, t, co)] = w[PackedIndex(taps, inMax, co, t, ci)]
			}
		}
	}
}
