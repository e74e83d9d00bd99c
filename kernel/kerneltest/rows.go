package kerneltest

import (
	"fmt"
	"strconv"

	"weft/kernel"
)

// float is the size of a float32 in bytes.
const float = 4

// rowOps are the operations on rows of c channels. Each moves so many rows·c arrays.
var rowOps = []struct {
	name   string
	arrays float64
	serial bool
	setup  func(a *arena, rows, c int) func(lo, hi int)
}{
	{"moments", 1, true, func(a *arena, rows, c int) func(lo, hi int) {
		x, pivot := a.input("x", rows*c), a.param("pivot", c)
		sum, sumsq := a.output("sum", c), a.output("sumsq", c)
		return func(lo, hi int) { kernel.Moments(x[lo*c:], hi-lo, c, pivot, sum, sumsq) }
	}},
	{"channel sum", 1, true, func(a *arena, rows, c int) func(lo, hi int) {
		x, sum := a.input("x", rows*c), a.output("sum", c)
		return func(lo, hi int) { kernel.ChannelSum(x[lo*c:], nil, hi-lo, c, sum, nil) }
	}},
	{"channel sum and dot", 2, true, func(a *arena, rows, c int) func(lo, hi int) {
		x, y := a.input("x", rows*c), a.input("y", rows*c)
		sum, dot := a.output("sum", c), a.output("dot", c)
		return func(lo, hi int) { kernel.ChannelSum(x[lo*c:], y[lo*c:], hi-lo, c, sum, dot) }
	}},
	{"affine2", 3, false, func(a *arena, rows, c int) func(lo, hi int) {
		u, v, out := a.input("u", rows*c), a.input("v", rows*c), a.output("out", rows*c)
		ka, kb, kd := a.param("a", c), a.param("b", c), a.param("d", c)
		return func(lo, hi int) { kernel.Affine2(out[lo*c:], u[lo*c:], v[lo*c:], hi-lo, c, ka, kb, kd) }
	}},
	{"affine2 in place", 3, false, func(a *arena, rows, c int) func(lo, hi int) {
		u, v := a.output("u", rows*c), a.input("v", rows*c)
		ka, kb, kd := a.param("a", c), a.param("b", c), a.param("d", c)
		return func(lo, hi int) { kernel.Affine2(u[lo*c:], u[lo*c:], v[lo*c:], hi-lo, c, ka, kb, kd) }
	}},
}

// acts are the activation functions.
var acts = []kernel.Act{kernel.Linear, kernel.ReLU, kernel.HSwish, kernel.HSigmoid}

func rowShape(rows, c int) string { return fmt.Sprintf("%d×%d", rows, c) }

// rowCases returns all operations on rows of one shape.
func rowCases(rows, c int) []Case {
	var cs []Case
	bytes := float * float64(rows) * float64(c)
	for _, op := range rowOps {
		cs = append(cs, Case{Op: op.name, Shape: rowShape(rows, c), setup: func(a *arena) work {
			return work{units: rows, run: op.setup(a, rows, c), bytes: op.arrays * bytes, serial: op.serial}
		}})
	}
	for _, act := range acts {
		shape := rowShape(rows, c) + " " + act.String()
		cs = append(cs,
			Case{Op: "scale shift", Shape: shape, setup: func(a *arena) work { return scaleShift(a, rows, c, act, false) }},
			Case{Op: "scale shift res", Shape: shape, setup: func(a *arena) work { return scaleShift(a, rows, c, act, true) }},
			Case{Op: "norm gradient", Shape: shape, setup: func(a *arena) work { return normGrad(a, rows, c, act) }})
	}
	return cs
}

func scaleShift(a *arena, rows, c int, act kernel.Act, withRes bool) work {
	x, y := a.input("x", rows*c), a.output("y", rows*c)
	scale, shift := a.param("scale", c), a.param("shift", c)
	w := work{units: rows, bytes: 2 * float * float64(rows*c)}
	if !withRes {
		w.run = func(lo, hi int) { kernel.ScaleShift(y[lo*c:], x[lo*c:], nil, hi-lo, c, scale, shift, act) }
		return w
	}
	res := a.input("res", rows*c)
	w.bytes += float * float64(rows*c)
	w.run = func(lo, hi int) { kernel.ScaleShift(y[lo*c:], x[lo*c:], res[lo*c:], hi-lo, c, scale, shift, act) }
	return w
}

func normGrad(a *arena, rows, c int, act kernel.Act) work {
	dy, y, x := a.output("dy", rows*c), a.input("y", rows*c), a.input("x", rows*c)
	scale, shift, mean := a.param("scale", c), a.param("shift", c), a.param("mean", c)
	if a.timed { // derivatives of 0 or 1 keep dy, run after run, from becoming denormal
		for i := range c {
			scale[i], shift[i] = 0, 4
		}
	}
	sumDZ, sumDZX := a.output("sumDZ", c), a.output("sumDZX", c)
	arrays := 3.0 // dy read and written, x
	if act == kernel.ReLU {
		arrays++
	}
	return work{units: rows, bytes: arrays * float * float64(rows*c), serial: true, run: func(lo, hi int) {
		kernel.NormGrad(dy[lo*c:], y[lo*c:], x[lo*c:], hi-lo, c, scale, shift, mean, act, sumDZ, sumDZX)
	}}
}

// flatCases returns the operations on n floats without channels.
func flatCases(n int) []Case {
	shape, bytes := strconv.Itoa(n), float*float64(n)
	return []Case{
		{Op: "add", Shape: shape, setup: func(a *arena) work {
			dst, src := a.output("dst", n), a.input("src", n)
			return work{units: n, bytes: 3 * bytes, run: func(lo, hi int) { kernel.Add(dst[lo:], src[lo:hi]) }}
		}},
		{Op: "sgd", Shape: shape, setup: func(a *arena) work {
			w, g, v := a.output("w", n), a.input("g", n), a.output("v", n)
			return work{units: n, bytes: 5 * bytes, run: func(lo, hi int) {
				kernel.SGD(w[lo:hi], g[lo:], v[lo:], 0.1, 0.9, 1e-4)
			}}
		}},
	}
}

// transposeCase packs the transposed weights of out·in channels.
func transposeCase(out, taps, in int) Case {
	shape := fmt.Sprintf("%d taps %d→%d", taps, in, out)
	return Case{Op: "pack transposed", Shape: shape, setup: func(a *arena) work {
		w := a.param("w", kernel.PackedLen(out, taps, in))
		dst := a.output("dst", kernel.PackedLen(in, taps, kernel.Panels(out)*kernel.Panel))
		return work{units: 1, bytes: 2 * float * float64(len(w)), serial: true, run: func(lo, hi int) {
			if lo < hi {
				kernel.PackTransposed(dst, w, out, taps, in)
			}
		}}
	}}
}
