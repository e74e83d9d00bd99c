package nn

import "weft/kernel"

// SGD is stochastic gradient descent with Nesterov momentum (kernel.SGD) in groups of
// parameters: weights decay, biases and the scales and shifts of normalisation do not,
// unless DecayAll is set.
type SGD struct {
	LR, Momentum, Decay float64
	// ShiftLR multiplies the rate of normalisation's shifts; 0 means 1. Fast recipes for
	// CIFAR-10 let the shifts learn at 64 times the rate (Jordan, "94% on CIFAR-10 in 3.29
	// Seconds", 2024).
	ShiftLR  float64
	DecayAll bool
}

// Step moves all weights against the gradient; velocity is the momentum. Both lie like the
// weights.
func (o SGD) Step(w *Weights, grad, velocity []float32) {
	for i := range w.Params {
		p := &w.Params[i]
		lr, decay := o.LR, o.Decay
		if !p.Decays && !o.DecayAll {
			decay = 0
		}
		if p.Role == Beta && o.ShiftLR > 0 {
			lr *= o.ShiftLR
		}
		kernel.SGD(w.Data[p.Off:][:p.Len], grad[p.Off:][:p.Len], velocity[p.Off:][:p.Len], float32(lr), float32(o.Momentum), float32(decay))
	}
}
