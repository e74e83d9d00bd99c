package kernel

import "math"

// impl8 is one tier of int8 kernels.
type impl8 struct {
	conv      func(*Conv8, int, int)
	depthwise func(*Depthwise8, int, int)
	winograd  func(w *Winograd8, lo, hi int, scratch []uint8) // nil where conv is as fast
	quantise  func(y []uint8, x, sub, mul []float32, zero uint8)
	add       func(y, a, b []uint8, f Affine8)
	gate      func(y, x, gate []uint8, rows int, xZero, gateZero uint8, scale float32, zero uint8)
	mean      func(y, x []uint8, pixels, c int, xZero uint8, scale float32, zero uint8)
	maxPool   func(g *Gather, y, x []uint8, c, lo int) // up to the end of y
	avgPool   func(g *Gather, y, x []uint8, c, lo int)
}

var generic8 = impl8{
	conv: conv8Generic, depthwise: depthwise8Generic, quantise: quantise8Generic, add: add8Generic,
	gate: gate8Generic, mean: meanPool8Generic, maxPool: maxPool8Generic, avgPool: avgPool8Generic,
}

// rne rounds to the nearest integer, ties to even.
func rne(v float32) float32 { return float32(math.RoundToEven(float64(v))) }

// clamp8 limits an integer to a byte; NaN becomes 0.
func clamp8(v float32) uint8 {
	if !(v > 0) {
		return 0
	}
	return uint8(min(v, 255))
}

// fma8 returns a·r + c rounded once for a byte a. In float64 the product is exact, and so
// is the sum unless the magnitudes of r and c are more than 2²⁰ apart.
func fma8(a uint8, r, c float32) float32 { return float32(float64(a)*float64(r) + float64(c)) }

// apply computes f of two bytes.
func (f Affine8) apply(a, b uint8) uint8 { return clamp8(rne(fma8(a, f.A, fma8(b, f.B, f.C)))) }

// requant turns the sum of channel c, whose vectors stand at index i, into a byte.
func (r *Requant8) requant(sum int32, i, y int) uint8 {
	b := clamp8(rne(float32(sum+r.Bias[i])*r.Scale[i]) + float32(r.Zero))
	if r.Res != nil {
		b = r.Add.apply(b, r.Res[y])
	}
	if r.Table != nil {
		b = r.Table[b]
	}
	return b
}

func conv8Generic(c *Conv8, lo, hi int) {
	pad := padRow8(c.Pad)
	var acc [Panel]int32
	for r := lo; r < hi; r++ {
		xBase, yPix, in := c.G.row(r)
		for co := 0; co < c.Cout; co += Panel {
			n := min(Panel, c.Cout-co)
			acc = [Panel]int32{}
			for j, t := range c.G.Taps {
				x := pad[:c.Cin]
				if p := source(xBase, in, j); p >= 0 {
					x = c.X[p*c.XPitch:][:c.Cin]
				}
				w := c.W[PackedIndex8(c.Taps, c.InMax, co, int(t), 0):][:c.Cin*Panel]
				for ci, v := range x {
					for l := range n {
						acc[l] += int32(v) * int32(w[ci/quad*Panel*quad+l*quad+ci%quad])
					}
				}
			}
			y := yPix*c.YPitch + co
			for l := range n {
				if c.Float != nil {
					c.Float[y+l] = float32(acc[l]+c.Bias[co+l]) * c.Scale[co+l]
				} else {
					c.Y[y+l] = c.requant(acc[l], co+l, y+l)
				}
			}
		}
	}
}

func depthwise8Generic(d *Depthwise8, lo, hi int) {
	taps := len(d.G.Taps)
	for r := lo; r < hi; r++ {
		xBase, yPix, in := d.G.row(r)
		for ch := range d.C {
			var sum int32
			for t := range taps {
				x := d.Pad
				if p := source(xBase, in, t); p >= 0 {
					x = d.X[p*d.C+ch]
				}
				sum += int32(x) * int32(d.W[DepthwiseIndex8(taps, ch, t)])
			}
			d.Y[yPix*d.C+ch] = d.requant(sum, DepthwiseOrder8(ch), 0)
		}
	}
}

func quantise8Generic(y []uint8, x, sub, mul []float32, zero uint8) {
	c := len(sub)
	for i, k := 0, 0; i < len(x); i++ {
		y[i] = clamp8(rne((x[i]-sub[k])*mul[k]) + float32(zero))
		if k++; k == c {
			k = 0
		}
	}
}

func add8Generic(y, a, b []uint8, f Affine8) {
	for i, v := range a {
		y[i] = f.apply(v, b[i])
	}
}

func gate8Generic(y, x, gate []uint8, rows int, xZero, gateZero uint8, scale float32, zero uint8) {
	c := len(gate)
	for r := range rows {
		for ch, g := range gate {
			p := (int32(x[r*c+ch]) - int32(xZero)) * (int32(g) - int32(gateZero))
			y[r*c+ch] = clamp8(rne(float32(p)*scale) + float32(zero))
		}
	}
}

func meanPool8Generic(y, x []uint8, pixels, c int, xZero uint8, scale float32, zero uint8) {
	for ch := range c {
		s := -int32(pixels) * int32(xZero)
		for p := range pixels {
			s += int32(x[p*c+ch])
		}
		y[ch] = clamp8(rne(float32(s)*scale) + float32(zero))
	}
}

func maxPool8Generic(g *Gather, y, x []uint8, c, lo int) {
	taps := len(g.Taps)
	for i := lo * c; i < len(y); i++ {
		var best uint8
		for _, p := range g.In[i/c*taps:][:taps] {
			if p >= 0 {
				best = max(best, x[int(p)*c+i%c])
			}
		}
		y[i] = best
	}
}

func avgPool8Generic(g *Gather, y, x []uint8, c, lo int) {
	taps := len(g.Taps)
	for i := lo * c; i < len(y); i++ {
		var sum, n int32
		for _, p := range g.In[i/c*taps:][:taps] {
			if p >= 0 {
				sum += int32(x[int(p)*c+i%c])
				n++
			}
		}
		y[i] = clamp8(rne(float32(sum) / float32(n)))
	}
}
