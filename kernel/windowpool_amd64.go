//go:build !purego

package kernel

// poolPixels returns how many output pixels one call of assembly takes, which cannot be
// preempted: about 2^16 vectors of inputs.
func poolPixels(taps, c int) int { return max(1, (1<<19)/(taps*c)) }

func maxPoolAVX2(g *Gather, x, y []float32, arg []int32, c int) {
	taps := len(g.Taps)
	size := poolPixels(taps, c)
	for o := 0; o < g.OutPix; o += size {
		maxPool(&x[0], &y[o*c], first(arg, o*c), &g.In[o*taps], taps, min(size, g.OutPix-o), 4*c)
	}
}

func avgPoolAVX2(g *Gather, x, y []float32, c int) {
	taps := len(g.Taps)
	size := poolPixels(taps, c)
	for o := 0; o < g.OutPix; o += size {
		avgPool(&x[0], &y[o*c], &g.In[o*taps], taps, min(size, g.OutPix-o), 4*c)
	}
}
