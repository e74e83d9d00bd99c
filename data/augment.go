package data

import "math/rand/v2"

// Augment says how training images are varied. The zero value leaves them as they are.
type Augment struct {
	Pad     int  // shift each image by -Pad..Pad pixels in both directions (random crop of the padded image)
	Reflect bool // fill what a shift lays bare with the mirrored image instead of the mean pixel
	Flip    bool // mirror left and right with probability 1/2
}

// augmenter applies an Augment. It is scratch space of one goroutine.
type augmenter struct {
	Augment
	h, w    int
	norm    *Normaliser
	pcg     rand.PCG
	rng     *rand.Rand
	columns []int // source column of each output column
}

func newAugmenter(a Augment, set *Set, norm *Normaliser) *augmenter {
	g := &augmenter{Augment: a, h: set.H, w: set.W, norm: norm, columns: make([]int, set.W)}
	g.rng = rand.New(&g.pcg)
	return g
}

// image writes one normalised image, varied by chance that depends on seed, epoch and index alone.
func (g *augmenter) image(dst []float32, src []uint8, seed, epoch, index uint64) {
	if g.Augment == (Augment{}) {
		g.norm.Apply(dst, src)
		return
	}
	g.pcg.Seed(mix(seed, epoch), mix(epoch+1, index))
	dy, dx := g.rng.IntN(2*g.Pad+1)-g.Pad, g.rng.IntN(2*g.Pad+1)-g.Pad
	flip := g.Flip && g.rng.Uint64()&1 == 1
	x0, x1 := g.mapColumns(dx, flip)
	c := len(g.norm.table)
	row := g.w * c
	for y := range g.h {
		out := dst[y*row : (y+1)*row]
		sy := y + dy
		if g.Reflect {
			sy = mirror(sy, g.h)
		}
		if sy < 0 || sy >= g.h {
			clear(out) // the mean pixel is 0 once normalised
			continue
		}
		clear(out[:x0*c])
		g.gather(out[x0*c:x1*c], src[sy*row:(sy+1)*row], g.columns[x0:x1])
		clear(out[x1*c:])
	}
}

// mapColumns finds the source of every output column; those in [x0, x1) have one.
func (g *augmenter) mapColumns(dx int, flip bool) (x0, x1 int) {
	x0, x1 = 0, g.w
	if !g.Reflect {
		x0, x1 = max(-dx, 0), min(g.w-dx, g.w)
	}
	if flip {
		x0, x1 = g.w-x1, g.w-x0
	}
	for x := x0; x < x1; x++ {
		sx := x
		if flip {
			sx = g.w - 1 - x
		}
		g.columns[x] = mirror(sx+dx, g.w)
	}
	return x0, x1
}

// gather writes the normalised pixels of row at the given columns.
func (g *augmenter) gather(out []float32, row []uint8, columns []int) {
	switch table := g.norm.table; len(table) {
	case 1:
		t := &table[0]
		out = out[:len(columns)]
		for i, x := range columns {
			out[i] = t[row[x]]
		}
	case 3:
		r, gr, b := &table[0], &table[1], &table[2]
		for i, x := range columns {
			p, o := row[3*x:3*x+3], out[3*i:3*i+3]
			o[0], o[1], o[2] = r[p[0]], gr[p[1]], b[p[2]]
		}
	default:
		c := len(table)
		for i, x := range columns {
			for ch := range c {
				out[i*c+ch] = table[ch][row[x*c+ch]]
			}
		}
	}
}

// mirror reflects i into 0..n-1 about the first and last element, which are not repeated.
func mirror(i, n int) int {
	if i < 0 {
		i = -i
	}
	if i >= n {
		i = 2*(n-1) - i
	}
	return i
}

// mix hashes two words into one by the finaliser of SplitMix64 (Steele, Lea, Flood 2014), so that
// neighbouring seeds, epochs and indices give unrelated streams.
func mix(a, b uint64) uint64 {
	z := a + 0x9e3779b97f4a7c15*(b+1)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
