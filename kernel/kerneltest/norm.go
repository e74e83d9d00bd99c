package kerneltest

import (
	"math"

	"weft/kernel"
)

// norm is batch normalisation with an activation in float64, written down plainly:
// y = act(gamma·(x−mean)/sqrt(var+eps) + beta) over rows of c channels.
type norm struct {
	rows, c     int
	gamma, beta []float32
	act         kernel.Act
}

const normEps = 1e-5

// stats returns mean and variance of a channel.
func (n norm) stats(x []float32, ch int) (mean, variance float64) {
	for r := range n.rows {
		mean += float64(x[r*n.c+ch])
	}
	mean /= float64(n.rows)
	for r := range n.rows {
		d := float64(x[r*n.c+ch]) - mean
		variance += d * d
	}
	return mean, variance / float64(n.rows)
}

// loss is Σ r·y.
func (n norm) loss(x, r []float32) float64 {
	var sum float64
	for ch := range n.c {
		mean, variance := n.stats(x, ch)
		for i := ch; i < len(x); i += n.c {
			z := float64(n.gamma[ch])*(float64(x[i])-mean)/math.Sqrt(variance+normEps) + float64(n.beta[ch])
			sum += float64(r[i]) * activate(n.act, z)
		}
	}
	return sum
}

func activate(act kernel.Act, z float64) float64 {
	hard := min(max(z+3, 0), 6) / 6
	switch act {
	case kernel.ReLU:
		return max(z, 0)
	case kernel.HSwish:
		return z * hard
	case kernel.HSigmoid:
		return hard
	default:
		return z
	}
}

// checkNorm runs both passes of the gradient through batch normalisation (Ioffe and
// Szegedy, section 3) as a layer does: with inv = 1/sqrt(var+eps) and N rows,
// dx = gamma·inv·(dz − Σdz/N − (x−mean)·inv²·Σ dz·(x−mean)/N).
func checkNorm(a *arena, rows, c int, act kernel.Act) error {
	n := norm{rows: rows, c: c, gamma: a.param("gamma", c), beta: a.param("beta", c), act: act}
	x, r := a.param("x", rows*c), a.param("r", rows*c)
	v := func() []float32 { return make([]float32, c) }
	pivot, sum, sumsq, scale, shift, mean := v(), v(), v(), v(), v(), v()
	copy(pivot, x[:c])
	kernel.Moments(x, rows, c, pivot, sum, sumsq)
	inv := make([]float64, c)
	for ch := range c {
		m := float64(sum[ch]) / float64(rows)
		inv[ch] = 1 / math.Sqrt(float64(sumsq[ch])/float64(rows)-m*m+normEps)
		mean[ch] = pivot[ch] + float32(m)
		scale[ch] = n.gamma[ch] * float32(inv[ch])
		shift[ch] = n.beta[ch] - mean[ch]*scale[ch]
	}
	y, dz := make([]float32, rows*c), append([]float32(nil), r...)
	kernel.ScaleShift(y, x, nil, rows, c, scale, shift, act)
	sumDZ, sumDZX := v(), v()
	kernel.NormGrad(dz, y, x, rows, c, scale, shift, mean, act, sumDZ, sumDZX)
	kb, kd := v(), v()
	for ch := range c {
		b := -float64(scale[ch]) * inv[ch] * inv[ch] * float64(sumDZX[ch]) / float64(rows)
		kb[ch] = float32(b)
		kd[ch] = -scale[ch]*sumDZ[ch]/float32(rows) - float32(b)*mean[ch]
	}
	dx := make([]float32, rows*c)
	kernel.Affine2(dx, dz, x, rows, c, scale, kb, kd)
	loss := func() float64 { return n.loss(x, r) }
	// A step across a kink of the activation would spoil the difference: small steps make
	// that rare and float64 makes them exact.
	if err := a.differ("dx", x, dx, loss, 1e-3, 2e-3); err != nil {
		return err
	}
	if err := a.differ("dbeta", n.beta, sumDZ, loss, 1e-4, 2e-3); err != nil {
		return err
	}
	dgamma := v()
	for ch := range dgamma {
		dgamma[ch] = sumDZX[ch] * float32(inv[ch])
	}
	return a.differ("dgamma", n.gamma, dgamma, loss, 1e-4, 2e-3)
}
