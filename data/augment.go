package data

import (
	"fmt"
	"math"
	"math/rand/v2"
)

// Augment says how training images are varied. The zero value leaves them as they are.
type Augment struct {
	Pad       int  // shift each image by -Pad..Pad pixels in both directions (random crop of the padded image)
	Reflect   bool // fill what a shift lays bare with the mirrored image instead of the mean pixel
	Flip      bool // mirror left and right with probability 1/2
	Alternate bool // with Flip: mirror half of the images in even epochs and the other half in odd ones
	Cutout    int  // blank a square of so many pixels a side, as far as it lies inside the image
	// Erase is the probability that a rectangle is filled with random pixels.
	Erase float64
	// Ops operations of RandAugment are applied at Magnitude, up to 10.
	Ops       int
	Magnitude float64
	// MixUp and CutMix are the parameters α of the Beta distributions that the shares of two
	// images are drawn from; 0 is without. With both, each batch takes one of them by chance.
	MixUp, CutMix float64
}

// Validate reports the first field that is out of range.
func (a *Augment) Validate() error {
	switch {
	case a.Pad < 0:
		return fmt.Errorf("images cannot be shifted by %d pixels: use 0 or more", a.Pad)
	case a.Reflect && a.Pad == 0:
		return fmt.Errorf("images that are not shifted lay nothing bare to be mirrored: shift them too")
	case a.Alternate && !a.Flip:
		return fmt.Errorf("images that are not mirrored cannot be mirrored in alternate epochs: switch mirroring on too")
	case a.Cutout < 0:
		return fmt.Errorf("cutout of %d pixels: use 0 or more", a.Cutout)
	case !(a.Erase >= 0 && a.Erase <= 1):
		return fmt.Errorf("random erasing of %g: a probability is from 0 to 1", a.Erase)
	case a.Ops < 0 || a.Ops > 16:
		return fmt.Errorf("%d operations of RandAugment: use 0 to 16", a.Ops)
	case !(a.Magnitude >= 0 && a.Magnitude <= 10) || a.Ops > 0 && a.Magnitude == 0:
		return fmt.Errorf("RandAugment of magnitude %g: use a number above 0 and up to 10", a.Magnitude)
	case a.Ops == 0 && a.Magnitude > 0:
		return fmt.Errorf("RandAugment of magnitude %g without operations does nothing: say how many an image", a.Magnitude)
	case !(a.MixUp >= 0 && a.MixUp <= 10) || !(a.CutMix >= 0 && a.CutMix <= 10):
		return fmt.Errorf("MixUp %g and CutMix %g: use 0 (without) to 10", a.MixUp, a.CutMix)
	}
	return nil
}

// augmenter applies an Augment. It is scratch space of one goroutine.
type augmenter struct {
	Augment
	h, w    int
	seed    uint64
	norm    *Normaliser
	mean    []uint8 // pixel
	pcg     rand.PCG
	rng     *rand.Rand
	columns []int // source column of each output column
	ops     randAugment
	scaler  scaler
	full    []float32 // an image before it is scaled
}

func newAugmenter(a Augment, set *Set, norm *Normaliser, seed uint64) *augmenter {
	g := &augmenter{Augment: a, h: set.H, w: set.W, seed: seed, norm: norm, columns: make([]int, set.W)}
	g.rng = rand.New(&g.pcg)
	for _, m := range set.Mean {
		g.mean = append(g.mean, uint8(math.Round(float64(m)*255)))
	}
	g.ops = newRandAugment(set.H, set.W, set.C, g.mean)
	g.scaler = scaler{h: set.H, w: set.W, c: set.C}
	g.full = make([]float32, set.ImageSize())
	return g
}

// image writes one normalised image of pixels x pixels, varied by chance that depends on
// seed, epoch and index alone. 0 pixels leave the size as it is.
func (g *augmenter) image(dst []float32, src []uint8, epoch, index uint64, pixels int) {
	if pixels != 0 && (pixels != g.h || pixels != g.w) {
		g.vary(g.full, src, epoch, index)
		g.scaler.scale(dst, g.full, pixels)
		return
	}
	g.vary(dst, src, epoch, index)
}

func (g *augmenter) vary(dst []float32, src []uint8, epoch, index uint64) {
	if g.Augment == (Augment{}) {
		g.norm.Apply(dst, src)
		return
	}
	g.pcg.Seed(mix(g.seed, epoch), mix(epoch+1, index))
	dy, dx := g.rng.IntN(2*g.Pad+1)-g.Pad, g.rng.IntN(2*g.Pad+1)-g.Pad
	flip := g.Flip && g.rng.Uint64()&1 == 1
	if g.Alternate {
		flip = (mix(g.seed, index)+epoch)&1 == 1
	}
	if g.Ops > 0 {
		src = g.ops.apply(src, g.Ops, g.Magnitude, g.rng)
	}
	g.place(dst, src, dy, dx, flip)
	if g.Cutout > 0 {
		g.cutout(dst)
	}
	if g.Erase > 0 && g.rng.Float64() < g.Erase {
		g.erase(dst)
	}
}

// place writes the shifted and mirrored image.
func (g *augmenter) place(dst []float32, src []uint8, dy, dx int, flip bool) {
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

// cutout blanks a square around a pixel drawn from the whole image (DeVries and Taylor 2017).
func (g *augmenter) cutout(dst []float32) {
	b := boxAround(g.rng.IntN(g.h), g.rng.IntN(g.w), g.Cutout, g.Cutout, g.h, g.w)
	c := len(g.norm.table)
	for y := b.y0; y < b.y1; y++ {
		clear(dst[(y*g.w+b.x0)*c : (y*g.w+b.x1)*c])
	}
}

// erase fills a rectangle with random pixels: 2 to 33 % of the image, of an aspect ratio between
// 0.3 and 3.3 (Zhong et al. 2020, algorithm 1).
func (g *augmenter) erase(dst []float32) {
	const tries = 100
	for range tries {
		area := (0.02 + 0.31*g.rng.Float64()) * float64(g.h*g.w)
		aspect := 0.3 + (1/0.3-0.3)*g.rng.Float64()
		h, w := int(math.Sqrt(area*aspect)), int(math.Sqrt(area/aspect))
		y0, x0 := g.rng.IntN(g.h), g.rng.IntN(g.w)
		if h < 1 || w < 1 || y0+h > g.h || x0+w > g.w {
			continue
		}
		c := len(g.norm.table)
		for y := y0; y < y0+h; y++ {
			for i := x0 * c; i < (x0+w)*c; i++ {
				dst[y*g.w*c+i] = g.norm.table[i%c][g.rng.IntN(256)]
			}
		}
		return
	}
}

// box is a rectangle of pixels, its far edges not included.
type box struct{ y0, x0, y1, x1 int }

// boxAround returns the rectangle of h x w pixels around pixel y, x, cut at the edges of the image.
func boxAround(y, x, h, w, height, width int) box {
	y0, x0 := y-h/2, x-w/2
	return box{max(y0, 0), max(x0, 0), min(y0+h, height), min(x0+w, width)}
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
