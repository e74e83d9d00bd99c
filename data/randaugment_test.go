package data

import (
	"math"
	"math/cmplx"
	"math/rand/v2"
	"slices"
	"testing"
)

// operate runs a named operation at strength v.
func operate(t *testing.T, r *randAugment, name string, src []uint8, v float64) []uint8 {
	t.Helper()
	for _, op := range operations {
		if op.name == name {
			dst := make([]uint8, len(src))
			op.run(r, dst, src, v)
			return dst
		}
	}
	t.Fatalf("there is no operation %q", name)
	return nil
}

// TestPixelOperations: values worked out by hand, or by the definition in another form.
func TestPixelOperations(t *testing.T) {
	src := []uint8{10, 60, 110, 160, 210, 60}
	r := newRandAugment(2, 3, 1, []uint8{7})
	for _, tt := range []struct {
		name string
		v    float64
		want []uint8
	}{
		{"identity", 1, src},
		{"autocontrast", 1, []uint8{0, 63, 127, 191, 255, 63}},
		{"solarize", 0, src},
		{"solarize", 0.5, []uint8{10, 60, 110, 95, 45, 60}},
		{"solarize", 1, []uint8{245, 195, 145, 95, 45, 195}},
		{"posterize", 0.5, []uint8{8, 60, 108, 160, 208, 60}},
		{"posterize", 1, []uint8{0, 48, 96, 160, 208, 48}},
		{"brightness", -1, []uint8{1, 6, 11, 16, 21, 6}},
		{"brightness", 1, []uint8{19, 114, 209, 255, 255, 114}},
		{"contrast", -1, []uint8{92, 97, 102, 107, 112, 97}}, // a tenth of the distance from the mean, 102
		{"contrast", 0, src},
		{"color", 0.7, src},   // there is none
		{"sharpness", 1, src}, // all at the edge
	} {
		if got := operate(t, &r, tt.name, src, tt.v); !slices.Equal(got, tt.want) {
			t.Errorf("%s at %v: %v, want %v", tt.name, tt.v, got, tt.want)
		}
	}
}

// TestEqualize: 16 x 16 pixels of four values in equal numbers become four values evenly spread, and
// the order of values is kept.
func TestEqualize(t *testing.T) {
	src := make([]uint8, 32*32)
	for i := range src {
		src[i] = []uint8{50, 51, 90, 200}[i%4]
	}
	r := newRandAugment(32, 32, 1, []uint8{0})
	got := operate(t, &r, "equalize", src, 0)
	// 1024 pixels, 256 of the brightest value: a step is (1024−256)/255 = 3 pixels.
	for i, p := range got {
		if want := []uint8{0, 85, 171, 255}[i%4]; p != want && p+1 != want && p != want+1 {
			t.Fatalf("value %d became %d, want about %d", src[i], p, want)
		}
	}
	flat := make([]uint8, 32*32)
	for i := range flat {
		flat[i] = 33
	}
	if got := operate(t, &r, "equalize", flat, 0); !slices.Equal(got, flat) {
		t.Error("an image of one value changed")
	}
}

// TestColorOperations: contrast and colour of a three-channel image against ITU-R 601 in plain
// arithmetic.
func TestColorOperations(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	src := make([]uint8, 5*4*3)
	for i := range src {
		src[i] = uint8(rng.IntN(256))
	}
	r := newRandAugment(5, 4, 3, []uint8{1, 2, 3})
	luma := func(i int) float64 {
		return math.Floor((299*float64(src[3*i])+587*float64(src[3*i+1])+114*float64(src[3*i+2]))/1000 + 0.5)
	}
	mean := 0.0
	for i := range 20 {
		mean += (299*float64(src[3*i]) + 587*float64(src[3*i+1]) + 114*float64(src[3*i+2])) / 1000 / 20
	}
	for _, v := range []float64{-1, -0.3, 0, 0.6, 1} {
		color, contrast := operate(t, &r, "color", src, v), operate(t, &r, "contrast", src, v)
		for i, p := range src {
			near := func(got uint8, base float64) bool {
				want := min(max(base+(1+0.9*v)*(float64(p)-base), 0), 255)
				return math.Abs(float64(got)-want) <= 1.0001
			}
			if !near(color[i], luma(i/3)) || !near(contrast[i], math.Round(mean)) {
				t.Fatalf("value %d, %d, at %v: colour %d, contrast %d", i, p, v, color[i], contrast[i])
			}
		}
	}
}

