package nn

import (
	"math/rand/v2"
	"slices"
	"testing"

	"weft/tensor"
)

// Against the definition, pixel by pixel and tap by tap.
func TestColumns(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, in := range []tensor.Shape{{H: 1, W: 1, C: 1}, {H: 2, W: 5, C: 3}, {H: 9, W: 4, C: 1}, {H: 7, W: 8, C: 2}, {H: 12, W: 11, C: 3}} {
		for _, k := range []int{3, 5, 7} {
			for _, stride := range []int{1, 2} {
				const n = 2
				out := tensor.Shape{H: (in.H + stride - 1) / stride, W: (in.W + stride - 1) / stride, C: k * k * in.C}
				x, got := make([]float32, n*in.Size()), make([]float32, n*out.Size())
				for i := range x {
					x[i] = rng.Float32() + 1
				}
				for i := range got {
					got[i] = -1 // as if used before
				}
				columns(got, x, n, in, out, k, stride)

				var want []float32
				for image := range n {
					for pixel := range out.Pixels() {
						for tap := range k * k {
							row := pixel/out.W*stride + tap/k - k/2
							col := pixel%out.W*stride + tap%k - k/2
							for c := range in.C {
								v := float32(0)
								if row >= 0 && row < in.H && col >= 0 && col < in.W {
									v = x[((image*in.H+row)*in.W+col)*in.C+c]
								}
								want = append(want, v)
							}
						}
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("images of %v, %dx%d taps, stride %d: not the inputs behind the taps", in, k, k, stride)
				}
			}
		}
	}
}
