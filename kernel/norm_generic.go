package kernel

func momentsGeneric(x []float32, rows, c int, pivot, sum, sumsq []float32) {
	for r := range rows {
		for ch, v := range x[r*c : r*c+c] {
			v -= pivot[ch]
			sum[ch] += v
			sumsq[ch] += v * v
		}
	}
}

func scaleShiftGeneric(y, x, res []float32, rows, c int, scale, shift []float32, act Act) {
	for i := range rows * c {
		v := x[i]*scale[i%c] + shift[i%c]
		if res != nil {
			v += res[i]
		}
		y[i] = act.apply(v)
	}
}

func normGradGeneric(dy, y, x []float32, rows, c int, scale, shift, mean []float32, act Act, sumDZ, sumDZX []float32) {
	for i := range rows * c {
		ch := i % c
		var z float32
		switch act {
		case ReLU:
			z = y[i]
		case HSwish, HSigmoid:
			z = x[i]*scale[ch] + shift[ch]
		}
		dz := dy[i] * act.grad(z)
		dy[i] = dz
		sumDZ[ch] += dz
		sumDZX[ch] += dz * (x[i] - mean[ch])
	}
}

func affine2Generic(out, u, v []float32, rows, c int, a, b, d []float32) {
	for i := range rows * c {
		ch := i % c
		out[i] = a[ch]*u[i] + b[ch]*v[i] + d[ch]
	}
}

func channelSumGeneric(x, y []float32, rows, c int, sum, dot []float32) {
	for i := range rows * c {
		sum[i%c] += x[i]
		if dot != nil {
			dot[i%c] += x[i] * y[i]
		}
	}
}

func addGeneric(dst, src []float32) {
	for i, v := range src {
		dst[i] += v
	}
}

func maxPoolGeneric(g *Gather, x, y []float32, arg []int32, c int) {
	t := len(g.Taps)
	for o := range g.OutPix {
		for ch := range c {
			best, at := float32(0), int32(-1)
			for _, p := range g.In[o*t : o*t+t] {
				if p < 0 {
					continue
				}
				if v := x[int(p)*c+ch]; at < 0 || v > best {
					best, at = v, p
				}
			}
			y[o*c+ch] = best
			if arg != nil {
				arg[o*c+ch] = at
			}
		}
	}
}

func avgPoolGeneric(g *Gather, x, y []float32, c int) {
	t := len(g.Taps)
	for o := range g.OutPix {
		out := y[o*c : o*c+c]
		clear(out)
		n := 0
		for _, p := range g.In[o*t : o*t+t] {
			if p < 0 {
				continue
			}
			n++
			for ch, v := range x[int(p)*c:][:c] {
				out[ch] += v
			}
		}
		for ch := range out {
			out[ch] *= 1 / float32(n)
		}
	}
}

func sgdGeneric(w, g, v []float32, lr, momentum, decay float32) {
	for i := range w {
		d := g[i] + decay*w[i]
		m := momentum*v[i] + d
		v[i] = m
		w[i] -= lr * (d + momentum*m)
	}
}
