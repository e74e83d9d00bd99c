package nn

import "math"

// Rows says how the logits of a batch lie in memory: N rows that begin Pitch values apart
// (Graph.Pitch), of which the first Classes count. Targets and gradients lie alike.
type Rows struct{ N, Classes, Pitch int }

// row returns the classes of row i.
func (r Rows) row(x []float32, i int) []float32 { return x[i*r.Pitch:][:r.Classes] }

// gradRow returns row i of a gradient, its padding cleared.
func (r Rows) gradRow(x []float32, i int) []float32 {
	clear(x[i*r.Pitch+r.Classes : (i+1)*r.Pitch])
	return r.row(x, i)
}

// softmax writes the softmax of z/T into p and returns the log of its normaliser.
func softmax(p, z []float32, temperature float64) float64 {
	m := z[0]
	for _, v := range z[1:] {
		m = max(m, v)
	}
	var sum float64
	for j, v := range z {
		e := math.Exp(float64(v-m) / temperature)
		p[j] = float32(e)
		sum += e
	}
	for j := range p {
		p[j] = float32(float64(p[j]) / sum)
	}
	return float64(m)/temperature + math.Log(sum)
}

// Softmax writes the class probabilities of logits divided by the temperature.
func (r Rows) Softmax(probs, logits []float32, temperature float64) {
	for i := range r.N {
		softmax(r.row(probs, i), r.row(logits, i), temperature)
	}
}

// AddLabels adds weight times the smoothed label to the target of each row: the true class
// has 1 − smooth + smooth/Classes, every other smooth/Classes.
func (r Rows) AddLabels(targets []float32, labels []int32, smooth, weight float64) {
	off := smooth / float64(r.Classes)
	for i := range r.N {
		q := r.row(targets, i)
		for j := range q {
			t := off
			if int32(j) == labels[i] {
				t += 1 - smooth
			}
			q[j] += float32(weight * t)
		}
	}
}

// CrossEntropy returns the mean over rows of T²·−Σ q·log softmax(z/T), with targets q, and
// writes weight times its gradient, weight·T·(softmax(z/T)·Σq − q), to dlogits. The factor
// T² keeps gradients alike across temperatures (Hinton, Vinyals, Dean 2015). A target need
// not sum to 1: several targets may be added up, as losses would be.
func (r Rows) CrossEntropy(dlogits, logits, targets []float32, temperature, weight float64) float64 {
	var loss float64
	scale := float32(weight * temperature / float64(r.N))
	for i := range r.N {
		z, q, d := r.row(logits, i), r.row(targets, i), r.gradRow(dlogits, i)
		lse := softmax(d, z, temperature)
		var mass float32
		for j, v := range z {
			loss -= float64(q[j]) * (float64(v)/temperature - lse)
			mass += q[j]
		}
		if math.Abs(float64(mass)-1) < 1e-5 {
			mass = 1 // up to rounding
		}
		for j := range d {
			d[j] = (d[j]*mass - q[j]) * scale
		}
	}
	return loss * temperature * temperature / float64(r.N)
}

// Alpha is AlphaNet's adaptive α-divergence (Wang et al., ICML 2021): of each row the larger
// of the divergences of orders Min and Max, which are not 0, with (p/q)^α clipped at Clip.
type Alpha struct{ Min, Max, Clip float64 }

// Divergence returns the mean over rows of the larger divergence from the targets p to the
// probabilities q = softmax(z),
//
//	D_α(p‖q) = 1/(α(α−1)) · Σ q·((p/q)^α − 1),   D_1(p‖q) = Σ p·log(p/q),
//
// and writes weight times its gradient, q·(Σ q·ρ − ρ) with ρ = (p/q)^α/α, to dlogits. As in
// the published code, a ratio that is clipped counts as a constant in ρ, and order 1 is not
// clipped.
func (r Rows) Divergence(dlogits, logits, targets []float32, a Alpha, weight float64) float64 {
	var loss float64
	scale := weight / float64(r.N)
	for i := range r.N {
		z, p, d := r.row(logits, i), r.row(targets, i), r.gradRow(dlogits, i)
		lse := softmax(d, z, 1)
		order, most := a.Min, divergence(z, p, lse, a.Min, a.Clip)
		if v := divergence(z, p, lse, a.Max, a.Clip); v >= most {
			order, most = a.Max, v
		}
		loss += most
		var mean float64
		for j := range d {
			mean += weighted(z[j], p[j], lse, order, a.Clip) / order
		}
		for j := range d {
			q := math.Exp(float64(z[j]) - lse)
			d[j] = float32(scale * (q*mean - weighted(z[j], p[j], lse, order, a.Clip)/order))
		}
	}
	return loss / float64(r.N)
}

// weighted returns q·(p/q)^α, the ratio clipped; for order 1 it is p, which is not clipped and is no
// product of 0 and infinity where q rounds to 0.
func weighted(z, p float32, lse, alpha, clip float64) float64 {
	if alpha == 1 {
		return float64(p)
	}
	return math.Exp(float64(z)-lse) * ratio(z, p, lse, alpha, clip)
}

// ratio returns (p/q)^α with log q = z − lse, clipped.
func ratio(z, p float32, lse, alpha, clip float64) float64 {
	return min(math.Exp(alpha*(math.Log(float64(p))-float64(z)+lse)), clip)
}

// divergence returns D_α of one row.
func divergence(z, p []float32, lse, alpha, clip float64) float64 {
	var sum float64
	for j, v := range z {
		lq := float64(v) - lse
		switch {
		case alpha != 1:
			sum += math.Exp(lq) * (ratio(v, p[j], lse, alpha, clip) - 1) / (alpha * (alpha - 1))
		case p[j] > 0:
			sum += float64(p[j]) * (math.Log(float64(p[j])) - lq)
		}
	}
	return sum
}

// Correct counts the rows whose largest logit is that of the label; a row with NaN
// counts as wrong.
func Correct(logits []float32, labels []int32, n, classes, pitch int) int {
	right := 0
	for i := range n {
		if Argmax(logits[i*pitch:][:classes]) == int(labels[i]) {
			right++
		}
	}
	return right
}

// Argmax returns the index of the largest value, the first of equals, or -1 if any value
// is NaN.
func Argmax(z []float32) int {
	best := 0
	for j, v := range z {
		if v != v {
			return -1
		}
		if v > z[best] {
			best = j
		}
	}
	return best
}
