package data

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// varied returns an image as one epoch shows it.
func varied(set *Set, a Augment, epoch, index uint64) []float32 {
	g := newAugmenter(a, set, set.Normaliser(), 1)
	out := make([]float32, set.ImageSize())
	g.image(out, set.Train.Image(0), epoch, index, 0)
	return out
}

// TestAlternateFlip: half of the images are mirrored in the first epoch, the others in the next, and so on.
func TestAlternateFlip(t *testing.T) {
	set := testSet(1, 4, 5, 3)
	plain := varied(set, Augment{}, 0, 0)
	mirrored := shifted(set, set.Train.Image(0), Augment{}, 0, 0, true)
	const n = 2000
	first := 0
	for index := range uint64(n) {
		for epoch := range uint64(4) {
			got := varied(set, Augment{Flip: true, Alternate: true}, epoch, index)
			flipped := slices.Equal(got, mirrored)
			if !flipped && !slices.Equal(got, plain) {
				t.Fatal("an image is neither as it was nor mirrored")
			}
			if epoch == 0 && flipped {
				first++
			}
			if before := slices.Equal(varied(set, Augment{Flip: true, Alternate: true}, 0, index), mirrored); flipped != (before == (epoch%2 == 0)) {
				t.Fatalf("image %d is mirrored in epochs 0: %v and %d: %v", index, before, epoch, flipped)
			}
		}
	}
	if first < n/2-200 || first > n/2+200 {
		t.Errorf("%d of %d images are mirrored in the first epoch", first, n)
	}
}

// changed returns the box around the pixels in which two images differ, and how many those are.
func changed(set *Set, a, b []float32) (around box, pixels int) {
	around = box{set.H, set.W, 0, 0}
	for y := range set.H {
		for x := range set.W {
			at := (y*set.W + x) * set.C
			if !slices.Equal(a[at:at+set.C], b[at:at+set.C]) {
				pixels++
				around = box{min(around.y0, y), min(around.x0, x), max(around.y1, y+1), max(around.x1, x+1)}
			}
		}
	}
	return around, pixels
}

func (b box) area() int { return (b.y1 - b.y0) * (b.x1 - b.x0) }

// TestCutout: what changes is a square of the given side that may be cut by the image's edges; it is
// the mean pixel, and all else stays.
func TestCutout(t *testing.T) {
	set := testSet(1, 12, 12, 3)
	for i := range set.Train.Images {
		set.Train.Images[i] = 255 // none is the mean
	}
	plain := varied(set, Augment{}, 0, 0)
	whole := 0
	for index := range uint64(500) {
		got := varied(set, Augment{Cutout: 6}, 0, index)
		b, n := changed(set, plain, got)
		if n != b.area() || b.y1-b.y0 > 6 || b.x1-b.x0 > 6 || b.y1-b.y0 < 3 || b.x1-b.x0 < 3 {
			t.Fatalf("%d pixels in %+v changed", n, b)
		}
		if n == 36 {
			whole++
		}
		for y := b.y0; y < b.y1; y++ {
			for _, v := range got[(y*12+b.x0)*3 : (y*12+b.x1)*3] {
				if v != 0 {
					t.Fatalf("a blanked value is %v", v)
				}
			}
		}
	}
	if whole < 120 || whole > 220 { // of 12 places in each direction 7 leave it whole: 170 of 500
		t.Errorf("%d of 500 squares are whole", whole)
	}
}

// TestErase: so many images as asked for get a rectangle of random pixels, 2 to 33 % of the image,
// and keep the rest.
func TestErase(t *testing.T) {
	set := testSet(1, 32, 32, 1)
	plain := varied(set, Augment{}, 0, 0)
	erased := 0
	for index := range uint64(1000) {
		b, n := changed(set, plain, varied(set, Augment{Erase: 0.3}, 0, index))
		if n == 0 {
			continue
		}
		erased++
		aspect := float64(b.y1-b.y0) / float64(b.x1-b.x0)
		if share := float64(b.area()) / 1024; share > 0.33 || share < 0.01 || aspect < 0.2 || aspect > 5 {
			t.Fatalf("%+v is erased: %.2f of the image, aspect %.2f", b, share, aspect)
		}
		if n < b.area()*9/10 {
			t.Fatalf("%d pixels of %d changed", n, b.area())
		}
	}
	if erased < 230 || erased > 370 {
		t.Errorf("%d of 1000 images are erased, want about 300", erased)
	}
}

