//go:build !purego

package kernel

import "unsafe"

// A table holds, for consecutive rows of a batch, the addresses of the pixels behind each
// tap, row by row, and the byte offset of each row's outputs. It is made once for all
// channels and panels of outputs.
type table struct {
	pixels        [tableLen]*float32
	offsets       [tableRows]int
	rows, entries int // in use
}

const (
	tableLen  = 2048
	tableRows = 192
)

// zeros is what padding reads: kernels take up to so many inputs.
var zeros [4096]float32

// fits reports whether rows of the gather with c inputs fit a table.
func (g *Gather) fits(c int) bool {
	return len(g.Taps) <= tableLen/6 && c <= len(zeros)
}

// chunk returns how many rows one pass takes when a row costs work multiply-adds: whole
// tiles of six that fit a table. A pass is one call of assembly, which cannot be
// preempted: at most about 70 µs.
func (g *Gather) chunk(work int) int {
	const most = 96
	n := min(most, 1024/max(1, len(g.Taps)), (7<<19)/max(1, work))
	return max(6, n/6*6)
}

// fill describes n rows from row lo on of inputs x with pitches in floats.
func (t *table) fill(g *Gather, lo, n int, x []float32, xPitch, yPitch int) {
	t.reset()
	t.add(g, lo, n, x, xPitch, yPitch)
}

func (t *table) reset() { t.rows, t.entries = 0, 0 }

// add appends what fill describes.
func (t *table) add(g *Gather, lo, n int, x []float32, xPitch, yPitch int) {
	pixels, offsets := t.pixels[t.entries:], t.offsets[t.rows:]
	t.rows += n
	t.entries += n * len(g.Taps)
	per, taps := g.Rows(), len(g.Taps)
	image, i := lo/per, lo%per
	for done := 0; done < n; {
		part := min(per-i, n-done)
		base := &x[image*g.InPix*xPitch]
		switch {
		case g.In == nil:
			for k := range part {
				pixels[done+k] = (*float32)(unsafe.Add(unsafe.Pointer(base), 4*xPitch*(i+k)))
			}
		case taps > 0:
			lookUp(&pixels[done*taps], &g.In[i*taps], part*taps, base, 4*xPitch, &zeros[0])
		}
		for k := range part {
			out := i + k
			if g.Out != nil {
				out = int(g.Out[out])
			}
			offsets[done+k] = 4 * yPitch * (image*g.OutPix + out)
		}
		done += part
		image, i = image+1, 0
	}
}

// first returns the address of element i of s, nil for an empty slice.
func first[T any](s []T, i int) *T {
	if len(s) == 0 {
		return nil
	}
	return &s[i]
}
