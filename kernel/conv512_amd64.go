//go:build !purego

package kernel

import "slices"

const (
	blockRows    = 10      // rows that convBlocks computes together, at most
	blockOutputs = 32      // outputs it computes together, at most
	fewRows      = 4       // rows that wait for weights rather than for multiply-adds, at most
	partImages   = 6       // images of which equal parts are computed together
	passWork     = 7 << 19 // multiply-adds of one call of assembly, which cannot be preempted: about 60 µs
)

// even divides n rows among as few blocks of at most `most` rows as possible: tiles of m
// rows, then less of m−1.
func even(n, most int) (m, tiles, less int) {
	tiles = (n + most - 1) / most
	m = (n + tiles - 1) / tiles
	less = tiles*m - n
	return m, tiles - less, less
}

// nextOutputs returns how many of n outputs convBlocks should compute next: 8 by themselves
// are slow.
func nextOutputs(n int) int {
	if n == blockOutputs+8 {
		return Panel
	}
	return min(n, blockOutputs)
}

// share returns how many of n rows the first of as few passes as possible takes when a
// pass takes at most size: whole blocks but in the last.
func share(n, size int) int {
	size = max(blockRows, size)
	passes := (n + size - 1) / size
	return min(n, min(size/blockRows, (n+passes*blockRows-1)/(passes*blockRows))*blockRows)
}

// convAVX512 computes rows with as few multiplications as their padding allows.
func convAVX512(c *Conv, lo, hi int) {
	g := c.G
	switch {
	case g.In == nil && g.Out == nil && g.InPix == g.OutPix:
		c.linear(lo, hi)
		return
	case c.byRuns():
		c.runs(lo, hi)
		return
	case !g.fits(c.Cin):
		convGeneric(c, lo, hi)
		return
	}
	var t table
	rows, room := g.Rows(), min(tableRows, tableLen/max(1, len(g.Taps)))
	from, to := (lo+rows-1)/rows, hi/rows // whole images
	switch {
	case len(g.parts) == 0 || hi-lo <= fewRows || len(g.parts) > mostSegments || rows > room && from >= to:
		c.allTaps(&t, g, lo, hi)
	case rows > room:
		c.allTaps(&t, g, lo, from*rows)
		for ; from < to; from += partImages {
			for i := range g.parts {
				p := &g.parts[i]
				c.allTaps(&t, p, from*p.Rows(), min(from+partImages, to)*p.Rows())
			}
		}
		c.allTaps(&t, g, to*rows, hi)
	default:
		size := room / rows * rows
		for ; lo < hi; lo = min(hi, (lo/rows*rows)+size) {
			c.byTaps(&t, lo, min(hi, (lo/rows*rows)+size))
		}
	}
}

// segment is some rows of a table that share their taps.
type segment struct {
	g          *Gather
	row, pixel int // where they begin in the table
	rows       int
}

// allTaps computes rows of a gather that is c.G or a part of it.
func (c *Conv) allTaps(t *table, g *Gather, lo, hi int) {
	size := min(tableRows, tableLen/max(1, len(g.Taps)))
	for lo < hi {
		s := segment{g: g, rows: share(hi-lo, size)}
		t.fill(g, lo, s.rows, c.X, c.XPitch, c.YPitch)
		for co := 0; co < c.Cout; {
			outputs := nextOutputs(c.Cout - co)
			c.blocks(t, &s, co, outputs)
			co += outputs
		}
		lo += s.rows
	}
}

// mostSegments is how many sets of taps a gather that is taken apart has at most: those of
// a 7x7 window.
const mostSegments = 49

// byTaps computes rows that fit a table, each by the taps that are not padding: all rows
// for some outputs before the next, because weights are many where images are small.
func (c *Conv) byTaps(t *table, lo, hi int) {
	var list [mostSegments]segment
	segments := c.segments(t, list[:0], lo, hi)
	for co := 0; co < c.Cout; {
		outputs := nextOutputs(c.Cout - co)
		for i := range segments {
			c.blocks(t, &segments[i], co, outputs)
		}
		co += outputs
	}
}