// batches returns the first batches of a loader, mixed or not.
func mixedBatches(t *rapid.T, set *Set, a Augment, batch, n int) []*Batch {
	l, err := NewLoader(set, set.Train, LoaderConfig{Batch: batch, Augment: a, Seed: 4, Queue: n + 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var out []*Batch
	for range n {
		b, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

// TestMixing holds mixed batches against those that are not: MixUp is the weighted mean of an image
// and its partner, CutMix has a rectangle of the partner of just the share that the labels tell.
func TestMixing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, w := rapid.IntRange(2, 9).Draw(t, "h"), rapid.IntRange(2, 9).Draw(t, "w")
		batch := rapid.IntRange(2, 7).Draw(t, "batch")
		set := testSet(40, h, w, 2)
		a := Augment{MixUp: 0.4}
		if rapid.Bool().Draw(t, "cut") {
			a = Augment{CutMix: 1}
		}
		plain, mixed := mixedBatches(t, set, Augment{}, batch, 5), mixedBatches(t, set, a, batch, 5)
		size := set.ImageSize()
		for k, b := range mixed {
			p := plain[k]
			if !slices.Equal(b.Labels, p.Labels) || !(b.Share >= 0 && b.Share <= 1) {
				t.Fatalf("labels %v, share %v", b.Labels, b.Share)
			}
			for i := range batch {
				j := batch - 1 - i
				if b.Other[i] != p.Labels[j] {
					t.Fatalf("image %d is mixed with one of class %d, not %d", i, b.Other[i], p.Labels[j])
				}
				x, y, got := p.Images[i*size:][:size], p.Images[j*size:][:size], b.Images[i*size:][:size]
				if a.CutMix > 0 {
					checkCut(t, set, x, y, got, b.Share, i == j)
					continue
				}
				for q, v := range got {
					if want := b.Share*float64(x[q]) + (1-b.Share)*float64(y[q]); i != j && math.Abs(float64(v)-want) > 1e-5 {
						t.Fatalf("value %d is %v, want %v", q, v, want)
					}
				}
			}
		}
	})
}

func checkCut(t *rapid.T, set *Set, x, y, got []float32, share float64, alone bool) {
	b, n := changed(set, x, got)
	if alone {
		if n != 0 {
			t.Fatalf("an image without a partner changed")
		}
		return
	}
	_, same := changed(set, x, y)
	if want := (1 - share) * float64(set.H*set.W); same == set.H*set.W && (float64(n) < want-1e-9 || float64(n) > want+1e-9 || n != 0 && n != b.area()) {
		t.Fatalf("%d pixels in %+v changed, the labels say %v", n, b, want)
	}
	for q := range got {
		if got[q] != x[q] && got[q] != y[q] {
			t.Fatalf("value %d is of neither image", q)
		}
	}
}

// TestSharesAreBeta: MixUp's shares have the mean and variance of the Beta distribution.
func TestSharesAreBeta(t *testing.T) {
	set := testSet(4, 2, 2, 1)
	for _, alpha := range []float64{0.2, 1, 4} {
		l, err := NewLoader(set, set.Train, LoaderConfig{Batch: 2, Augment: Augment{MixUp: alpha}})
		if err != nil {
			t.Fatal(err)
		}
		var sum, squares float64
		const n = 4000
		for range n {
			b, err := l.Next()
			if err != nil {
				t.Fatal(err)
			}
			sum += b.Share
			squares += b.Share * b.Share
			b.Release()
		}
		l.Close()
		mean := sum / n
		variance, want := squares/n-mean*mean, 1/(4*(2*alpha+1))
		if math.Abs(mean-0.5) > 0.03 || math.Abs(variance-want) > 0.1*want {
			t.Errorf("α %v: mean %.3f, variance %.4f, want 0.5 and %.4f", alpha, mean, variance, want)
		}
	}
}

// TestSmallSharesAreNumbers: where the variates that a share is made of round to 0, it is 0 or 1, equally often.
func TestSmallSharesAreNumbers(t *testing.T) {
	g := newAugmenter(Augment{}, testSet(4, 2, 2, 1), testSet(4, 2, 2, 1).Normaliser(), 1)
	g.pcg.Seed(1, 2)
	const n = 2000
	sum := 0.0
	for range n {
		s := g.share(1e-4)
		if !(s >= 0 && s <= 1) {
			t.Fatalf("share %v", s)
		}
		sum += s
	}
	if math.Abs(sum/n-0.5) > 0.05 {
		t.Errorf("the mean share is %.3f", sum/n)
	}
}

// TestScaler compares with the definition: each pixel is the weighted mean of those around its centre,
// by a triangle as wide as the larger pixel. Images of one colour keep it.
func TestScaler(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, c := rapid.IntRange(2, 12).Draw(t, "n"), rapid.IntRange(1, 3).Draw(t, "c")
		to := rapid.IntRange(2, 16).Draw(t, "to")
		s := scaler{h: n, w: n, c: c}
		src := rapid.SliceOfN(rapid.Float32Range(-2, 2), n*n*c, n*n*c).Draw(t, "src")
		got, flat := make([]float32, to*to*c), make([]float32, to*to*c)
		s.scale(got, src, to)
		ones := make([]float32, len(src))
		for i := range ones {
			ones[i] = 1.5
		}
		s.scale(flat, ones, to)
		weight := func(i, j int) float64 { // of source pixel j in output pixel i
			scale := float64(n) / float64(to)
			return max(0, 1-math.Abs(float64(j)-((float64(i)+0.5)*scale-0.5))/max(scale, 1))
		}
		for y := range to {
			for x := range to {
				for ch := range c {
					var sum, total float64
					for j := range n {
						for i := range n {
							k := weight(y, j) * weight(x, i)
							sum += k * float64(src[(j*n+i)*c+ch])
							total += k
						}
					}
					at := (y*to+x)*c + ch
					if math.Abs(float64(got[at])-sum/total) > 1e-4 || math.Abs(float64(flat[at])-1.5) > 1e-5 {
						t.Fatalf("pixel %d,%d: %v, want %v; of one colour %v", y, x, got[at], sum/total, flat[at])
					}
				}
			}
		}
	})
}

