package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// newWinograd returns a Winograd on normally distributed values and its packed weights.
func newWinograd(m, stride, images, h, wd, cin, cout, inMax, outMax int) (*Winograd, []float32) {
	rng := rand.New(rand.NewPCG(1, uint64(cin)))
	normal := func(n int) []float32 {
		s := make([]float32, n)
		for i := range s {
			s[i] = float32(rng.NormFloat64())
		}
		return s
	}
	w := &Winograd{
		M: m, Stride: stride, H: h, W: wd, X: normal(images * h * wd * cin),
		U: make([]float32, WinogradLen(m, outMax, inMax)), Cin: cin, Cout: cout, XPitch: cin, YPitch: cout, InMax: inMax,
	}
	w.Y = make([]float32, images*w.outH()*w.outW()*cout)
	packed := normal(PackedLen(outMax, 9, inMax))
	WinogradPack(w.U, packed, m, stride, outMax, inMax)
	return w, packed
}

func (w *Winograd) run(images int) {
	w.Run(0, w.Tiles(images), make([]float32, w.Scratch()))
}

// direct returns the exact convolution of one image at a pixel and channel.
func (w *Winograd) direct(packed []float32, row, col, co int) float64 {
	var sum float64
	for t, tap := range Raster(3) {
		r, c := row*w.Stride+tap.DY, col*w.Stride+tap.DX
		if r < 0 || r >= w.H || c < 0 || c >= w.W {
			continue
		}
		for ci, x := range w.X[(r*w.W+c)*w.XPitch:][:w.Cin] {
			sum += float64(x) * float64(packed[PackedIndex(9, w.InMax, co, t, ci)])
		}
	}
	return sum
}

// TestWinogradError holds the errors that the doc comment of Winograd states.
func TestWinogradError(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		for _, c := range []struct {
			m, stride int
			bound     float64
		}{{2, 1, 2e-6}, {2, 2, 2e-6}, {4, 1, 4e-6}} {
			for _, ch := range []int{8, 16, 64, 128, 512} {
				w, packed := newWinograd(c.m, c.stride, 1, 9, 8, ch, 16, ch, 16)
				w.run(1)
				var worst, largest float64
				for i, got := range w.Y {
					want := w.direct(packed, i/16/w.outW(), i/16%w.outW(), i%16)
					worst, largest = max(worst, math.Abs(float64(got)-want)), max(largest, math.Abs(want))
				}
				t.Logf("F(%d,3) stride %d, %d channels: %.1e", c.m, c.stride, ch, worst/largest)
				if !(worst <= c.bound*largest) {
					t.Errorf("F(%d,3) stride %d, %d channels: error %.2e of the largest output, want at most %.1e", c.m, c.stride, ch, worst/largest, c.bound)
				}
			}
		}
	})
}

var winogradForms = []struct{ m, stride int }{{2, 1}, {2, 2}, {4, 1}}

// TestWinogradSlice: a slice of the maximum weights gives the same bits as that slice
// transformed alone.
func TestWinogradSlice(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		for _, f := range winogradForms {
			const cin, cout, inMax, outMax = 24, 40, 64, 56
			w, packed := newWinograd(f.m, f.stride, 2, 7, 6, cin, cout, inMax, outMax)
			w.run(2)
			alone := make([]float32, PackedLen(cout, 9, cin))
			for co := range cout {
				for tap := range 9 {
					for ci := range cin {
						alone[PackedIndex(9, cin, co, tap, ci)] = packed[PackedIndex(9, inMax, co, tap, ci)]
					}
				}
			}
			want := *w
			want.InMax, want.Y = cin, make([]float32, len(w.Y))
			want.U = make([]float32, WinogradLen(f.m, cout, cin))
			WinogradPack(want.U, alone, f.m, f.stride, cout, cin)
			want.run(2)
			sameBits(t, fmt.Sprint(f), w.Y, want.Y)
		}
	})
}

// TestWinogradSplit: how tiles are split into ranges does not change a bit.
func TestWinogradSplit(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(3, 4))
		for _, f := range winogradForms {
			w, _ := newWinograd(f.m, f.stride, 3, 15, 14, 40, 56, 40, 56)
			w.Act = HSwish
			w.run(3)
			want := w.Y
			scratch := make([]float32, w.Scratch())
			for range 8 {
				for i := range scratch {
					scratch[i] = float32(math.NaN())
				}
				w.Y = make([]float32, len(want))
				for lo, n := 0, w.Tiles(3); lo < n; {
					hi := min(n, lo+1+rng.IntN(40))
					w.Run(lo, hi, scratch)
					lo = hi
				}
				sameBits(t, fmt.Sprint(f), w.Y, want)
			}
		}
	})
}

// TestWinogradPoison: an input that is not finite reaches the tiles that read it and no
// others.
func TestWinogradPoison(t *testing.T) {
	eachTier(t, func(t *testing.T) {
		w, _ := newWinograd(4, 1, 1, 12, 12, 8, 8, 8, 8)
		w.X[(2*12+2)*8+5] = float32(math.Inf(1))
		w.run(1)
		for p := range 12 * 12 {
			poisoned := p/12 < 4 && p%12 < 4
			for _, y := range w.Y[p*8 : p*8+8] {
				if finite := !math.IsInf(float64(y), 0) && !math.IsNaN(float64(y)); finite == poisoned {
					t.Fatalf("pixel %d,%d: %v", p/12, p%12, y)
				}
			}
		}
	})
}

func TestWinogradAllocates(t *testing.T) {
	w, _ := newWinograd(4, 1, 2, 14, 14, 24, 24, 24, 24)
	scratch := make([]float32, w.Scratch())
	if n := testing.AllocsPerRun(10, func() { w.Run(0, w.Tiles(2), scratch) }); n != 0 {
		t.Errorf("Run allocates %v times", n)
	}
}

func TestWinogradShapesAreChecked(t *testing.T) {
	for name, change := range map[string]func(*Winograd){
		"M":      func(w *Winograd) { w.M = 3 },
		"Stride": func(w *Winograd) { w.Stride = 2 },
		"X":      func(w *Winograd) { w.X = w.X[1:] },
		"Y":      func(w *Winograd) { w.Y = w.Y[1:] },
		"U":      func(w *Winograd) { w.U = w.U[1:] },
		"Res":    func(w *Winograd) { w.Res = w.Y[1:] },
		"Scale":  func(w *Winograd) { w.Scale = w.Y[:15] },
		"Cin":    func(w *Winograd) { w.Cin = 4 },
		"InMax":  func(w *Winograd) { w.InMax = 8 },
		"Cout":   func(w *Winograd) { w.Cout = 12 },
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := newWinograd(4, 1, 1, 5, 5, 16, 16, 16, 16)
			scratch := make([]float32, w.Scratch())
			change(w)
			defer func() {
				if _, ok := recover().(ShapeError); !ok {
					t.Error("no ShapeError")
				}
			}()
			w.Run(0, w.Tiles(1), scratch)
		})
	}
}

// eachTier runs a test on every tier of the processor.
func eachTier(t *testing.T, test func(t *testing.T)) {
	for _, tier := range Tiers() {
		t.Run(tier, func(t *testing.T) {
			defer UseTier(tier)()
			test(t)
		})
	}
}

// sameBits fails unless got is want to the last bit.
func sameBits(t *testing.T, name string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: output %d is %v, want %v", name, i, got[i], want[i])
		}
	}
}
