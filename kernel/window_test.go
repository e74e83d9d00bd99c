package kernel

import (
	"slices"
	"testing"
)

// TestWindowBackward: the backward gathers of a window are its forward gather transposed,
// and together they write every input pixel once.
func TestWindowBackward(t *testing.T) {
	type edge struct{ in, tap, out int32 }
	for _, c := range []struct{ h, w, k, stride int }{
		{5, 7, 3, 1}, {8, 6, 3, 2}, {7, 7, 3, 2}, {9, 4, 5, 2}, {6, 6, 2, 2}, {7, 5, 1, 2}, {4, 4, 7, 1}, {5, 5, 1, 1},
	} {
		win := NewWindow(c.h, c.w, c.k, c.stride, Raster(c.k))
		var forward, backward []edge
		edges(&win.Fwd, func(row, tap, source int32) { forward = append(forward, edge{source, tap, row}) })
		written := make([]int, c.h*c.w)
		for i := range win.Bwd {
			g := &win.Bwd[i]
			edges(g, func(row, tap, source int32) { backward = append(backward, edge{row, tap, source}) })
			for r := range g.Rows() {
				_, y, _ := g.row(r)
				written[y]++
			}
		}
		order := func(a, b edge) int {
			return slices.Compare([]int32{a.in, a.tap, a.out}, []int32{b.in, b.tap, b.out})
		}
		slices.SortFunc(forward, order)
		slices.SortFunc(backward, order)
		if !slices.Equal(forward, backward) {
			t.Errorf("%+v: forward and backward differ", c)
		}
		for p, n := range written {
			if n != 1 {
				t.Errorf("%+v: input pixel %d is written %d times", c, p, n)
			}
		}
	}
}

// edges calls f for every row, by its output pixel, tap and source that a gather connects.
func edges(g *Gather, f func(row, tap, source int32)) {
	for r := range g.Rows() {
		base, y, in := g.row(r)
		for j, tap := range g.Taps {
			if p := source(base, in, j); p >= 0 {
				f(int32(y), tap, int32(p))
			}
		}
	}
}

// TestRingsNest: the taps of a small window begin those of a larger one.
func TestRingsNest(t *testing.T) {
	for k := 3; k <= 7; k += 2 {
		if small := Rings(k - 2); !slices.Equal(Rings(k)[:len(small)], small) {
			t.Errorf("Rings(%d) does not begin with Rings(%d)", k, k-2)
		}
		if n := len(Rings(k)); n != k*k {
			t.Errorf("Rings(%d) has %d taps", k, n)
		}
	}
}

// TestTapsOutsideAreDropped: where an image is so small that a tap reads nothing but padding, the window lacks it.
func TestTapsOutsideAreDropped(t *testing.T) {
	for _, c := range []struct{ size, k, stride, taps int }{
		{1, 3, 1, 1}, {2, 3, 1, 9}, {2, 3, 2, 4}, {3, 3, 2, 9}, {1, 7, 1, 1}, {2, 7, 1, 9}, {4, 7, 1, 49}, {2, 7, 2, 4},
	} {
		g := new(Windows).Forward(c.size, c.size, c.k, c.stride, false)
		if len(g.Taps) != c.taps || len(g.In) != g.OutPix*c.taps {
			t.Errorf("%d taps of a %dx%d kernel with stride %d reach an image of %d pixels across, want %d", len(g.Taps), c.k, c.k, c.stride, c.size, c.taps)
		}
	}
}
