package quant

import "math"

// bins is how many intervals a Histogram has.
const bins = 4096

// Histogram counts values in intervals of equal width around 0; it widens when a value
// does not fit. The zero value is ready for use.
type Histogram struct {
	count  [bins]int64
	half   float32 // counts cover [−half, half)
	lo, hi float32
	n      int64
}

// Add counts values; those that are not finite are passed over.
func (h *Histogram) Add(values []float32) {
	for _, v := range values {
		if v-v != 0 {
			continue
		}
		h.lo, h.hi = min(h.lo, v), max(h.hi, v)
		if v >= h.half || v < -h.half {
			h.widen(v)
		}
		h.count[int((v/h.half+1)*(bins/2))]++
		h.n++
	}
}

// widen doubles the intervals until v fits.
func (h *Histogram) widen(v float32) {
	if h.half == 0 {
		_, e := math.Frexp(float64(max(v, -v)))
		h.half = float32(math.Ldexp(1, max(e, -100)+1))
	}
	for v >= h.half || v < -h.half {
		var c [bins]int64
		for i, n := range h.count {
			c[bins/4+i/2] += n
		}
		h.count, h.half = c, 2*h.half
	}
}

// Range returns the interval, always around 0, whose quantisation to 256 values makes the
// least mean squared error on the values counted: what lies outside errs by its distance,
// what lies inside by a twelfth of the squared step.
func (h *Histogram) Range() Range {
	best, least := Range{h.lo, h.hi}, math.Inf(1)
	try := func(lo, hi float32) {
		r := Range{max(lo, h.lo), min(hi, h.hi)}
		if e := h.cost(r); e < least {
			best, least = r, e
		}
	}
	const steps = 64
	for i := steps / 8; i <= steps; i++ { // both ends, then each by itself
		f := float32(i) / steps
		try(h.lo*f, h.hi*f)
	}
	for range 2 {
		r := best
		for i := 1; i <= steps; i++ {
			try(h.lo*float32(i)/steps, r.Hi)
		}
		r = best
		for i := 1; i <= steps; i++ {
			try(r.Lo, h.hi*float32(i)/steps)
		}
	}
	return best
}

// cost is the sum of squared errors when r is quantised.
func (h *Histogram) cost(r Range) float64 {
	step := (float64(r.Hi) - float64(r.Lo)) / 255
	width := 2 * float64(h.half) / bins
	sum := 0.0
	for i, n := range h.count {
		if n == 0 {
			continue
		}
		x := (float64(i)+0.5)*width - float64(h.half)
		d := max(float64(r.Lo)-x, x-float64(r.Hi), 0)
		e := step * step / 12
		if d > 0 {
			e = d * d
		}
		sum += float64(n) * e
	}
	return sum
}

// MinMax returns the least and the greatest value counted, with 0.
func (h *Histogram) MinMax() Range { return Range{h.lo, h.hi} }
