package data

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// testSet returns n random-looking images; image i is labelled i, so that batches tell their order.
func testSet(n, h, w, c int) *Set {
	s := &Set{H: h, W: w, C: c, Mean: make([]float32, c), Std: make([]float32, c)}
	for i := range c {
		s.Mean[i], s.Std[i] = 0.3+0.1*float32(i), 0.2+0.05*float32(i)
	}
	s.Train = Split{Images: make([]uint8, n*h*w*c), Labels: make([]int32, n)}
	for i := range s.Train.Images {
		s.Train.Images[i] = uint8(mix(1, uint64(i)))
	}
	for i := range s.Train.Labels {
		s.Train.Labels[i] = int32(i)
	}
	return s
}

// take copies the next n batches.
func take(t testing.TB, set *Set, cfg LoaderConfig, n int) []Batch {
	t.Helper()
	l, err := NewLoader(set, set.Train, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var out []Batch
	for range n {
		b, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, Batch{Epoch: b.Epoch, Step: b.Step, Images: slices.Clone(b.Images), Labels: slices.Clone(b.Labels)})
		b.Release()
	}
	return out
}

func sameBatches(t *testing.T, got, want []Batch) {
	t.Helper()
	for i := range want {
		g, w := &got[i], &want[i]
		if g.Epoch != w.Epoch || g.Step != w.Step || !slices.Equal(g.Labels, w.Labels) || !slices.Equal(g.Images, w.Images) {
			t.Fatalf("batch %d differs: epoch %d step %d, want epoch %d step %d", i, g.Epoch, g.Step, w.Epoch, w.Step)
		}
	}
}

func TestLoaderIgnoresWorkers(t *testing.T) {
	set := testSet(103, 8, 8, 3)
	cfg := LoaderConfig{Batch: 10, Augment: Augment{Pad: 2, Flip: true}, Seed: 5}
	want := take(t, set, cfg, 35)
	for _, workers := range []int{2, 5} {
		cfg.Workers = workers
		cfg.Queue = 2 * workers
		sameBatches(t, take(t, set, cfg, 35), want)
	}
	cfg.Seed = 6
	if other := take(t, set, cfg, 1); slices.Equal(other[0].Labels, want[0].Labels) {
		t.Error("another seed gives the same order")
	}
}

func TestLoaderResumes(t *testing.T) {
	set := testSet(53, 6, 6, 1)
	cfg := LoaderConfig{Batch: 10, Augment: Augment{Pad: 1, Reflect: true, Flip: true}, Seed: 9, Workers: 2}
	all := take(t, set, cfg, 25)
	for _, from := range []int{1, 4, 5, 13, 20} {
		at := cfg
		at.Epoch, at.Step = from/5, from%5
		sameBatches(t, take(t, set, at, 25-from), all[from:])
		at.Epoch, at.Step = 0, from
		sameBatches(t, take(t, set, at, 25-from), all[from:])
	}
}

func TestLoaderVisitsEachImageOnce(t *testing.T) {
	set := testSet(40, 4, 4, 1)
	batches := take(t, set, LoaderConfig{Batch: 8, Seed: 1}, 10)
	for epoch := range 2 {
		var seen []int32
		for _, b := range batches[epoch*5 : epoch*5+5] {
			if b.Epoch != epoch {
				t.Fatalf("epoch %d, want %d", b.Epoch, epoch)
			}
			seen = append(seen, b.Labels...)
		}
		if slices.IsSorted(seen) {
			t.Error("the images are not shuffled")
		}
		slices.Sort(seen)
		if !slices.Equal(seen, set.Train.Labels) {
			t.Errorf("epoch %d visits %v", epoch, seen)
		}
	}
	if slices.Equal(batches[0].Labels, batches[5].Labels) {
		t.Error("two epochs have the same order")
	}
	if b := take(t, set, LoaderConfig{Batch: 64}, 1); len(b[0].Labels) != 40 {
		t.Errorf("a split smaller than the batch gives %d images", len(b[0].Labels))
	}
}

