package supernet

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"weft/kernel"
	"weft/nn"
)

// Layers are timed tuneRounds times each way, of which the shortest counts, but in networks
// that take long no more often than fits tuneTime, or twice. tuneBatch is the batch that stands for
// all but single images.
const (
	tuneRounds = 30
	tuneTime   = 150 * time.Millisecond
	tuneBatch  = 8
)

// worthIt is by how much Winograd's algorithm must be faster to be chosen.
const worthIt = 0.97

// Tune measures the layers of the largest subnet, directly and by Winograd's algorithm with
// either size of tiles, within a run of the whole network and thus with caches as they will
// be, for one image and for several. It chooses what saves most time per byte of
// transformed weights, up to so many bytes. While it measures, up to twice as many are held.
func (s *Supernet) Tune(pool *kernel.Pool, bytes int, now func() time.Time) (Tuning, error) {
	if bytes == 0 {
		return Tuning{}, nil
	}
	rng := rand.New(rand.NewPCG(1, 1))
	images := make([]float32, tuneBatch*s.Space.Input.Size())
	for i := range images {
		images[i] = rng.Float32()
	}
	var times [2]map[way]time.Duration // one image, and tuneBatch of them
	for i := range times {
		times[i] = map[way]time.Duration{}
	}
	for _, m := range []int{0, 2, 4} {
		a := s.Space.Max()
		p, err := NewTableWith(s, s.Neutral(a), Options{Tuning: s.allBy(m, bytes)}).Plan(a)
		if err != nil {
			return Tuning{}, err
		}
		w := NewWorker(pool)
		for i, n := range []int{1, tuneBatch} {
			for name, t := range w.timeLayers(p, images, n, now) {
				if (t.Kernel != "direct") == (m > 0) {
					times[i][way{name, m}] = t.Time
				}
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

// allBy returns the tuning by which all layers that fit are computed by tiles of m by m,
// up to twice so many bytes.
func (s *Supernet) allBy(m, bytes int) Tuning {
	t := Tuning{Bytes: 2 * bytes}
	squares, left := s.squares(), t.Bytes
	for layer := range s.W.Layers {
		if q, ok := squares[layer]; !ok || m == 0 || !q.takes(m) {
			continue
		}
		l := &s.W.Layers[layer]
		if u := 4 * kernel.WinogradLen(m, l.Out, l.In); u <= min(left, bytes) {
			left -= u
			t.Layers = append(t.Layers, LayerTuning{l.Name, m, 1})
		}
	}
	return t
}

// timeLayers measures the layers of a plan, by name, for n images.
func (w *Worker) timeLayers(p *Plan, images []float32, n int, now func() time.Time) map[string]Layer {
	times := map[string]Layer{}
	measure := func(rounds int) {
		for _, l := range w.Layers(p, images, n, rounds, now) {
			l.Time = max(l.Time, 1)
			if old, ok := times[l.Name]; !ok || l.Time < old.Time {
				times[l.Name] = l
			}
		}
	}
	measure(1)
	start := now()
	measure(1)
	took := max(now().Sub(start), 1)
	if more := min(int(tuneTime/took), tuneRounds) - 2; more > 0 {
		measure(more)
	}
	return times
}

// Neutral returns statistics for a subnet with which normalisation changes nothing.
func (s *Supernet) Neutral(a Arch) Norms {
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
	t := Tuning{Bytes: bytes}
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
	if t.Bytes < 0 {
		return fmt.Errorf("transformed weights may take %d bytes: must be 0 or more", t.Bytes)
	}
	for _, l := range t.Layers {
		if l.M != 2 && l.M != 4 || l.Images < 1 {
			return fmt.Errorf("layer %s has tiles of %d from %d images on: must be 2 or 4, and 1 or more", l.Layer, l.M, l.Images)
		}
	}
	return nil
}

// CheckTuning reports what keeps a tuning from being one of this supernet: choices that
// cannot be, layers that it has not or names twice, and more bytes than it was to take.
func (s *Supernet) CheckTuning(t *Tuning) error {
	if err := t.Check(); err != nil {
		return err
	}
	type sized struct {
		square
		*nn.Layer
	}
	sizes := map[string]sized{}
	for layer, q := range s.squares() {
		sizes[s.W.Layers[layer].Name] = sized{q, &s.W.Layers[layer]}
	}
	left := t.Bytes
	for _, c := range t.Layers {
		l, ok := sizes[c.Layer]
		if !ok {
			return fmt.Errorf("layer %q is tuned, and the supernet has no 3x3 layer of this name that is not yet", c.Layer)
		}
		if !l.takes(c.M) {
			return fmt.Errorf("layer %q has tiles of %d: must be 2 with stride 2", c.Layer, c.M)
		}
		delete(sizes, c.Layer)
		left -= 4 * kernel.WinogradLen(c.M, l.Out, l.In)
	}
	if left < 0 {
		return fmt.Errorf("transformed weights take %d bytes more than the %d that they may", -left, t.Bytes)
	}
	return nil
}
