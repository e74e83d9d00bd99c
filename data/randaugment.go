package data

import (
	"math"
	"math/rand/v2"
)

// randAugment applies operations of RandAugment (Cubuk et al. 2020) to bytes: each time one of the
// fourteen below, drawn with equal chances. Their ranges at magnitude 10 are those of AutoAugment's
// published code, with the longest translation in proportion to the image (10 of 32 pixels). What a
// geometric operation lays bare is the mean pixel; pixels are taken from the nearest one.
// It is scratch space of one goroutine.
type randAugment struct {
	h, w, c int
	mean    []uint8
	a, b    []uint8 // images in turn
}

func newRandAugment(h, w, c int, mean []uint8) randAugment {
	return randAugment{h: h, w: w, c: c, mean: mean, a: make([]uint8, h*w*c), b: make([]uint8, h*w*c)}
}

// operation changes an image in place of dst; v is its strength, from -1 to 1 for those that have a
// direction and from 0 to 1 for the others.
type operation struct {
	name   string
	signed bool
	run    func(r *randAugment, dst, src []uint8, v float64)
}

var operations = []operation{
	{"identity", false, func(_ *randAugment, dst, src []uint8, _ float64) { copy(dst, src) }},
	{"autocontrast", false, func(r *randAugment, dst, src []uint8, _ float64) { r.byTable(dst, src, stretch) }},
	{"equalize", false, func(r *randAugment, dst, src []uint8, _ float64) { r.byTable(dst, src, equalize) }},
	{"rotate", true, func(r *randAugment, dst, src []uint8, v float64) {
		s, c := math.Sincos(v * 30 * math.Pi / 180)
		r.affine(dst, src, [4]float64{c, s, -s, c}, 0, 0)
	}},
	{"solarize", false, func(r *randAugment, dst, src []uint8, v float64) {
		r.pixels(dst, src, func(p uint8) uint8 {
			if float64(p) >= 256-256*v {
				return 255 - p
			}
			return p
		})
	}},
	{"posterize", false, func(r *randAugment, dst, src []uint8, v float64) {
		keep := uint8(0xff << int(math.Round(4*v)))
		r.pixels(dst, src, func(p uint8) uint8 { return p & keep })
	}},
	{"color", true, func(r *randAugment, dst, src []uint8, v float64) { r.enhance(dst, src, r.grey, v) }},
	{"contrast", true, func(r *randAugment, dst, src []uint8, v float64) { r.enhance(dst, src, r.flat, v) }},
	{"brightness", true, func(r *randAugment, dst, src []uint8, v float64) { r.enhance(dst, src, r.black, v) }},
	{"sharpness", true, func(r *randAugment, dst, src []uint8, v float64) { r.enhance(dst, src, r.smooth, v) }},
	{"shear x", true, func(r *randAugment, dst, src []uint8, v float64) {
		r.affine(dst, src, [4]float64{1, 0.3 * v, 0, 1}, 0, 0)
	}},
	{"shear y", true, func(r *randAugment, dst, src []uint8, v float64) {
		r.affine(dst, src, [4]float64{1, 0, 0.3 * v, 1}, 0, 0)
	}},
	{"translate x", true, func(r *randAugment, dst, src []uint8, v float64) {
		r.affine(dst, src, [4]float64{1, 0, 0, 1}, math.Round(v*float64(r.w)*10/32), 0)
	}},
	{"translate y", true, func(r *randAugment, dst, src []uint8, v float64) {
		r.affine(dst, src, [4]float64{1, 0, 0, 1}, 0, math.Round(v*float64(r.h)*10/32))
	}},
}

// apply returns src after n operations; the result is valid until the next call.
func (r *randAugment) apply(src []uint8, n int, magnitude float64, rng *rand.Rand) []uint8 {
	for range n {
		op := &operations[rng.IntN(len(operations))]
		v := magnitude / 10
		if op.signed && rng.Uint64()&1 == 1 {
			v = -v
		}
		op.run(r, r.a, src, v)
		src = r.a
		r.a, r.b = r.b, r.a
	}
	return src
}

// pixels maps every value.
func (r *randAugment) pixels(dst, src []uint8, f func(uint8) uint8) {
	for i, p := range src {
		dst[i] = f(p)
	}
}

