package supernet

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"weft/kernel"
)

// tuneRounds is how often each way is timed; the shortest counts. tuneBatch is the batch
// that stands for all but single images.
const (
	tuneRounds = 5
	tuneBatch  = 8
)

// worthIt is by how much Winograd's algorithm must be faster to be chosen.
const worthIt = 0.97

// Tune measures the layers of the largest subnet, directly and by Winograd's algorithm with
// either size of tiles, within a run of the whole network and thus with caches as they will
// be, for one image and for several. It chooses what saves most time per byte of
// transformed weights, up to so many bytes. While it measures, up to twice as many are held.
func (s *Supernet) Tune(pool *kernel.Pool, bytes int, now func() time.Time) (Tuning, error) {
	rng := rand.New(rand.NewPCG(1, 1))
	images := make([]float32, tuneBatch*s.Space.Input.Size())
	for i := range images {
		images[i] = rng.Float32()
	}
	var times [2]map[way]time.Duration // one image, and tuneBatch of them
	for i, n := range []int{1, tuneBatch} {
		times[i] = map[way]time.Duration{}
		for _, m := range []int{0, 2, 4} {
			if err := s.timeWays(times[i], m, pool, bytes, images, n, now); err != nil {
				return Tuning{}, err
			}
		}
	}
	return s.choose(times, bytes), nil
}

// way is a layer and how it is computed: by tiles of m by m, or directly for m = 0.
type way struct {
	layer string
	m     int
}

// timeWays measures all layers that can be computed in a way and fit twice the budget.
func (s *Supernet) timeWays(times map[way]time.Duration, m int, pool *kernel.Pool, bytes int, images []float32, n int, now func() time.Time) error {
	var tuning Tuning
	left := 2 * bytes
	if m > 0 {
		for layer := range s.squares() {
			l := &s.W.Layers[layer]
			if u := 4 * kernel.WinogradLen(m, l.Out, l.In); u <= min(left, bytes) {
				left -= u
				tuning.Layers = append(tuning.Layers, LayerTuning{l.Name, m, 1})
			}
		}
	}
	a := s.Space.Max()
	p, err := NewTableWith(s, s.neutral(a), Options{Tuning: tuning}).Plan(a)
	if err != nil {
		return err
	}
	for _, l := range NewWorker(pool).Layers(p, images, n, tuneRounds, now) {
		if (l.Kernel != "direct") == (m > 0) {
			times[way{l.Name, m}] = max(l.Time, 1)
		}
	}
	return nil
}

// neutral returns statistics for a subnet with which normalisation changes nothing.
func (s *Supernet) neutral(a Arch) Norms {
	norms := Norms{}
	g := s.Space.lower(a)
	for i, k := range g.NormKeys() {
		if k == 0 {
			continue
		}
		st := Stats{Mean: make([]float32, g.Values[g.Ops[i].Out].C), Var: make([]float32, g.Values[g.Ops[i].Out].C)}
		for c := range st.Var {
			st.Var[c] = 1
		}
		norms[k] = st
	}
	return norms
}

// choose spends the bytes on what saves most: tiles for a layer, or larger tiles instead of
// smaller ones.
func (s *Supernet) choose(times [2]map[way]time.Duration, bytes int) Tuning {
	type option struct {
		layer, m, bytes int
		saved           float64 // ns an image
	}
	saved := func(name string, m int) float64 {
		ns := 0.0
		for i, images := range []float64{1, tuneBatch} {
			if with, ok := times[i][way{name, m}]; ok {
				ns += max(0, float64(times[i][way{name, 0}]-with)) / images
			}
		}
		return ns
	}
	squares := s.squares()
	size := map[int]int{}
	for {
		var options []option
		for layer := range squares {
			l := &s.W.Layers[layer]
			for _, m := range []int{2, 4} {
				o := option{layer, m, 4 * kernel.WinogradLen(m, l.Out, l.In), saved(l.Name, m)}
				if had := size[layer]; had != 0 {
					o.bytes -= 4 * kernel.WinogradLen(had, l.Out, l.In)
					o.saved -= saved(l.Name, had)
				}
				if o.bytes > 0 && o.bytes <= bytes && o.saved > 0 {
					options = append(options, o)
				}
			}
		}
		if len(options) == 0 {
			break
		}
		best := slices.MaxFunc(options, func(a, b option) int {
			return cmp.Or(cmp.Compare(a.saved/float64(a.bytes), b.saved/float64(b.bytes)), cmp.Compare(b.layer, a.layer))
		})
		bytes -= best.bytes
		size[best.layer] = best.m
	}
	var t Tuning
	for layer := range s.W.Layers {
		m := size[layer]
		if m == 0 {
			continue
		}
		name := s.W.Layers[layer].Name
		faster := func(i int) bool {
			return float64(times[i][way{name, m}]) < worthIt*float64(times[i][way{name, 0}])
		}
		switch {
		case faster(0):
			t.Layers = append(t.Layers, LayerTuning{name, m, 1})
		case faster(1):
			t.Layers = append(t.Layers, LayerTuning{name, m, max(2, fewest(squares[layer].out, m))})
		}
	}
	return t
}

// Check reports the first choice that cannot be.
func (t *Tuning) Check() error {
	for _, l := range t.Layers {
		if l.M != 2 && l.M != 4 || l.Images < 1 {
			return fmt.Errorf("layer %s has tiles of %d from %d images on: must be 2 or 4, and 1 or more", l.Layer, l.M, l.Images)
		}
	}
	return nil
}
