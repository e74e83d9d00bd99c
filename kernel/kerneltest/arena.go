package kerneltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"unsafe"
)

// guard is how many elements stand on either side of a buffer, and guardBits the NaN
// they hold.
const (
	guard     = 19 // odd, so that buffers are not aligned
	guardBits = 0x7fc54321
	line      = 16 // floats of a cache line
)

// arena hands out the buffers of one case: the same seed gives the same contents.
type arena struct {
	rng     *rand.Rand
	special bool // sprinkle NaN and infinities over inputs
	timed   bool // begin buffers at cache lines, as large allocations do
	bufs    []*buffer
}

type buffer struct {
	name     string
	all      []float32 // with guards
	was      []float32 // contents at the start
	readOnly bool
}

func newArena(seed uint64, special bool) *arena {
	return &arena{rng: rand.New(rand.NewPCG(seed, 1)), special: special}
}

func (a *arena) alloc(name string, n int, readOnly bool) []float32 {
	b := &buffer{name: name, all: make([]float32, n+2*guard), readOnly: readOnly}
	if a.timed {
		all := make([]float32, n+2*guard+line)
		skip := (2*line - guard - int(uintptr(unsafe.Pointer(&all[0]))/float%line)) % line
		b.all = all[skip : skip+n+2*guard]
	}
	for i := range b.all {
		b.all[i] = math.Float32frombits(guardBits)
	}
	data := b.all[guard : guard+n : guard+n]
	for i := range data {
		data[i] = float32(a.rng.NormFloat64())
	}
	a.bufs = append(a.bufs, b)
	return data
}

// input returns n normal values, which the operation must leave alone.
func (a *arena) input(name string, n int) []float32 {
	x := a.alloc(name, n, true)
	if a.special {
		for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)} {
			x[a.rng.IntN(n)] = float32(v)
		}
	}
	return x
}

// param returns n finite values, which the operation must leave alone.
func (a *arena) param(name string, n int) []float32 { return a.alloc(name, n, true) }

// output returns n values that the operation changes.
func (a *arena) output(name string, n int) []float32 { return a.alloc(name, n, false) }

// freeze notes the contents of all buffers.
func (a *arena) freeze() {
	for _, b := range a.bufs {
		b.was = append([]float32(nil), b.all...)
	}
}

// check reports the first thing that differs from what the specification did in want,
// an arena of the same case, or that no operation may do.
func (a *arena) check(want *arena, tol float64) error {
	for i, b := range a.bufs {
		if err := b.check(want.bufs[i], tol); err != nil {
			return fmt.Errorf("%s%w", b.name, err)
		}
	}
	return nil
}

func (b *buffer) check(want *buffer, tol float64) error {
	n := len(b.all)
	scale := 1.0
	for _, v := range want.all[guard : n-guard] {
		if f := math.Abs(float64(v)); f > scale && !math.IsInf(f, 0) {
			scale = f
		}
	}
	for i, got := range b.all {
		g, w, was := float64(got), float64(want.all[i]), b.was[i]
		same := math.Float32bits(got) == math.Float32bits(was)
		switch {
		case i < guard || i >= n-guard:
			if !same {
				return fmt.Errorf("[%d]: guard overwritten by %v", i-guard, got)
			}
		case b.readOnly:
			if !same {
				return fmt.Errorf("[%d]: input overwritten by %v", i-guard, got)
			}
		case math.Float32bits(want.all[i]) == math.Float32bits(was) && !same:
			return fmt.Errorf("[%d]: got %v, the specification leaves %v alone", i-guard, got, was)
		case g == w || math.IsNaN(g) && math.IsNaN(w):
		case !(math.Abs(g-w) <= tol*scale):
			return fmt.Errorf("[%d]: got %v, want %v (tolerance %g)", i-guard, g, w, tol*scale)
		}
	}
	return nil
}
