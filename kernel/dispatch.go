package kernel

import (
	"fmt"
	"os"
	"strings"
)

// impl is one tier of kernels.
type impl struct {
	name           string
	conv           func(*Conv, int, int)
	convGrad       func(*ConvGrad, int, int)
	winograd       func(w *Winograd, lo, hi int, scratch []float32)
	winogradRepack func(dst, w []float32, panels, n int, flip bool)
	winogradTiles  func(w *WinogradGrad, x, dy []float32, first, tiles int)
	winogradPanel  func(dw []float32, tap int, u []float32, n int)
	depthwise      func(*Depthwise, int, int)
	depthwiseGrad  func(*DepthwiseGrad, int, int)
	packTransposed func(dst, w []float32, outMax, taps, inMax int)
	moments        func(x []float32, rows, c int, pivot, sum, sumsq []float32)
	scaleShift     func(y, x, res []float32, rows, c int, scale, shift []float32, act Act)
	normGrad       func(dy, y, x []float32, rows, c int, scale, shift, mean []float32, act Act, sumDZ, sumDZX []float32)
	affine2        func(out, u, v []float32, rows, c int, a, b, d []float32)
	channelSum     func(x, y []float32, rows, c int, sum, dot []float32)
	add            func(dst, src []float32)
	maxPool        func(g *Gather, x, y []float32, arg []int32, c int)
	avgPool        func(g *Gather, x, y []float32, c int)
	sgd            func(w, g, v []float32, lr, momentum, decay float32)
	widen          func(dst []float32, src []uint16, factor float32)
	near           func(dst []float32, n *Near)
}

var generic = impl{
	name: "go", conv: convGeneric, convGrad: convGradGeneric, winograd: winogradGeneric,
	winogradRepack: winogradRepackGeneric, winogradTiles: winogradTilesGeneric, winogradPanel: winogradPanelGeneric,
	depthwise: depthwiseGeneric, depthwiseGrad: depthwiseGradGeneric,
	packTransposed: packTransposedGeneric, moments: momentsGeneric,
	scaleShift: scaleShiftGeneric, normGrad: normGradGeneric, affine2: affine2Generic,
	channelSum: channelSumGeneric, add: addGeneric, maxPool: maxPoolGeneric,
	avgPool: avgPoolGeneric, sgd: sgdGeneric, widen: widenGeneric, near: nearGeneric,
}

// tiers are those that the processor can run, the fastest first; active is in use.
var (
	tiers  = available()
	active = choose(os.Getenv("WEFT_KERNEL"))
)

// choose returns the tier of a name, the fastest for "".
func choose(name string) impl {
	if name == "" {
		return tiers[0]
	}
	for _, t := range tiers {
		if t.name == name {
			return t
		}
	}
	panic(fmt.Sprintf("WEFT_KERNEL is %q: this processor and build have the kernels %s", name, strings.Join(Tiers(), ", ")))
}

// Tier names the kernels in use: "avx512", "avx2" or "go".
func Tier() string { return active.name }

// Tiers names the kernels that the processor can run, the fastest first.
func Tiers() []string {
	names := make([]string, len(tiers))
	for i, t := range tiers {
		names[i] = t.name
	}
	return names
}

// UseTier switches to one of Tiers, panics for another name, and returns a function that
// switches back. It is meant for tests: no kernel may run meanwhile.
func UseTier(name string) (restore func()) {
	was := active
	active = choose(name)
	return func() { active = was }
}
