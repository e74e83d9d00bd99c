package quant

import (
	"fmt"
	"math"

	"weft/kernel"
	"weft/tensor"
)

// Weights are the int8 weights of one layer at its maximum size, in the layout that the
// kernels read; subnets use a prefix of the channels in place.
type Weights struct {
	Data  []int8
	Scale []float32 // one an output channel
	Out   int       // maximum output channels
	In    int       // maximum input channels; 0 for depthwise layers
	Taps  int       // of the layer, in raster order; those of depthwise layers ring by ring
	// Window is k for a k×k convolution of so few input channels that the kernel takes a row
	// of the window as one tap, its k·In values filled up to a multiple of 4. Else it is 0.
	Window int
}

// KernelTaps returns the number of taps that the kernel sees.
func (w *Weights) KernelTaps() int {
	if w.Window > 0 {
		return w.Window
	}
	return w.Taps
}

// KernelIn returns how many inputs of a tap the kernel sees when in input channels are in
// use.
func (w *Weights) KernelIn(in int) int {
	if w.Window > 0 {
		return (w.Window*in + 3) &^ 3
	}
	return in
}

// index returns where the weight of (out, tap, in) stands.
func (w *Weights) index(out, tap, in int) int {
	switch {
	case w.In == 0:
		return kernel.DepthwiseIndex8(w.Taps, out, tap)
	case w.Window > 0:
		return kernel.PackedIndex8(w.Window, w.KernelIn(w.In), out, tap/w.Window, tap%w.Window*w.In+in)
	default:
		return kernel.PackedIndex8(w.Taps, w.In, out, tap, in)
	}
}

// At returns the weight of an output, tap and input channel (0 for depthwise layers).
func (w *Weights) At(out, tap, in int) int8 { return w.Data[w.index(out, tap, in)] }

// Sum adds up the weights that the kernel multiplies with in input channels (1 for
// depthwise layers) of some of its taps: what the inputs' zero point is multiplied by.
func (w *Weights) Sum(out, in int, kernelTaps []int32) int32 {
	var s int32
	for _, t := range kernelTaps {
		switch {
		case w.Window > 0: // a row of the window
			for col := range w.Window {
				for i := range in {
					s += int32(w.At(out, int(t)*w.Window+col, i))
				}
			}
		default:
			for i := range in {
				s += int32(w.At(out, int(t), i))
			}
		}
	}
	return s
}

// NewDense quantises the packed weights (kernel.PackedIndex) of a convolution or a fully
// connected layer. A number of inputs that 4 does not divide takes a square window of
// taps.
func NewDense(packed []float32, out, taps, in int) (*Weights, error) {
	w := &Weights{Out: out, In: in, Taps: taps}
	if in%4 != 0 {
		w.Window = int(math.Sqrt(float64(taps)))
		if w.Window*w.Window != taps {
			return nil, fmt.Errorf("%d inputs of %d taps cannot be quantised: inputs must be a multiple of 4", in, taps)
		}
	}
	w.Data = tensor.Make[int8](kernel.PackedLen8(out, w.KernelTaps(), w.KernelIn(in)))
	return w, w.quantise(max(in, 1), func(o, t, i int) float32 { return packed[kernel.PackedIndex(taps, in, o, t, i)] })
}

// NewDepthwise quantises weights [taps][channels].
func NewDepthwise(weights []float32, taps, channels int) (*Weights, error) {
	w := &Weights{Out: channels, Taps: taps, Data: tensor.Make[int8](kernel.DepthwiseLen8(channels, taps))}
	return w, w.quantise(1, func(o, t, _ int) float32 { return weights[t*channels+o] })
}

// quantise fills Data and Scale. It fails where a weight is not finite.
func (w *Weights) quantise(in int, at func(out, tap, in int) float32) error {
	w.Scale = make([]float32, w.Out)
	row := make([]float32, w.Taps*in)
	for o := range w.Out {
		for t := range w.Taps {
			for i := range in {
				row[t*in+i] = at(o, t, i)
			}
		}
		s := weightScale(row)
		if s-s != 0 {
			return fmt.Errorf("a weight of output channel %d is not finite, so that it cannot be quantised", o)
		}
		w.Scale[o] = s
		for k, v := range row {
			q := min(max(rne(v/s), -kernel.MaxWeight8), kernel.MaxWeight8)
			w.Data[w.index(o, k/in, k%in)] = int8(q)
		}
	}
	return nil
}

// weightScale returns the step of a channel's weights.
func weightScale(row []float32) float32 {
	var top float32
	for _, v := range row {
		top = max(top, v, -v)
	}
	return max(top/kernel.MaxWeight8, minScale)
}
