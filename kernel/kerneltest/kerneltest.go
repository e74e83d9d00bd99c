// Package kerneltest holds one table of the operations of package kernel and looks at
// each in three ways: the kernels in use agree with the specification, gradients agree
// with finite differences, and how fast it all is against the measured peak.
package kerneltest

import (
	"fmt"

	"weft/kernel"
)

// Case is one operation on one shape.
type Case struct {
	Op, Shape string
	// Tolerance is the error allowed relative to the largest output; 0 stands for 2e-5.
	Tolerance float64
	setup     func(*arena) work
}

func (c Case) String() string { return c.Op + " " + c.Shape }

// work is a case with its buffers.
type work struct {
	units  int              // independent pieces, such as rows or images
	run    func(lo, hi int) // runs pieces [lo, hi)
	serial bool             // pieces write the same output: one thread only
	flops  float64
	bytes  float64 // moved at least; set instead of flops where memory is the limit
}

// Agree runs a case by the specification and by the tier in use and reports the first
// difference, a write outside the outputs, or a changed input. With special, inputs hold
// NaN, infinities and negative zeros.
func (c Case) Agree(seed uint64, special bool) error {
	want := newArena(seed, special)
	w := c.setup(want)
	restore := kernel.UseTier("go")
	w.run(0, w.units)
	restore()
	got := newArena(seed, special)
	w = c.setup(got)
	got.freeze()
	// In two pieces, so that ranges that begin in the middle are covered.
	w.run(0, w.units/3)
	w.run(w.units/3, w.units)
	tol := c.Tolerance
	if tol == 0 {
		tol = 2e-5
	}
	if err := got.check(want, tol); err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	return nil
}