// segments fills a table with rows by the taps that are not padding.
func (c *Conv) segments(t *table, list []segment, lo, hi int) []segment {
	t.reset()
	g, per := c.G, c.G.Rows()
	for i := range g.parts {
		p := &g.parts[i]
		s := segment{g: p, row: t.rows, pixel: t.entries}
		for image := lo / per; image*per < hi; image++ {
			from, to := p.within(g, max(lo-image*per, 0), min(hi-image*per, per))
			if from < to {
				t.add(p, image*p.Rows()+from, to-from, c.X, c.XPitch, c.YPitch)
			}
		}
		if s.rows = t.rows - s.row; s.rows > 0 {
			list = append(list, s)
		}
	}
	return list
}

// within returns the rows of a part that are rows [lo, hi) of the gather g it belongs to.
func (g *Gather) within(whole *Gather, lo, hi int) (from, to int) {
	if lo == 0 && hi == whole.Rows() {
		return 0, g.Rows()
	}
	out := func(r int) int32 {
		if whole.Out != nil {
			return whole.Out[r]
		}
		return int32(r)
	}
	from, _ = slices.BinarySearch(g.Out, out(lo))
	to, _ = slices.BinarySearch(g.Out, out(hi-1)+1)
	return from, to
}

// blocks computes so many outputs of a segment.
func (c *Conv) blocks(t *table, s *segment, co, outputs int) {
	taps := len(s.g.Taps)
	size := passWork / max(1, taps*c.Cin*blockOutputs)
	for from := 0; from < s.rows; {
		n := share(s.rows-from, size)
		m, tiles, less := even(n, blockRows)
		convBlocks(&t.pixels[s.pixel+from*taps], &t.offsets[s.row+from], nil, 8*taps, 0, 0, m, tiles, less,
			outputs, first(s.g.Taps, 0), taps, 4*(c.Cin&^3), 4*c.Cin,
			&c.W[PackedIndex(c.Taps, c.InMax, co, 0, 0)], 4*Panel*c.InMax, 4*Panel*c.InMax*c.Taps,
			&c.Y[co], first(c.Res, co), first(c.Scale, co), first(c.Shift, co), int(c.Act), c.next(co, outputs, s.g.Taps))
		from += n
	}
}

// runBytes is how long a run of weights is at most that is over before the processor has
// noticed that it is one.
const runBytes = 32 << 10

// next returns the distance in bytes from the weights of the last tap to those of the first
// for the outputs that follow, 0 if they need not be asked for.
func (c *Conv) next(co, outputs int, taps []int32) int {
	if len(taps) == 0 || 4*Panel*c.Cin > runBytes {
		return 0
	}
	next := int(taps[0]-taps[len(taps)-1]) * 4 * Panel * c.InMax
	if co+outputs < c.Cout {
		next += 4 * Panel * c.InMax * c.Taps * (outputs / Panel)
	}
	return next
}

// linear is for rows whose inputs and outputs follow each other: a 1x1 convolution with
// stride 1, or a fully connected layer.
func (c *Conv) linear(lo, hi int) {
	size := passWork / (c.Cin * blockOutputs)
	for lo < hi {
		n := share(hi-lo, size)
		m, tiles, less := even(n, blockRows)
		for co := 0; co < c.Cout; {
			outputs := nextOutputs(c.Cout - co)
			y := lo*c.YPitch + co
			convBlocks(nil, nil, &c.X[lo*c.XPitch], 4*c.XPitch, 0, 4*c.YPitch, m, tiles, less,
				outputs, &c.G.Taps[0], 1, 4*(c.Cin&^3), 4*c.Cin,
				&c.W[PackedIndex(c.Taps, c.InMax, co, 0, 0)], 4*Panel*c.InMax, 4*Panel*c.InMax*c.Taps,
				&c.Y[y], first(c.Res, y), first(c.Scale, co), first(c.Shift, co), int(c.Act), c.next(co, outputs, c.G.Taps))
			co += outputs
		}
		lo += n
	}
}
