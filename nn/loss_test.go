package nn

import (
	"math"
	"math/rand/v2"
	"testing"
)

// lossCase is logits and targets of a few rows with padding.
func lossCase(seed uint64, spread float64) (r Rows, z, q []float32) {
	rng := rand.New(rand.NewPCG(seed, 1))
	r = Rows{N: 5, Classes: 7, Pitch: 8}
	z, q = make([]float32, r.N*r.Pitch), make([]float32, r.N*r.Pitch)
	for i := range z {
		z[i] = float32(spread * rng.NormFloat64())
		q[i] = float32(spread * rng.NormFloat64())
	}
	r.Softmax(q, q, 1)
	return r, z, q
}

// checkGradient compares a loss's gradient at z with central differences of want.
func checkGradient(t *testing.T, r Rows, z, d []float32, want func(z []float64) float64) {
	t.Helper()
	x := make([]float64, len(z))
	for i, v := range z {
		x[i] = float64(v)
	}
	const h = 1e-5
	for i := range r.N {
		for j := range r.Pitch {
			k := i*r.Pitch + j
			if j >= r.Classes {
				if d[k] != 0 {
					t.Fatalf("padding %d of row %d has gradient %v", j, i, d[k])
				}
				continue
			}
			at := x[k]
			x[k] = at + h
			up := want(x)
			x[k] = at - h
			down := want(x)
			x[k] = at
			if got, want := float64(d[k]), (up-down)/(2*h); math.Abs(got-want) > 1e-6+1e-4*math.Abs(want) {
				t.Fatalf("row %d, class %d: gradient %.7f, differences give %.7f", i, j, got, want)
			}
		}
	}
}

// logSoftmax in float64, the plain way.
func logSoftmax(z []float64, temperature float64) []float64 {
	sum := 0.0
	for _, v := range z {
		sum += math.Exp(v / temperature)
	}
	out := make([]float64, len(z))
	for j, v := range z {
		out[j] = v/temperature - math.Log(sum)
	}
	return out
}

// perRow averages f over rows.
func perRow(r Rows, z []float64, q []float32, f func(lq []float64, q []float32) float64, temperature float64) float64 {
	sum := 0.0
	for i := range r.N {
		sum += f(logSoftmax(z[i*r.Pitch:][:r.Classes], temperature), q[i*r.Pitch:][:r.Classes])
	}
	return sum / float64(r.N)
}

func crossEntropy(lq []float64, q []float32) float64 {
	sum := 0.0
	for j := range lq {
		sum -= float64(q[j]) * lq[j]
	}
	return sum
}

func TestCrossEntropyGradient(t *testing.T) {
	for _, temperature := range []float64{1, 4} {
		for _, mass := range []float32{1, 2.5} {
			r, z, q := lossCase(3, 2)
			for i := range q {
				q[i] *= mass
			}
			want := func(z []float64) float64 {
				return 0.7 * temperature * temperature * perRow(r, z, q, crossEntropy, temperature)
			}
			d := make([]float32, len(z))
			d[7] = 9 // padding that was used before
			loss := r.CrossEntropy(d, z, q, temperature, 0.7)
			checkGradient(t, r, z, d, want)
			if w := want(widen(z)) / 0.7; math.Abs(loss-w) > 1e-5*w {
				t.Errorf("loss %v, want %v", loss, w)
			}
		}
	}
}

func widen(z []float32) []float64 {
	x := make([]float64, len(z))
	for i, v := range z {
		x[i] = float64(v)
	}
	return x
}

// TestAddLabels: a smoothed label is a distribution with the published values, and weights
// add up.
func TestAddLabels(t *testing.T) {
	r := Rows{N: 2, Classes: 4, Pitch: 8}
	q := make([]float32, 16)
	r.AddLabels(q, []int32{2, 0}, 0.2, 0.75)
	r.AddLabels(q, []int32{1, 0}, 0.2, 0.25)
	want := []float64{0.05, 0.05 + 0.25*0.8, 0.05 + 0.75*0.8, 0.05, 0, 0, 0, 0, 0.85, 0.05, 0.05, 0.05, 0, 0, 0, 0}
	for i := range want {
		if math.Abs(float64(q[i])-want[i]) > 1e-6 {
			t.Fatalf("entry %d is %v, want %v", i, q[i], want[i])
		}
	}
}

