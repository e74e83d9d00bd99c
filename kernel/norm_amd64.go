//go:build !purego

package kernel

// columnVecs is how many vectors of eight channels one call of assembly handles.
const columnVecs = 4

// blocks calls f for blocks of n rows by vecs·8 channels, beginning at element at and
// channel ch. Where rows are wider than a block, blocks are low enough for their rows of
// several arrays to stay in the cache until the next block of channels reads them.
func blocks(rows, c int, f func(at, ch, n, vecs int)) {
	size := (1 << 16) / c
	if c > 8*columnVecs {
		size = max(1, (1<<11)/c)
	}
	for r := 0; r < rows; r += size {
		for ch := 0; ch < c; ch += 8 * columnVecs {
			f(r*c+ch, ch, min(size, rows-r), min(columnVecs, (c-ch)/8))
		}
	}
}

func momentsAVX2(x []float32, rows, c int, pivot, sum, sumsq []float32) {
	blocks(rows, c, func(at, ch, n, vecs int) {
		moments(&x[at], n, vecs, 4*c, &pivot[ch], &sum[ch], &sumsq[ch])
	})
}

func scaleShiftAVX2(y, x, res []float32, rows, c int, scale, shift []float32, act Act) {
	blocks(rows, c, func(at, ch, n, vecs int) {
		scaleShift(&y[at], &x[at], first(res, at), n, vecs, 4*c, &scale[ch], &shift[ch], int(act))
	})
}

func normGradAVX2(dy, y, x []float32, rows, c int, scale, shift, mean []float32, act Act, sumDZ, sumDZX []float32) {
	hard := act == HSwish || act == HSigmoid
	blocks(rows, c, func(at, ch, n, vecs int) {
		py, ps, pt := &x[at], &mean[ch], &mean[ch] // not read
		if hard {
			ps, pt = &scale[ch], &shift[ch]
		} else if act == ReLU {
			py = &y[at]
		}
		normGrad(&dy[at], py, &x[at], n, vecs, 4*c, ps, pt, &mean[ch], int(act), &sumDZ[ch], &sumDZX[ch])
	})
}

func affine2AVX2(out, u, v []float32, rows, c int, a, b, d []float32) {
	blocks(rows, c, func(at, ch, n, vecs int) {
		affine2(&out[at], &u[at], &v[at], n, vecs, 4*c, &a[ch], &b[ch], &d[ch])
	})
}

func channelSumAVX2(x, y []float32, rows, c int, sum, dot []float32) {
	blocks(rows, c, func(at, ch, n, vecs int) {
		if dot == nil {
			channelSum(&x[at], nil, n, vecs, 4*c, &sum[ch], nil)
		} else {
			channelSum(&x[at], &y[at], n, vecs, 4*c, &sum[ch], &dot[ch])
		}
	})
}

// flatLen is how many floats one call of the flat kernels takes, at most: none of them
// can be preempted.
const flatLen = 1 << 16

func addAVX2(dst, src []float32) {
	for len(src) >= 8 {
		n := min(flatLen, len(src)&^7)
		add(&dst[0], &src[0], n)
		dst, src = dst[n:], src[n:]
	}
	addGeneric(dst, src)
}

func sgdAVX2(w, g, v []float32, lr, momentum, decay float32) {
	for len(w) >= 8 {
		n := min(flatLen, len(w)&^7)
		sgd(&w[0], &g[0], &v[0], n, lr, momentum, decay)
		w, g, v = w[n:], g[n:], v[n:]
	}
	sgdGeneric(w, g, v, lr, momentum, decay)
}

func packTransposedAVX2(dst, w []float32, outMax, taps, inMax int) {
	outPad := Panels(outMax) * Panel
	for t := range taps {
		for co := 0; co < outMax; co += Panel {
			for ci := 0; ci < inMax; ci += Panel {
				from := w[PackedIndex(taps, inMax, co, t, ci):]
				to := &dst[PackedIndex(taps, outPad, ci, t, co)]
				if ci+Panel <= inMax && co+Panel <= outMax {
					transpose16(to, &from[0])
				} else {
					transposeEdge(to, from, min(Panel, inMax-ci), min(Panel, outMax-co))
				}
			}
		}
	}
}

// transposeEdge transposes a block of which only some inputs and outputs exist, and
// fills the rest with zeros.
func transposeEdge(dst *float32, w []float32, inputs, outputs int) {
	var block [Panel * Panel]float32
	for i := range inputs {
		copy(block[i*Panel:], w[i*Panel:][:outputs])
	}
	transpose16(dst, &block[0])
}