// Sample draws no image twice, whatever the number of images, and as many as are asked for and there are.
func TestSampleDrawsNoImageTwice(t *testing.T) {
	for _, c := range []struct{ images, n, size int }{{40, 40, 8}, {45, 45, 20}, {45, 41, 20}, {45, 39, 20}, {45, 100, 64}, {7, 7, 3}, {1, 1, 5}} {
		set := testSet(c.images, 4, 4, 1)
		batches, err := Sample(set, set.Train, c.n, c.size, Augment{}, 3)
		if err != nil {
			t.Fatal(err)
		}
		seen, total := map[string]bool{}, 0
		for _, b := range batches {
			if len(b) > c.size*set.ImageSize() {
				t.Errorf("%+v: a batch of %d images", c, len(b)/set.ImageSize())
			}
			for image := range slices.Chunk(b, set.ImageSize()) {
				seen[fmt.Sprint(image)] = true
				total++
			}
		}
		if want := min(c.n, c.images); total != want || len(seen) != want {
			t.Errorf("%+v: %d images, %d of them different", c, total, len(seen))
		}
	}
}

// TestAugmenter compares with the definition, pixel by pixel.
func TestAugmenter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, w, c := rapid.IntRange(2, 9).Draw(t, "h"), rapid.IntRange(2, 9).Draw(t, "w"), rapid.IntRange(1, 4).Draw(t, "c")
		set := testSet(1, h, w, c)
		a := Augment{
			Pad:     rapid.IntRange(0, min(h, w)-1).Draw(t, "pad"),
			Reflect: rapid.Bool().Draw(t, "reflect"), Flip: rapid.Bool().Draw(t, "flip"),
		}
		g := newAugmenter(a, set, set.Normaliser(), 1)
		src := set.Train.Image(0)
		got := make([]float32, len(src))
		for i := range got {
			got[i] = float32(math.NaN())
		}
		g.image(got, src, rapid.Uint64().Draw(t, "epoch"), rapid.Uint64().Draw(t, "index"), 0)

		for dy := -a.Pad; dy <= a.Pad; dy++ {
			for dx := -a.Pad; dx <= a.Pad; dx++ {
				if slices.Equal(got, shifted(set, src, a, dy, dx, false)) || a.Flip && slices.Equal(got, shifted(set, src, a, dy, dx, true)) {
					return
				}
			}
		}
		t.Fatal("the image is none of those that the augmentation allows")
	})
}

// shifted is the definition: out[y][x] = in[y+dy][x+dx], outside it the mirror image or the mean.
func shifted(set *Set, src []uint8, a Augment, dy, dx int, flip bool) []float32 {
	out := make([]float32, len(src))
	for y := range set.H {
		for x := range set.W {
			sy, sx := y+dy, x+dx
			if flip {
				sx = set.W - 1 - x + dx
			}
			if a.Reflect {
				sy, sx = mirror(sy, set.H), mirror(sx, set.W)
			}
			if sy < 0 || sy >= set.H || sx < 0 || sx >= set.W {
				continue
			}
			for c := range set.C {
				p := float64(src[(sy*set.W+sx)*set.C+c])
				out[(y*set.W+x)*set.C+c] = float32((p/255 - float64(set.Mean[c])) / float64(set.Std[c]))
			}
		}
	}
	return out
}

func TestMirror(t *testing.T) {
	for i, want := range map[int]int{-2: 2, -1: 1, 0: 0, 4: 4, 5: 3, 6: 2} {
		if got := mirror(i, 5); got != want {
			t.Errorf("mirror(%d, 5) = %d, want %d", i, got, want)
		}
	}
}

// TestAugmenterIsFair checks that every shift and both mirrorings come equally often.
func TestAugmenterIsFair(t *testing.T) {
	set := testSet(1, 5, 5, 1)
	g := newAugmenter(Augment{Pad: 1, Flip: true}, set, set.Normaliser(), 3)
	seen := map[[25]float32]int{}
	const n = 18000
	for i := range n {
		var out [25]float32
		g.image(out[:], set.Train.Image(0), uint64(i%7), uint64(i), 0)
		seen[out]++
	}
	if len(seen) != 18 {
		t.Fatalf("%d different images, want 9 shifts times 2", len(seen))
	}
	chi2 := 0.0
	for _, k := range seen {
		chi2 += float64((k-n/18)*(k-n/18)) / (n / 18)
	}
	if chi2 > 50 { // 17 degrees of freedom: probability below 1e-4
		t.Errorf("chi square %.1f: the augmentations are not equally likely", chi2)
	}
}

