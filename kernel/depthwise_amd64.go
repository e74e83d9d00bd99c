//go:build !purego

package kernel

func depthwiseAVX2(d *Depthwise, lo, hi int) {
	g := d.G
	if len(g.Taps) == 0 || !g.fits(d.C) {
		depthwiseGeneric(d, lo, hi)
		return
	}
	if s := g.slide; s != nil && s.stride == 1 && len(g.Taps) == s.k*s.k && 3 <= s.k && s.k <= mostSlide {
		slideAVX2(d, lo, hi)
	} else {
		gatherAVX2(d, lo, hi)
	}
	if d.Sum != nil {
		channelSumAVX2(d.Y[lo*d.C:], nil, hi-lo, d.C, d.Sum, nil)
	}
}

// gatherAVX2 is for any gather.
func gatherAVX2(d *Depthwise, lo, hi int) {
	g := d.G
	var t table
	size := g.chunk(len(g.Taps) * 16)
	for ; lo < hi; lo += size {
		n := min(size, hi-lo)
		t.fill(g, lo, n, d.X, d.C, d.C)
		for ch := 0; ch < d.C; ch += 16 {
			depthwise(&t.pixels[0], &t.offsets[0], n, min(16, d.C-ch), &g.Taps[0], len(g.Taps), 4*ch,
				&d.W[ch], 4*d.CMax, &d.Y[ch], first(d.Res, ch), first(d.Scale, ch), first(d.Shift, ch), int(d.Act))
		}
	}
}

func depthwiseGradAVX2(d *DepthwiseGrad, lo, hi int) {
	g := d.G
	if len(g.Taps) == 0 || g.Out != nil || !g.fits(d.C) {
		depthwiseGradGeneric(d, lo, hi)
		return
	}
	var t table
	size := g.chunk(len(g.Taps) * 16)
	for r, end := lo*g.Rows(), hi*g.Rows(); r < end; r += size {
		n := min(size, end-r)
		t.fill(g, r, n, d.X, d.C, d.C)
		d.block(&t, r, n)
	}
}

// block accumulates over the n rows of t; the output gradients of the first are pixel r.
// The taps are shared out evenly among passes of at most seven.
func (d *DepthwiseGrad) block(t *table, r, n int) {
	const most = 7
	taps := len(d.G.Taps)
	parts := (taps + most - 1) / most
	for ch := 0; ch < d.C; ch += 16 {
		for p, tap := 0, 0; p < parts; p++ {
			k := (taps - tap) / (parts - p)
			depthwiseGrad(&t.pixels[tap], 8*taps, 4*ch, &d.DY[r*d.C], &d.DW[0], &d.G.Taps[tap], k,
				min(2, (d.C-ch)/8), n, 4*d.C, 4*d.CMax)
			tap += k
		}
	}
}