// TestSharpness: the inner pixels move away from their smoothed neighbourhood, the edge stays.
func TestSharpness(t *testing.T) {
	r := newRandAugment(3, 3, 1, []uint8{0})
	src := []uint8{100, 100, 100, 100, 152, 100, 100, 100, 100}
	// smoothed: (8·100 + 5·152)/13 = 120; 120 + 1.9·32 = 180.8, 120 + 0.1·32 = 123.2
	for v, want := range map[float64]uint8{1: 180, 0: 152, -1: 123} {
		got := operate(t, &r, "sharpness", src, v)
		if got[4] != want || got[0] != 100 || got[5] != 100 {
			t.Errorf("at %v: %v, want %d in the middle", v, got, want)
		}
	}
}

// TestGeometry: each pixel comes from where the map says, worked out with complex numbers, or is the
// mean pixel.
func TestGeometry(t *testing.T) {
	const h, w = 9, 11
	src := make([]uint8, h*w)
	for i := range src {
		src[i] = uint8(i + 1)
	}
	r := newRandAugment(h, w, 1, []uint8{255})
	for name, from := range map[string]func(z complex128, v float64) complex128{
		"rotate":      func(z complex128, v float64) complex128 { return z * cmplx.Rect(1, -v*math.Pi/6) },
		"shear x":     func(z complex128, v float64) complex128 { return z + complex(0.3*v*imag(z), 0) },
		"shear y":     func(z complex128, v float64) complex128 { return z + complex(0, 0.3*v*real(z)) },
		"translate x": func(z complex128, v float64) complex128 { return z + complex(math.Round(v*w*10/32), 0) },
		"translate y": func(z complex128, v float64) complex128 { return z + complex(0, math.Round(v*h*10/32)) },
	} {
		for _, v := range []float64{-1, -0.37, 0, 0.5, 1} {
			got := operate(t, &r, name, src, v)
			for i, p := range got {
				z := from(complex(float64(i%w)-(w-1)/2.0, float64(i/w)-(h-1)/2.0), v)
				x, y := real(z)+(w-1)/2.0, imag(z)+(h-1)/2.0
				if d := math.Abs(x - math.Floor(x) - 0.5); d < 1e-9 || math.Abs(y-math.Floor(y)-0.5) < 1e-9 {
					continue // halfway between two pixels
				}
				want := uint8(255)
				if sx, sy := int(math.Round(x)), int(math.Round(y)); sx >= 0 && sx < w && sy >= 0 && sy < h {
					want = src[sy*w+sx]
				}
				if p != want {
					t.Fatalf("%s at %v: pixel %d is %d, want %d", name, v, i, p, want)
				}
			}
		}
	}
}

// TestRandAugment: the same draws give the same image, every operation comes up, and the source is
// left alone.
func TestRandAugment(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	src := make([]uint8, 8*8*3)
	for i := range src {
		src[i] = uint8(rng.IntN(256))
	}
	before := slices.Clone(src)
	seen := map[string]bool{}
	for seed := range uint64(300) {
		a, b := newRandAugment(8, 8, 3, []uint8{9, 9, 9}), newRandAugment(8, 8, 3, []uint8{9, 9, 9})
		b.apply(src, 3, 7, rand.New(rand.NewPCG(99, 99))) // scratch space that was used before
		x := slices.Clone(a.apply(src, 2, 9, rand.New(rand.NewPCG(seed, 0))))
		if y := b.apply(src, 2, 9, rand.New(rand.NewPCG(seed, 0))); !slices.Equal(x, y) {
			t.Fatal("the same draws give two images")
		}
		one := newRandAugment(8, 8, 3, []uint8{9, 9, 9})
		seen[string(one.apply(src, 1, 9, rand.New(rand.NewPCG(seed, 0))))] = true
	}
	if !slices.Equal(src, before) {
		t.Error("the source image was changed")
	}
	if len(seen) < 20 { // 14 operations, 9 of them in two directions
		t.Errorf("%d different images come out of one operation", len(seen))
	}
}