func TestLoaderCloses(t *testing.T) {
	before := runtime.NumGoroutine()
	set := testSet(20, 4, 4, 1)
	l, err := NewLoader(set, set.Train, LoaderConfig{Batch: 4, Workers: 4})
	if err != nil {
		t.Fatal(err)
	}
	held, err := l.Next()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	l.Close()
	if _, err := l.Next(); !errors.Is(err, ErrClosed) {
		t.Errorf("Next after Close: %v", err)
	}
	held.Release()
	for i := 0; runtime.NumGoroutine() > before; i++ {
		if i == 100 {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(time.Millisecond)
	}
	defer func() {
		if recover() == nil {
			t.Error("a second Release did not panic")
		}
	}()
	held.Release()
}

func TestNextUnblocksOnClose(t *testing.T) {
	set := testSet(20, 4, 4, 1)
	l, err := NewLoader(set, set.Train, LoaderConfig{Batch: 4, Queue: 2})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // hold the whole queue
		if _, err := l.Next(); err != nil {
			t.Fatal(err)
		}
	}
	done := make(chan error)
	go func() { _, err := l.Next(); done <- err }()
	l.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestLoaderAllocatesNothing(t *testing.T) {
	set := testSet(64, 28, 28, 1)
	l, err := NewLoader(set, set.Train, LoaderConfig{Batch: 8, Augment: Augment{Pad: 2, Flip: true}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	allocs := testing.AllocsPerRun(200, func() {
		b, err := l.Next()
		if err != nil {
			t.Fatal(err)
		}
		b.Release()
	})
	if allocs != 0 {
		t.Errorf("%g allocations a batch", allocs)
	}
}

func TestLoaderErrors(t *testing.T) {
	set := testSet(4, 4, 4, 1)
	for want, cfg := range map[string]LoaderConfig{
		"loader: batch size 0: use 1 or more":                          {},
		"loader: padding 4: use less than the image's 4 x 4 pixels":    {Batch: 1, Augment: Augment{Pad: 4}},
		"loader: start at epoch -1, step 0: use 0 or more":             {Batch: 1, Epoch: -1},
		"loader: -2 workers and a queue of 0: use 0 (default) or more": {Batch: 1, Workers: -2},
	} {
		if _, err := NewLoader(set, set.Train, cfg); err == nil || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	if _, err := NewLoader(set, Split{}, LoaderConfig{Batch: 1}); err == nil {
		t.Error("an empty split is accepted")
	}
}

func TestNormaliser(t *testing.T) {
	for _, c := range []int{1, 2, 3} {
		set := testSet(3, 5, 7, c)
		got := make([]float32, len(set.Train.Images))
		set.Normaliser().Apply(got, set.Train.Images)
		for i, p := range set.Train.Images {
			want := (float64(p)/255 - float64(set.Mean[i%c])) / float64(set.Std[i%c])
			if math.Abs(float64(got[i])-want) > 1e-6 {
				t.Fatalf("%d channels: value %d is %g, want %g", c, i, got[i], want)
			}
		}
	}
}

func BenchmarkLoader(b *testing.B) {
	for _, bench := range []struct {
		name string
		set  *Set
		aug  Augment
	}{
		{"28x28x1/plain", testSet(4096, 28, 28, 1), Augment{}},
		{"28x28x1/pad2-flip", testSet(4096, 28, 28, 1), Augment{Pad: 2, Flip: true}},
		{"32x32x3/pad4-flip", testSet(4096, 32, 32, 3), Augment{Pad: 4, Flip: true}},
		{"32x32x3/pad4-reflect-flip", testSet(4096, 32, 32, 3), Augment{Pad: 4, Flip: true, Reflect: true}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			l, err := NewLoader(bench.set, bench.set.Train, LoaderConfig{Batch: 128, Augment: bench.aug})
			if err != nil {
				b.Fatal(err)
			}
			defer l.Close()
			b.ReportAllocs()
			for b.Loop() {
				batch, err := l.Next()
				if err != nil {
					b.Fatal(err)
				}
				batch.Release()
			}
			b.ReportMetric(128*float64(b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}
