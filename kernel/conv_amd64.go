//go:build !purego

package kernel

// tileRows is how many rows the assembly computes together. Rows are taken from that many
// images at a time where tiles go by padding, so that the corners of the images fill a
// tile; with fewer than fewImages, tiles would be too small to pay.
const (
	tileRows  = 6
	fewImages = 4
)

func convAVX2(c *Conv, lo, hi int) {
	g := c.G
	if g.In == nil && g.Out == nil && g.InPix == g.OutPix {
		convLinearAVX2(c, lo, hi)
		return
	}
	if !g.fits(c.Cin) {
		convGeneric(c, lo, hi)
		return
	}
	var t table
	rows := g.Rows()
	from, to := (lo+rows-1)/rows, hi/rows // whole images
	if g.parts == nil || to-from < fewImages {
		c.rows(&t, g, lo, hi)
		return
	}
	c.rows(&t, g, lo, from*rows)
	for ; from < to; from += tileRows {
		for i := range g.parts {
			p := &g.parts[i]
			c.rows(&t, p, from*p.Rows(), min(from+tileRows, to)*p.Rows())
		}
	}
	c.rows(&t, g, to*rows, hi)
}

// rows computes rows of a gather that is c.G or a part of it.
func (c *Conv) rows(t *table, g *Gather, lo, hi int) {
	size := g.chunk(len(g.Taps) * c.Cin * Panel)
	for ; lo < hi; lo += size {
		n := min(size, hi-lo)
		t.fill(g, lo, n, c.X, c.XPitch, c.YPitch)
		for co := 0; co < c.Cout; co += Panel {
			convIndirect(&t.pixels[0], &t.offsets[0], n, min(Panel, c.Cout-co), first(g.Taps, 0), len(g.Taps),
				4*(c.Cin&^3), 4*c.Cin, &c.W[PackedIndex(c.Taps, c.InMax, co, 0, 0)], 4*Panel*c.InMax,
				&c.Y[co], first(c.Res, co), first(c.Scale, co), first(c.Shift, co), int(c.Act))
		}
	}
}

// convLinearAVX2 is for rows whose inputs and outputs follow each other: a 1x1
// convolution with stride 1, or a fully connected layer.
func convLinearAVX2(c *Conv, lo, hi int) {
	size := c.G.chunk(c.Cin * Panel)
	tap := int(c.G.Taps[0])
	for ; lo < hi; lo += size {
		for co := 0; co < c.Cout; co += Panel {
			y := lo*c.YPitch + co
			convLinear(&c.X[lo*c.XPitch], min(size, hi-lo), min(Panel, c.Cout-co), 4*(c.Cin&^3), 4*c.Cin,
				&c.W[PackedIndex(c.Taps, c.InMax, co, tap, 0)], 4*c.XPitch, 4*c.YPitch,
				&c.Y[y], first(c.Res, y), first(c.Scale, co), first(c.Shift, co), int(c.Act))
		}
	}
}
