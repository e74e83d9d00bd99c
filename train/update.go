package train

import (
	"math"

	"weft/nn"
)

// update moves the weights against the sum of the gradients.
func (t *Trainer) update(rate float64) {
	c := &t.Config
	grad := t.exec.Grad
	if t.cover != nil {
		share(grad, t.cover, c.Aggregate == "avg-sqrt")
	}
	if c.ClipValue > 0 {
		clipValue(grad, float32(c.ClipValue))
	}
	if c.ClipNorm > 0 {
		clipNorm(grad, c.ClipNorm)
	}
	nn.SGD{LR: rate, Momentum: c.Momentum, Decay: c.Decay, ShiftLR: c.ShiftRate, DecayAll: c.DecayAll}.Step(t.Net.W, grad, t.velocity)
	done, w := t.Step+1, t.Net.W.Data
	switch {
	case c.EMA > 0:
		keep := min(c.EMA, float64(done)/float64(done+9))
		follow(t.average, w, keep)
	case c.Lookahead > 0 && done%lookaheadEvery == 0:
		follow(t.average, w, c.lookaheadKeep(done, t.Total))
		copy(w, t.average)
	}
	if t.average != nil && done == t.Total {
		copy(w, t.average)
	}
	t.exec.Changed()
}

// share divides each coordinate by the summed weights of the subnets that own it, or by the
// square root of that (DepS' avg and avg-sqrt).
func share(grad, cover []float32, root bool) {
	for i, v := range cover {
		switch {
		case v == 0:
		case root:
			grad[i] /= float32(math.Sqrt(float64(v)))
		default:
			grad[i] /= v
		}
	}
}

// clipValue brings every coordinate into ±most.
func clipValue(grad []float32, most float32) {
	for i, v := range grad {
		grad[i] = min(max(v, -most), most)
	}
}

// clipNorm shortens the gradient to the given Euclidean norm.
func clipNorm(grad []float32, most float64) {
	var sum float64
	for _, v := range grad {
		sum += float64(v) * float64(v)
	}
	if norm := math.Sqrt(sum); norm > most {
		scale := float32(most / norm)
		for i := range grad {
			grad[i] *= scale
		}
	}
}

// follow moves an average towards the weights: keep·average + (1 − keep)·weights.
//
// A moving average of the weights keeps the configured part, or t/(t+9) at step t if that is
// less, so that it forgets the first weights; it takes their place at the end of the run.
func follow(average, weights []float32, keep float64) {
	k := float32(keep)
	for i, w := range weights {
		average[i] = w + k*(average[i]-w)
	}
}

// lookaheadEvery is how many steps the weights run ahead of the slow ones.
const lookaheadEvery = 5

// lookaheadKeep is the part that the slow weights keep: the configured one for each of the
// steps ahead, times (t/T)³, so that weights move fast at first and are averaged strongly at
// the end (Jordan, "94% on CIFAR-10 in 3.29 Seconds", 2024).
func (c *Config) lookaheadKeep(t, total int) float64 {
	return math.Pow(c.Lookahead, lookaheadEvery) * math.Pow(float64(t)/float64(total), 3)
}

// averaged runs f with the averaged weights in place of the run's own, if there are any that
// differ from them at this step.
func (t *Trainer) averaged(f func() error) error {
	if t.Config.EMA == 0 {
		return f()
	}
	swap(t.Net.W.Data, t.average)
	t.exec.Changed()
	defer func() {
		swap(t.Net.W.Data, t.average)
		t.exec.Changed()
	}()
	return f()
}

func swap(a, b []float32) {
	for i := range a {
		a[i], b[i] = b[i], a[i]
	}
}
