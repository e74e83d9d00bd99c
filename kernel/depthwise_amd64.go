//go:build !purego

package kernel

// mostTaps is how many taps the depthwise kernels take (7x7).
const mostTaps = 49

func depthwiseAVX2(d *Depthwise, lo, hi int) {
	g, taps := d.G, len(d.G.Taps)
	if taps == 0 || taps > mostTaps || d.C > len(zeros) {
		depthwiseGeneric(d, lo, hi)
		return
	}
	var rows [chunkRows]row
	var pointers [mostTaps * 7]uintptr
	// A call of assembly cannot be preempted: at most about 2^20 multiply-adds.
	size := min(chunkRows, max(6, (1<<20)/(taps*d.C)/6*6))
	for ; lo < hi; lo += size {
		n := min(size, hi-lo)
		g.describe(rows[:n], lo, d.X, d.C, d.C)
		depthwise(&rows[0], n, &g.Taps[0], taps, 4*d.C, &d.W[0], 4*d.CMax, 4*d.C, &zeros[0],
			&pointers[0], &d.Y[0], first(d.Res, 0), first(d.Scale, 0), first(d.Shift, 0), int(d.Act))
	}
}

// depthwiseGradRows is how many rows one block of the depthwise weight gradient takes:
// sixteen channels of their inputs and output gradients stay in the first-level cache.
const depthwiseGradRows = 160

func depthwiseGradAVX2(d *DepthwiseGrad, lo, hi int) {
	g := d.G
	rows := g.Rows()
	switch {
	case g.Out != nil || g.In == nil || len(g.Taps) == 0:
		depthwiseGradGeneric(d, lo, hi)
	case rows <= depthwiseGradRows:
		per := depthwiseGradRows / rows
		for n := lo; n < hi; n += per {
			d.block(n*g.InPix, rows, min(per, hi-n), n*g.OutPix, g.In)
		}
	default:
		for n := lo; n < hi; n++ {
			for r := 0; r < rows; r += depthwiseGradRows {
				d.block(n*g.InPix, min(depthwiseGradRows, rows-r), 1, n*g.OutPix+r, g.In[r*len(g.Taps):])
			}
		}
	}
}

// block accumulates over rows of each of several images, as ConvGrad.block does.
func (d *DepthwiseGrad) block(xPix, rows, images, yPix int, in []int32) {
	const most = 7
	taps := len(d.G.Taps)
	parts := (taps + most - 1) / most
	for ch := 0; ch < d.C; ch += 16 {
		x, dy, dw := &d.X[xPix*d.C+ch], &d.DY[yPix*d.C+ch], &d.DW[ch]
		for p, t := 0, 0; p < parts; p++ {
			n := (taps - t) / (parts - p)
			depthwiseGrad(x, dy, dw, &d.G.Taps[t], n, min(2, (d.C-ch)/8), rows, 4*d.C, 4*d.CMax,
				images, 4*d.C*d.G.InPix, &in[t], 4*taps, &zeros[0])
			t += n
		}
	}
}
