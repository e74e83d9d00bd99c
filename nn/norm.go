package nn

import (
	"math"

	"weft/kernel"
)

// moment holds a part's sums around its first row: Σ(x−p) and Σ(x−p)².
type moment struct {
	n          int
	pivot      []float32
	sum, sumsq []float32
}

// measure takes the sums of rows of c channels; buf is its memory, 3·c values.
func (m *moment) measure(x []float32, rows, c int, buf []float32) {
	m.n, m.pivot, m.sum, m.sumsq = rows, buf[:c], buf[c:2*c], buf[2*c:]
	copy(m.pivot, x[:c])
	clear(buf[c:])
	kernel.Moments(x, rows, c, m.pivot, m.sum, m.sumsq)
}

// combine merges parts in order into the mean and biased variance of each of c channels
// (Chan, Golub and LeVeque's pairwise formula, in float64).
func combine(parts []moment, c int) (mean, variance []float64) {
	mean, variance = make([]float64, c), make([]float64, c)
	var n float64
	for i := range parts {
		p := &parts[i]
		if p.n == 0 {
			continue
		}
		k := float64(p.n)
		inv, share, between := 1/k, k/(n+k), n*k/(n+k)
		n += k
		pivot, sum, sumsq := p.pivot[:c], p.sum[:c], p.sumsq[:c]
		for ch := range mean {
			s := float64(sum[ch])
			d := float64(pivot[ch]) + s*inv - mean[ch]
			variance[ch] += float64(sumsq[ch]) - s*s*inv + d*d*between
			mean[ch] += d * share
		}
	}
	for ch := range variance {
		variance[ch] = max(variance[ch]/n, 0)
	}
	return mean, variance
}

// fold turns statistics into the scale and shift of the normalisation; a layer without
// one gets 1 and 0.
func (e *Exec) fold(layer int, parts []moment, c int, st *opState) {
	buf := e.arena.Take(5 * c)
	st.scale, st.shift, st.mean, st.invSD, st.variance = buf[:c], buf[c:2*c], buf[2*c:3*c], buf[3*c:4*c], buf[4*c:]
	if !e.W.Layers[layer].Norm {
		for ch := range c {
			st.scale[ch], st.shift[ch], st.mean[ch], st.invSD[ch], st.variance[ch] = 1, 0, 0, 1, 1
		}
		return
	}
	gamma, beta := e.W.Of(e.W.Data, layer, Gamma), e.W.Of(e.W.Data, layer, Beta)
	mean, variance := combine(parts, c)
	for ch := range c {
		st.mean[ch], st.variance[ch] = float32(mean[ch]), float32(variance[ch])
		st.invSD[ch] = float32(1 / math.Sqrt(variance[ch]+Eps))
		st.scale[ch] = gamma[ch] * st.invSD[ch]
		st.shift[ch] = beta[ch] - st.mean[ch]*st.scale[ch]
	}
}

// Stats returns the batch mean and biased variance that the last Forward measured for
// operation i, or nil when it has no normalisation.
func (e *Exec) Stats(i int) (mean, variance []float32) {
	op := &e.g.Ops[i]
	if op.Layer < 0 || !e.W.Layers[op.Layer].Norm {
		return nil, nil
	}
	return e.state[i].mean, e.state[i].variance
}

// normCoefficients accumulates dγ and dβ and returns a, b, d with dx = a·dz + b·x + d:
// batch normalisation with x̂ = (x−μ)/σ over m rows has dx = γ/σ·(dz − Σdz/m − x̂·Σ(dz·x̂)/m).
func (e *Exec) normCoefficients(layer int, st *opState, rows, c int) (a, b, d []float32) {
	buf := e.arena.Take(3 * c)
	a, b, d = buf[:c], buf[c:2*c], buf[2*c:]
	if !e.W.Layers[layer].Norm {
		for ch := range c {
			a[ch], b[ch], d[ch] = 1, 0, 0
		}
		return a, b, d
	}
	total := make([]float64, 2*c)
	for _, s := range st.sums {
		for i, v := range s {
			total[i] += float64(v)
		}
	}
	dgamma, dbeta := e.W.Of(e.Grad, layer, Gamma), e.W.Of(e.Grad, layer, Beta)
	for ch := range c {
		dz, dzx := total[ch], total[c+ch]
		inv := float64(st.invSD[ch])
		dgamma[ch] += float32(dzx * inv)
		dbeta[ch] += float32(dz)
		k := float64(st.scale[ch])
		slope := -k * dzx * inv * inv / float64(rows)
		a[ch], b[ch] = float32(k), float32(slope)
		d[ch] = float32(-k*dz/float64(rows) - slope*float64(st.mean[ch]))
	}
	return a, b, d
}