// byTable maps the values of each channel by a table that f makes of their histogram.
func (r *randAugment) byTable(dst, src []uint8, f func(histogram *[256]int) [256]uint8) {
	for ch := range r.c {
		var histogram [256]int
		for i := ch; i < len(src); i += r.c {
			histogram[src[i]]++
		}
		table := f(&histogram)
		for i := ch; i < len(src); i += r.c {
			dst[i] = table[src[i]]
		}
	}
}

// stretch spreads the values between the darkest and the brightest over 0 to 255.
func stretch(histogram *[256]int) (table [256]uint8) {
	lo, hi := 0, 255
	for lo < 255 && histogram[lo] == 0 {
		lo++
	}
	for hi > 0 && histogram[hi] == 0 {
		hi--
	}
	for v := range table {
		table[v] = uint8(v)
		if hi > lo {
			table[v] = clampByte(float64(v-lo) * 255 / float64(hi-lo))
		}
	}
	return table
}

// equalize spreads the values so that each part of the range has equally many pixels, as the imaging
// library of AutoAugment's code does.
func equalize(histogram *[256]int) (table [256]uint8) {
	total, last, used := 0, 0, 0
	for _, n := range histogram {
		if total += n; n > 0 {
			last = n
			used++
		}
	}
	step := (total - last) / 255
	n := step / 2
	for v := range table {
		table[v] = uint8(v)
		if used > 1 && step > 0 {
			table[v] = uint8(min(n/step, 255))
		}
		n += histogram[v]
	}
	return table
}

// enhance moves an image away from what base makes of it, or towards it: base + (1 + 0.9·v)·(src − base).
func (r *randAugment) enhance(dst, src []uint8, base func(dst, src []uint8), v float64) {
	base(dst, src)
	for i, p := range src {
		b := float64(dst[i])
		dst[i] = clampByte(b + (1+0.9*v)*(float64(p)-b))
	}
}

// clampByte cuts off what follows the point, up to rounding.
func clampByte(v float64) uint8 { return uint8(min(max(math.Floor(v+1e-9), 0), 255)) }

// luma is the brightness of pixel i (ITU-R 601), or the mean of its channels where they are not three.
func (r *randAugment) luma(src []uint8, i int) float64 {
	p := src[i*r.c : (i+1)*r.c]
	if r.c == 3 {
		return 0.299*float64(p[0]) + 0.587*float64(p[1]) + 0.114*float64(p[2])
	}
	sum := 0
	for _, v := range p {
		sum += int(v)
	}
	return float64(sum) / float64(r.c)
}

func (r *randAugment) grey(dst, src []uint8) {
	for i := range r.h * r.w {
		l := uint8(r.luma(src, i) + 0.5)
		for ch := range r.c {
			dst[i*r.c+ch] = l
		}
	}
}

// flat fills dst with the mean brightness.
func (r *randAugment) flat(dst, src []uint8) {
	var sum float64
	for i := range r.h * r.w {
		sum += r.luma(src, i)
	}
	mean := uint8(sum/float64(r.h*r.w) + 0.5)
	for i := range dst {
		dst[i] = mean
	}
}

func (r *randAugment) black(dst, _ []uint8) { clear(dst) }

// smooth blurs by 3x3 weights 1, 5 in the centre, over 13; the edge stays as it is.
func (r *randAugment) smooth(dst, src []uint8) {
	copy(dst, src)
	row := r.w * r.c
	for y := 1; y < r.h-1; y++ {
		for i := y*row + r.c; i < (y+1)*row-r.c; i++ {
			sum := 4 * int(src[i])
			for dy := -row; dy <= row; dy += row {
				sum += int(src[i+dy-r.c]) + int(src[i+dy]) + int(src[i+dy+r.c])
			}
			dst[i] = uint8((sum + 6) / 13)
		}
	}
}

// affine takes each pixel from m·(x, y) + (dx, dy), around the centre.
func (r *randAugment) affine(dst, src []uint8, m [4]float64, dx, dy float64) {
	cx, cy := float64(r.w-1)/2, float64(r.h-1)/2
	for y := range r.h {
		for x := range r.w {
			fx, fy := float64(x)-cx, float64(y)-cy
			sx := int(math.Round(m[0]*fx + m[1]*fy + cx + dx))
			sy := int(math.Round(m[2]*fx + m[3]*fy + cy + dy))
			p := dst[(y*r.w+x)*r.c:][:r.c]
			if sx < 0 || sx >= r.w || sy < 0 || sy >= r.h {
				copy(p, r.mean)
				continue
			}
			copy(p, src[(sy*r.w+sx)*r.c:][:r.c])
		}
	}
}
