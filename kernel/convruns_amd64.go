//go:build !purego

package kernel

// mostRunInputs is how many inputs a pixel has at most if windows are read by runs: the
// colours of an image, too few for a loop over the inputs of one tap.
const mostRunInputs = 7

// lineTaps numbers the lines of a window.
var lineTaps = [mostSlide]int32{0, 1, 2, 3, 4, 5, 6}

// byRuns reports whether each line of the window is a run of inputs and its weights are a
// run too, so that it is like one tap with more inputs.
func (c *Conv) byRuns() bool {
	s := c.G.slide
	return s != nil && s.taps[0] == 0 && len(c.G.Taps) == s.k*s.k && s.k <= mostSlide && min(s.w, s.h) >= s.k &&
		c.Cin <= mostRunInputs && c.Cin == c.XPitch && c.Cin == c.InMax
}

// interior returns the outputs along one side whose windows lie within n pixels.
func (s *slide) interior(n, outputs int) (from, to int) {
	p := s.k / 2
	return (p + s.stride - 1) / s.stride, min(outputs, (n-s.k+p)/s.stride+1)
}

// runs computes rows [lo, hi).
func (c *Conv) runs(lo, hi int) {
	for per := c.G.Rows(); lo < hi; {
		i := lo % per
		n := min(per-i, hi-lo)
		c.runsOf(lo/per, i, i+n)
		lo += n
	}
}

// runsOf computes rows [lo, hi) of an image: its lines between the outputs at the sides,
// whose windows are cut off, and these column by column.
func (c *Conv) runsOf(image, lo, hi int) {
	s := c.G.slide
	left, right := s.interior(s.w, s.ow)
	top, bottom := s.interior(s.h, c.G.OutPix/s.ow)
	for i := lo; i < hi; {
		y, x := i/s.ow, i%s.ow
		end := min(s.ow, x+hi-i)
		if from, to := max(x, left), min(end, right); from < to {
			c.run(image, y, from, to-from, false)
		}
		for side := x; side < end && (y < top || y >= bottom); side++ {
			if side < left || side >= right {
				c.run(image, y, side, 1, false)
			}
		}
		i += end - x
	}
	for x := range s.ow {
		if left <= x && x < right {
			continue
		}
		from, to := max(top, (lo-x+s.ow-1)/s.ow), min(bottom, (hi-x+s.ow-1)/s.ow)
		if from < to {
			c.run(image, from, x, to-from, true)
		}
	}
}

// run computes n outputs from column x of line y on, to the right or downwards, whose windows
// are cut off alike.
func (c *Conv) run(image, y, x, n int, down bool) {
	g, s := c.G, c.G.slide
	p := s.k / 2
	r0, r1 := max(0, p-y*s.stride), min(s.k, s.h+p-y*s.stride)
	c0, c1 := max(0, p-x*s.stride), min(s.k, s.w+p-x*s.stride)
	in := (image*g.InPix + (y*s.stride-p+r0)*s.w + x*s.stride - p + c0) * c.Cin
	out := (image*g.OutPix + y*s.ow + x) * c.YPitch
	row, ypitch := 4*s.stride*c.Cin, 4*c.YPitch
	if down {
		row, ypitch = row*s.w, ypitch*s.ow
	}
	cin := (c1 - c0) * c.Cin
	m, tiles, less := even(n, blockRows)
	for co := 0; co < c.Cout; {
		outputs := nextOutputs(c.Cout - co)
		convBlocks(nil, nil, &c.X[in], row, 4*s.w*c.Cin, ypitch, m, tiles, less,
			outputs, &lineTaps[0], r1-r0, 4*(cin&^3), 4*cin,
			&c.W[PackedIndex(c.Taps, c.InMax, co, r0*s.k+c0, 0)], 4*Panel*c.InMax*s.k, 4*Panel*c.InMax*c.Taps,
			&c.Y[out+co], first(c.Res, out+co), first(c.Scale, co), first(c.Shift, co), int(c.Act), 0)
		co += outputs
	}
}
