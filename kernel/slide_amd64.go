//go:build !purego

package kernel

import "unsafe"

const (
	mostSlide = 7  // width of the largest window
	slideRun  = 32 // neighbouring outputs that share a list of inputs
	slideTile = 8  // outputs that the assembly computes together, at most
)

// slideList holds, for a run of neighbouring outputs, the inputs of each source row that
// is not all padding, from left to right, and where its weights are.
type slideList struct {
	pixels  [mostSlide][slideRun + mostSlide - 1]*float32
	weights [mostSlide * mostSlide]int // byte offsets
	height  int
}

// fill describes the n outputs from row i of an image on, column ox of the output; x is
// the image, of pitch bytes a pixel, wtap the bytes of a tap of weights.
func (l *slideList) fill(g *Gather, i, ox, n int, x *float32, pitch, wtap int) {
	s := g.slide
	k, centre := s.k, s.k/2
	in := g.In[i*len(g.Taps):]
	left := max(0, centre-ox)
	right := min(n+k-1, s.w-ox+centre)
	l.height = 0
	for row := range k {
		columns := s.taps[row*k : row*k+k]
		pixel := int(in[columns[centre]])
		if pixel < 0 {
			continue
		}
		list := l.pixels[l.height][:n+k-1]
		for j := range left {
			list[j] = &zeros[0]
		}
		p := unsafe.Add(unsafe.Pointer(x), (pixel-centre+left)*pitch)
		for j := left; j < right; j++ {
			list[j] = (*float32)(p)
			if j+1 < right { // keep p within the image
				p = unsafe.Add(p, pitch)
			}
		}
		for j := right; j < len(list); j++ {
			list[j] = &zeros[0]
		}
		for dx, c := range columns {
			l.weights[l.height*k+dx] = wtap * c
		}
		l.height++
	}
}

// slideAVX2 is for depthwise convolutions with stride 1.
func slideAVX2(d *Depthwise, lo, hi int) {
	g := d.G
	per, width := g.Rows(), g.slide.w
	var l slideList
	for lo < hi {
		image, i := lo/per, lo%per
		n := min(width-i%width, hi-lo, slideRun)
		l.fill(g, i, i%width, n, &d.X[image*g.InPix*d.C], 4*d.C, 4*d.CMax)
		m, tiles, less := even(n, slideTile)
		d.tiles(&l, lo, 0, m, tiles)
		d.tiles(&l, lo, m*tiles, m-1, less)
		lo += n
	}
}

// tiles computes tiles·m outputs of a run that begins at row lo, from the one on.
func (d *Depthwise) tiles(l *slideList, lo, from, m, tiles int) {
	if tiles == 0 {
		return
	}
	const next = 8 * len(l.pixels[0])
	p, y := &l.pixels[0][from], (lo+from)*d.C
	switch d.G.slide.k {
	case 3:
		slide3(p, next, l.height, m, tiles, &l.weights[0], &d.W[0], 4*d.C, 4*d.C,
			&d.Y[y], first(d.Res, y), first(d.Scale, 0), first(d.Shift, 0), int(d.Act))
	case 5:
		slide5(p, next, l.height, m, tiles, &l.weights[0], &d.W[0], 4*d.C, 4*d.C,
			&d.Y[y], first(d.Res, y), first(d.Scale, 0), first(d.Shift, 0), int(d.Act))
	default:
		slide7(p, next, l.height, m, tiles, &l.weights[0], &d.W[0], 4*d.C, 4*d.C,
			&d.Y[y], first(d.Res, y), first(d.Scale, 0), first(d.Shift, 0), int(d.Act))
	}
}
