//go:build !purego

package kernel

import "unsafe"

// line is a run of neighbouring outputs in one line, for the assembly.
type line struct {
	x, y    int // byte offsets of the first column of inputs in the topmost source row, of the first output
	rows    int // bits of the source rows that are not padding
	enter   int // columns of padding that the first window begins with
	columns int // columns of inputs that the outputs read
	outputs int
}

const (
	mostLines = 64      // in one call of assembly
	lineBytes = 3 << 17 // of inputs that the lines of one call should keep in the second-level cache
)

// tapBuffer holds the weights of 16 channels of a window.
type tapBuffer struct {
	all     [mostSlide*mostSlide*16 + 16]float32
	offsets [mostSlide * mostSlide]int
}

// taps returns room for the weights that begins at a cache line.
func (b *tapBuffer) taps() *float32 {
	const line = 64
	skip := int(-uintptr(unsafe.Pointer(&b.all[0])) % line / 4)
	return &b.all[skip]
}

// ones is the scale of those that have none.
var ones = [16]float32{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}

func depthwiseAVX512(d *Depthwise, lo, hi int) {
	g := d.G
	s := g.slide
	if s == nil || s.k < 3 || s.k > mostSlide || s.stride > 2 {
		depthwiseAVX2(d, lo, hi)
		return
	}
	var buf tapBuffer
	for i, t := range s.taps {
		buf.offsets[i] = 4 * d.CMax * t
	}
	most := min(mostLines, max(4, lineBytes/(4*d.C*s.w*s.stride)))
	most = max(1, min(most, passWork/(16*s.k*s.k*s.ow)))
	var lines [mostLines]line
	for lo < hi {
		n := 0
		for ; n < most && lo < hi; n++ {
			lo += lines[n].set(g, lo, hi, d.C)
		}
		d.lines(lines[:n], &buf)
	}
}

// set describes the outputs from row lo on that are in its line and below hi, and returns
// how many they are.
func (l *line) set(g *Gather, lo, hi, c int) int {
	s := g.slide
	per, p := g.Rows(), s.k/2
	image, i := lo/per, lo%per
	oy, ox := i/s.ow, i%s.ow
	l.outputs = min(s.ow-ox, hi-lo)
	l.rows = 0
	top, left := oy*s.stride-p, ox*s.stride-p
	for r := range s.k {
		if y := top + r; 0 <= y && y < s.h {
			l.rows |= 1 << r
		}
	}
	l.enter = max(0, -left)
	first := left + l.enter
	l.columns = min(s.w-1, left+(l.outputs-1)*s.stride+s.k-1) - first + 1
	l.x = 4 * c * (image*g.InPix + top*s.w + first)
	l.y = 4 * c * (image*g.OutPix + i)
	return l.outputs
}

// lines computes lines of outputs, 16 channels at a time.
func (d *Depthwise) lines(lines []line, buf *tapBuffer) {
	s, taps := d.G.slide, buf.taps()
	for ch := 0; ch < d.C; ch += 16 {
		wide := 4 * min(16, d.C-ch)
		scale, shift := &ones[0], &zeros[0]
		if d.Scale != nil {
			scale = &d.Scale[ch]
		}
		if d.Shift != nil {
			shift = &d.Shift[ch]
		}
		scaleTaps(taps, &d.W[ch], &buf.offsets[0], s.k*s.k, scale, wide)
		list, n, x, y, row, pitch, act := &lines[0].x, len(lines), &d.X[ch], &d.Y[ch], 4*d.C*s.w, 4*d.C, int(d.Act)
		res, sum := first(d.Res, ch), first(d.Sum, ch)
		switch 10*s.k + s.stride {
		case 31:
			lines3by1(list, n, x, taps, y, res, shift, sum, row, pitch, wide, act)
		case 32:
			lines3by2(list, n, x, taps, y, res, shift, sum, row, pitch, wide, act)
		case 51:
			lines5by1(list, n, x, taps, y, res, shift, sum, row, pitch, wide, act)
		case 52:
			lines5by2(list, n, x, taps, y, res, shift, sum, row, pitch, wide, act)
		case 71:
			lines7by1(list, n, x, taps, y, res, shift, sum, row, pitch, wide, act)
		case 72:
			lines7by2(list, n, x, taps, y, res, shift, sum, row, pitch, wide, act)
		}
	}
}
