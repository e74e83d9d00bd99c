package nn

import (
	"weft/kernel"
	"weft/tensor"
)

// A convolution of the images has few inputs a tap, too few for the kernels. Its taps side
// by side are the inputs of a 1x1 convolution with the same packed weights.

// byColumns reports whether an operation is computed so.
func (e *Exec) byColumns(op *Op) bool {
	l, c := &e.W.Layers[op.Layer], e.g.Values[op.In].C
	return op.In == 0 && op.Kind == Conv && op.K > 1 && op.K == l.K && c == l.In && c <= 4
}

// columns writes, for every output pixel of n images x, the inputs behind all taps one
// after the other. x: [n][H][W][C], y: [n][OH·OW][K·K·C].
func columns(y, x []float32, n int, in, out tensor.Shape, k, stride int) {
	p, c := (k-1)/2, in.C
	line, pixel := k*c, k*k*c
	for i := range n * out.H {
		image := x[i/out.H*in.Size():][:in.Size()]
		for ky := range k {
			row := i%out.H*stride + ky - p
			dst := y[i*out.W*pixel+ky*line:]
			for ox := range out.W {
				d := dst[ox*pixel:][:line]
				left := ox*stride - p
				switch {
				case row < 0 || row >= in.H:
					clear(d)
				case left < 0 || left+k > in.W:
					clear(d)
					from, to := max(left, 0), min(left+k, in.W)
					copy(d[(from-left)*c:], image[(row*in.W+from)*c:(row*in.W+to)*c])
				default:
					copyLine(d, image[(row*in.W+left)*c:][:line])
				}
			}
		}
	}
}

// copyLine is copy, fast for 3x3 taps of one or three channels.
func copyLine(d, s []float32) {
	switch len(s) {
	case 3:
		*(*[3]float32)(d) = [3]float32(s)
	case 9:
		*(*[9]float32)(d) = [9]float32(s)
	default:
		copy(d, s)
	}
}

// convolveColumns is convolve for the images.
func (e *Exec) convolveColumns(op *Op, y []float32, g group) {
	out, l := e.g.Values[op.Out], &e.W.Layers[op.Layer]
	n := l.Taps() * l.In
	c := kernel.Conv{
		G: kernel.IdentityGather(1), X: e.readColumns(op, g), W: e.W.Of(e.W.Data, op.Layer, Weight), Y: y,
		Cin: n, Cout: out.C, XPitch: n, YPitch: out.C, Taps: 1, InMax: n,
	}
	c.Rows(0, (g.hi-g.lo)*out.Pixels())
}

// readColumns returns the inputs behind all taps for the images of a group.
func (e *Exec) readColumns(op *Op, g group) []float32 {
	in, out := e.g.Values[op.In], e.g.Values[op.Out]
	y := g.Take((g.hi - g.lo) * out.Pixels() * op.K * op.K * in.C)
	columns(y, e.read(op.In, g), g.hi-g.lo, in, out, op.K, op.Stride)
	return y
}
