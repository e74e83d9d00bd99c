//go:build !purego

package kernel

// row says where one row of a tile reads and writes; the assembly knows its layout.
type row struct {
	x  *float32 // its image, or its pixel
	in *int32   // its input pixels, one a tap
	y  int      // byte offset of its outputs in Y and Res
}

// chunkRows is how many rows share their descriptors and one pass over the panels.
const chunkRows = 96

// zeros is what padding reads; identity is the In of a row that reads its own pixel.
var (
	zeros    [4096]float32
	identity = [1]int32{}
)

// callRows returns how many rows one pass over the panels takes when an output costs k
// multiply-adds: few enough that their inputs stay in the cache, and that a call of
// assembly, which cannot be preempted, stays below about 70 µs.
func callRows(k int) int {
	return min(chunkRows, max(6, chunkRows*2304/max(k, 1)/6*6))
}

// describe fills rows for the rows from lo on.
func (g *Gather) describe(rows []row, lo int, x []float32, xPitch, yPitch int) {
	per, taps := g.Rows(), len(g.Taps)
	n, i := lo/per, lo%per
	for k := range rows {
		r := &rows[k]
		out := i
		if g.Out != nil {
			out = int(g.Out[i])
		}
		r.y = 4 * yPitch * (n*g.OutPix + out)
		switch {
		case g.In == nil:
			r.x, r.in = &x[(n*g.InPix+i)*xPitch], &identity[0]
		case taps > 0:
			r.x, r.in = &x[n*g.InPix*xPitch], &g.In[i*taps]
		}
		if i++; i == per {
			n, i = n+1, 0
		}
	}
}

// first returns the address of element i of s, nil for no slice.
func first(s []float32, i int) *float32 {
	if s == nil {
		return nil
	}
	return &s[i]
}

func convAVX2(c *Conv, lo, hi int) {
	if c.G.In == nil && c.G.Out == nil && c.G.InPix == c.G.OutPix {
		convLinearAVX2(c, lo, hi)
		return
	}
	if c.Cin > len(zeros) {
		convGeneric(c, lo, hi)
		return
	}
	var rows [chunkRows]row
	size := callRows(c.Cin * len(c.G.Taps))
	var taps *int32
	if len(c.G.Taps) > 0 {
		taps = &c.G.Taps[0]
	}
	for ; lo < hi; lo += size {
		n := min(size, hi-lo)
		c.G.describe(rows[:n], lo, c.X, c.XPitch, c.YPitch)
		for co := 0; co < c.Cout; co += Panel {
			convIndirect(&rows[0], n, min(Panel, c.Cout-co), taps, len(c.G.Taps), 4*(c.Cin&^3), 4*c.Cin,
				&c.W[PackedIndex(c.Taps, c.InMax, co, 0, 0)], 4*Panel*c.InMax, 4*c.XPitch, &zeros[0],
				&c.Y[co], first(c.Res, co), first(c.Scale, co), first(c.Shift, co), int(c.Act))
		}
	}
}

// convLinearAVX2 is for rows whose inputs and outputs follow each other: a 1x1
// convolution with stride 1, or a fully connected layer.
func convLinearAVX2(c *Conv, lo, hi int) {
	size := callRows(c.Cin)
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
