package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

func normals(rng *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(rng.NormFloat64())
	}
	return s
}

// TestWinogradRepack compares with WinogradPack, and reversed taps with those of reversed
// weights.
func TestWinogradRepack(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		const out, in = 40, 24
		w := normals(rand.New(rand.NewPCG(1, 1)), PackedLen(out, 9, in))
		reversed := make([]float32, len(w))
		for p := range Panels(out) {
			for tap := range 9 {
				copy(reversed[(p*9+tap)*in*Panel:][:in*Panel], w[(p*9+8-tap)*in*Panel:])
			}
		}
		for flip, src := range map[bool][]float32{false: w, true: reversed} {
			want, got := make([]float32, WinogradLen(4, out, in)), make([]float32, WinogradLen(4, out, in))
			WinogradPack(want, src, 4, 1, out, in)
			WinogradRepack(got, w, out, in, flip)
			for i := range want {
				if math.Abs(float64(got[i]-want[i])) > 2e-6 {
					t.Fatalf("flip %v: element %d is %v, want %v", flip, i, got[i], want[i])
				}
			}
		}
	})
}

// TestWinogradGrad compares with exact sums, on images whose last tiles are not full, in
// two parts, and added to what dw holds.
func TestWinogradGrad(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		for _, c := range []struct{ images, h, w, cin, cout, inMax int }{
			{5, 7, 6, 16, 24, 32}, {3, 8, 8, 40, 16, 40}, {9, 4, 4, 24, 40, 24}, {2, 1, 5, 8, 8, 8},
		} {
			rng := rand.New(rand.NewPCG(2, uint64(c.h)))
			x, dy := normals(rng, c.images*c.h*c.w*c.cin), normals(rng, c.images*c.h*c.w*c.cout)
			dw := normals(rng, PackedLen(c.cout, 9, c.inMax))
			want := make([]float64, len(dw))
			for i, v := range dw {
				want[i] = float64(v)
			}
			win := NewWindow(c.h, c.w, 3, 1, Raster(3))
			for r := range c.images * c.h * c.w {
				image, o := r/(c.h*c.w), r%(c.h*c.w)
				for tap, d := range Raster(3) {
					p := win.pixel(o/c.w+d.DY, o%c.w+d.DX, c.h, c.w)
					for ci := 0; p >= 0 && ci < c.cin; ci++ {
						for co := range c.cout {
							want[PackedIndex(9, c.inMax, co, tap, ci)] += float64(x[(image*c.h*c.w+int(p))*c.cin+ci]) * float64(dy[r*c.cout+co])
						}
					}
				}
			}
			g := &WinogradGrad{H: c.h, W: c.w, Cin: c.cin, Cout: c.cout, Images: c.images}
			g.V, g.D, g.U = make([]float32, g.VLen()), make([]float32, g.DLen()), normals(rng, g.ULen())
			first := c.images / 2
			pix := c.h * c.w
			g.Transform(x, dy, 0, first)
			g.Transform(x[first*pix*c.cin:], dy[first*pix*c.cout:], first, c.images-first)
			g.Products(0, 7)
			g.Products(7, g.Positions())
			g.Weights(dw, c.inMax, 0, Panels(c.cout))
			var worst, largest float64
			for i, v := range want {
				worst, largest = max(worst, math.Abs(float64(dw[i])-v)), max(largest, math.Abs(v))
			}
			t.Logf("%+v: %.1e", c, worst/largest)
			if !(worst <= 2e-6*largest) {
				t.Errorf("%+v: error %.1e of the largest gradient", c, worst/largest)
			}
		}
	})
}
