//go:build !purego

package kernel

// limit8 is far above any byte and far below what 32-bit integers hold.
const limit8 = 1 << 16

// pattern8 is how many values of each channel one round of quantise8 takes.
const pattern8 = 24

func quantise8AVX2(y []uint8, x, sub, mul []float32, zero uint8) {
	c, n := len(sub), 0
	if pattern8%c == 0 && len(x) >= pattern8 {
		var s, m [pattern8]float32
		for i := range s {
			s[i], m[i] = sub[i%c], mul[i%c]
		}
		n = len(x) / pattern8 * pattern8
		quantise8(&y[0], &x[0], n, &s[0], &m[0], int32(zero), limit8)
	}
	quantise8Generic(y[n:], x[n:], sub, mul, zero)
}

func add8AVX2(y, a, b []uint8, f Affine8) {
	n := len(a) &^ 7
	if n > 0 {
		add8(&y[0], &a[0], &b[0], n, f.A, f.B, f.C, limit8)
	}
	add8Generic(y[n:], a[n:], b[n:], f)
}

func gate8AVX2(y, x, gate []uint8, rows int, xZero, gateZero uint8, scale float32, zero uint8) {
	const most = 256
	var g [most]float32
	c := len(gate)
	for lo := 0; lo < c; lo += most {
		n := min(most, c-lo)
		for i, v := range gate[lo : lo+n] {
			g[i] = float32(int(v) - int(gateZero))
		}
		for r := range rows {
			gate8(&y[r*c+lo], &x[r*c+lo], &g[0], n, int32(xZero), scale, int32(zero), limit8)
		}
	}
}

func meanPool8AVX2(y, x []uint8, pixels, c int, xZero uint8, scale float32, zero uint8) {
	mean8(&y[0], &x[0], pixels, c, int32(pixels)*int32(xZero), scale, int32(zero), limit8)
}

func maxPool8AVX2(g *Gather, y, x []uint8, c, lo int) {
	maxPool8(&y[lo*c], &x[0], &g.In[lo*len(g.Taps)], len(g.Taps), len(y)/c-lo, c, limit8)
}

func avgPool8AVX2(g *Gather, y, x []uint8, c, lo int) {
	avgPool8(&y[lo*c], &x[0], &g.In[lo*len(g.Taps)], len(g.Taps), len(y)/c-lo, c, limit8)
}
