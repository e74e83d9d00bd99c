package supernet

import (
	"cmp"
	"slices"

	"weft/kernel"
	"weft/quant"
	"weft/tensor"
)

// chosen8 returns the layers to which int8 plans may apply Winograd's algorithm: those on
// which the largest subnet gains, the ones of most pixels first, as long as their
// transformed weights take no more than so many bytes. The results are the same bits
// either way.
func (s *Supernet) chosen8(bytes int) map[string]bool {
	m, squares := map[string]bool{}, s.squares()
	if !kernel.FastWinograd8() {
		return m
	}
	var layers []int
	for layer, q := range squares {
		if q.stride == 1 && fewest8(q.in, q.out) > 0 {
			layers = append(layers, layer)
		}
	}
	slices.SortFunc(layers, func(a, b int) int {
		return cmp.Or(cmp.Compare(squares[b].out.Pixels(), squares[a].out.Pixels()), cmp.Compare(a, b))
	})
	for _, layer := range layers {
		l := &s.W.Layers[layer]
		if size := 2 * kernel.Winograd8Len(l.Out, l.In); size <= bytes {
			m[l.Name] = true
			bytes -= size
		}
	}
	return m
}

// mostFew8 bounds what fewest8 returns.
const mostFew8 = 8

// fewest8 returns from how many images on tiles of a 3x3 layer are faster than its rows, 0
// if never. The times are those of one thread of a Zen 4 at 3.7 GHz.
func fewest8(in, out tensor.Shape) int {
	const (
		rowMACs, tileMACs = 225, 105 // an ns
		transform         = 58       // ns for the inputs of 32 channels or the outputs of 16
		position          = 30       // ns to begin with one for 64 outputs
		weights           = 20       // bytes an ns, from memory
	)
	macs := float64(in.C * out.C)
	tiles := float64((out.H + 3) / 4 * ((out.W + 3) / 4))
	parts := float64((in.C+31)/32 + kernel.Panels(out.C))
	fixed := 36*position*float64((out.C+63)/64) + 72*macs/weights
	for n := 1.0; n <= mostFew8; n++ {
		direct := n * float64(out.Pixels()) * 9 * macs / rowMACs
		if n*tiles*(36*macs/tileMACs+transform*parts)+fixed < direct {
			return int(n)
		}
	}
	return 0
}

// squared is what a layer needs for Winograd's algorithm.
type squared struct {
	u       []int16
	tiles   *kernel.Tiles8
	few     int // images from which on it is used
	scratch int // bytes that a thread needs
}

// winograd gives a 3x3 convolution with stride 1 its other way to be computed, if that
// pays. The kernel must see all nine taps.
func (t *Int8) winograd(op *op8, w *quant.Weights) {
	if t.chosen == nil {
		t.chosen = t.net.chosen8(t.WinogradBytes)
	}
	if op.k != 3 || op.stride != 1 || len(op.conv.G.Taps) != 9 || op.in.C%8 != 0 || w.Window > 0 || !t.chosen[op.name] {
		return
	}
	few := fewest8(op.in, op.out)
	if few == 0 {
		return
	}
	u, ok := t.transformed[w]
	if !ok {
		if u = tensor.Make[int16](kernel.Winograd8Len(w.Out, w.In)); !kernel.Winograd8Pack(u, w.Data, w.Out, w.In) {
			u = nil // sums might not fit
		}
		t.transformed[w] = u
	}
	if u == nil {
		return
	}
	key := windowKey8{Shape: tensor.Shape{H: op.in.H, W: op.in.W}}
	if t.tiles[key] == nil {
		t.tiles[key] = kernel.NewTiles8(op.in.H, op.in.W)
	}
	c := kernel.Winograd8{Conv8: op.conv, Tiles: t.tiles[key], U: u}
	op.squared = &squared{u: u, tiles: t.tiles[key], few: few, scratch: c.Scratch()}
}
