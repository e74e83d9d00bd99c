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
	first := min((p+stride-1)/stride, out.W)                 // pixels before it have taps left of the image
	last := max(first, min((in.W-k+p+stride)/stride, out.W)) // pixels from it on, right of it
	for i := range n * out.H {
		for ky := range k {
			dst := y[i*out.W*pixel+ky*line:]
			row := i%out.H*stride + ky - p
			if row < 0 || row >= in.H {
				for ox := range out.W {
					clear(dst[ox*pixel:][:line])
				}
				continue
			}
			src := x[(i/out.H*in.H+row)*in.W*c:][:in.W*c]
			copyCut(dst, src, 0, first, line, pixel, stride*c, p*c)
			if first < last {
				copyLines(dst[first*pixel:], src[(first*stride-p)*c:], last-first, line, pixel, stride*c)
			}
			copyCut(dst, src, last, out.W, line, pixel, stride*c, p*c)
		}
	}
}

// copyCut copies the lines numbered from ≤ i < to, which begin at i·dStep of d and at i·sStep−pad of s; beyond s are zeros.
func copyCut(d, s []float32, from, to, line, dStep, sStep, pad int) {
	for i := from; i < to; i++ {
		d, left := d[i*dStep:][:line], i*sStep-pad
		for j := range d {
			d[j] = 0
			if k := left + j; uint(k) < uint(len(s)) {
				d[j] = s[k]
			}
		}
	}
}

// copyLines copies n lines, which begin dStep and sStep floats apart. Lines are short:
// for 3x3 taps of one or three channels calls of memmove would take most of the time.
func copyLines(d, s []float32, n, line, dStep, sStep int) {
	switch line {
	case 3:
		for i := range n {
			d, s := (*[3]float32)(d[i*dStep:]), (*[3]float32)(s[i*sStep:])
			d[0], d[1], d[2] = s[0], s[1], s[2]
		}
	case 9:
		for i := range n {
			d, s := (*[9]float32)(d[i*dStep:]), (*[9]float32)(s[i*sStep:])
			d[0], d[1], d[2], d[3], d[4] = s[0], s[1], s[2], s[3], s[4]
			d[5], d[6], d[7], d[8] = s[5], s[6], s[7], s[8]
		}
	default:
		for i := range n {
			copy(d[i*dStep:][:line], s[i*sStep:])
		}
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