// TestLoaderScales: batches have the sizes that are asked for, the same whenever asked.
func TestLoaderScales(t *testing.T) {
	set := testSet(20, 8, 8, 3)
	cfg := LoaderConfig{Batch: 5, Augment: Augment{Pad: 1}, Seed: 2, Pixels: func(epoch, step int) int { return 4 + 2*((epoch+step)%4) }}
	collect := func(cfg LoaderConfig) map[[2]int][]float32 {
		l, err := NewLoader(set, set.Train, cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		out := map[[2]int][]float32{}
		for range 12 {
			b, err := l.Next()
			if err != nil {
				t.Fatal(err)
			}
			if want := cfg.Pixels(b.Epoch, b.Step); b.H != want || b.W != want || len(b.Images) != b.N*want*want*3 {
				t.Fatalf("a batch of %dx%d pixels has %d values, want %d pixels", b.H, b.W, len(b.Images), want)
			}
			out[[2]int{b.Epoch, b.Step}] = slices.Clone(b.Images)
			b.Release()
		}
		return out
	}
	first := collect(cfg)
	cfg.Epoch, cfg.Step, cfg.Workers = 1, 2, 3
	compared := 0
	for at, images := range collect(cfg) {
		if want, ok := first[at]; ok {
			compared++
			if !slices.Equal(want, images) {
				t.Errorf("batch %v differs", at)
			}
		}
	}
	if compared != 6 {
		t.Errorf("%d batches compared", compared)
	}
}

func TestAugmentErrors(t *testing.T) {
	for want, a := range map[string]Augment{
		"images cannot be shifted by -1 pixels: use 0 or more":                                         {Pad: -1},
		"images that are not mirrored cannot be mirrored in alternate epochs: switch mirroring on too": {Alternate: true},
		"cutout of -2 pixels: use 0 or more":                                                           {Cutout: -2},
		"random erasing of 1.5: a probability is from 0 to 1":                                          {Erase: 1.5},
		"17 operations of RandAugment: use 0 to 16":                                                    {Ops: 17},
		"RandAugment of magnitude 11: use a number above 0 and up to 10":                               {Ops: 1, Magnitude: 11},
		"RandAugment of magnitude 0: use a number above 0 and up to 10":                                {Ops: 1},
		"RandAugment of magnitude 5 without operations does nothing: say how many an image":            {Magnitude: 5},
		"images that are not shifted lay nothing bare to be mirrored: shift them too":                  {Reflect: true},
		"MixUp NaN and CutMix 0: use 0 (without) to 10":                                                {MixUp: math.NaN()},
	} {
		if err := a.Validate(); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}