// alphaPlain is D_α(p‖q) as it is written.
func alphaPlain(alpha float64) func(lq []float64, p []float32) float64 {
	return func(lq []float64, p []float32) float64 {
		sum := 0.0
		for j := range lq {
			q := math.Exp(lq[j])
			if alpha == 1 {
				sum += float64(p[j]) * math.Log(float64(p[j])/q)
				continue
			}
			sum += q * (math.Pow(float64(p[j])/q, alpha) - 1) / (alpha * (alpha - 1))
		}
		return sum
	}
}

// TestDivergenceGradient: without clipping the gradient is that of the larger divergence.
func TestDivergenceGradient(t *testing.T) {
	for _, a := range []Alpha{{-1, 1, 1e30}, {-0.5, 1, 1e30}, {-1, 0.5, 1e30}, {1, 1, 1e30}, {-1, -1, 1e30}, {2, 2, 1e30}} {
		r, z, p := lossCase(5, 1)
		both := func(lq []float64, p []float32) float64 {
			return max(alphaPlain(a.Min)(lq, p), alphaPlain(a.Max)(lq, p))
		}
		want := func(z []float64) float64 { return 0.3 * perRow(r, z, p, both, 1) }
		d := make([]float32, len(z))
		loss := r.Divergence(d, z, p, a, 0.3)
		checkGradient(t, r, z, d, want)
		if w := want(widen(z)) / 0.3; math.Abs(loss-w) > 1e-5*math.Abs(w) {
			t.Errorf("%+v: loss %v, want %v", a, loss, w)
		}
	}
}

// TestDivergenceClips: where ratios are clipped, the gradient is that of −Σ q·ρ·log q with
// q·ρ held fixed and ρ = min((p/q)^α, clip)/α + 1/(α(α−1)), as the published code has it.
func TestDivergenceClips(t *testing.T) {
	r, z, p := lossCase(7, 3)
	a := Alpha{Min: -1, Max: -1, Clip: 5}
	clipped := 0
	fixed := make([]float64, len(z)) // q·ρ
	for i := range r.N {
		for j, lq := range logSoftmax(widen(z[i*r.Pitch:][:r.Classes]), 1) {
			q := math.Exp(lq)
			iw := q / float64(p[i*r.Pitch+j])
			if iw > 5 {
				clipped++
				iw = 5
			}
			fixed[i*r.Pitch+j] = q * (-iw + 0.5)
		}
	}
	if clipped < 3 {
		t.Fatalf("%d ratios are clipped, too few for a test", clipped)
	}
	want := func(z []float64) float64 {
		sum := 0.0
		for i := range r.N {
			for j, lq := range logSoftmax(z[i*r.Pitch:][:r.Classes], 1) {
				sum -= fixed[i*r.Pitch+j] * lq
			}
		}
		return sum / float64(r.N)
	}
	d := make([]float32, len(z))
	r.Divergence(d, z, p, a, 1)
	checkGradient(t, r, z, d, want)
}

// TestLossesAtExtremes: certain teachers and far-off logits give finite losses and
// gradients.
func TestLossesAtExtremes(t *testing.T) {
	r := Rows{N: 2, Classes: 3, Pitch: 8}
	z := []float32{400, -400, 0, 0, 0, 0, 0, 0, -200, 200, 0, 0, 0, 0, 0, 0}
	q := []float32{0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}
	d := make([]float32, 16)
	for name, loss := range map[string]float64{
		"cross-entropy": r.CrossEntropy(d, z, q, 1, 1),
		"divergence":    r.Divergence(d, z, q, Alpha{-1, 1, 5}, 1),
	} {
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			t.Errorf("%s is %v", name, loss)
		}
		for i, v := range d {
			if v-v != 0 {
				t.Fatalf("gradient %d is %v", i, v)
			}
		}
	}
}
