package data

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// mixBatch mixes each image of a batch with the one as far from the batch's end, by MixUp (Zhang et
// al. 2018: all pixels) or CutMix (Yun et al. 2019: a rectangle), and notes its label and the share of
// the image's own. What is drawn depends on seed, epoch and step alone.
func (g *augmenter) mixBatch(b *Batch) {
	copyReversed(b.Other, b.Labels)
	b.Share = 1
	if g.MixUp == 0 && g.CutMix == 0 {
		return
	}
	g.pcg.Seed(mix(g.seed^0x6d69786564, uint64(b.Epoch)), mix(uint64(b.Epoch)+1, uint64(b.Step)))
	cut := g.CutMix > 0 && (g.MixUp == 0 || g.rng.Uint64()&1 == 1)
	alpha := g.MixUp
	if cut {
		alpha = g.CutMix
	}
	share := g.share(alpha)
	if !cut {
		b.Share = share
		b.pairs(func(x, y []float32) { blend(x, y, float32(share)) })
		return
	}
	side := math.Sqrt(1 - share)
	r := boxAround(g.rng.IntN(b.H), g.rng.IntN(b.W), int(side*float64(b.H)), int(side*float64(b.W)), b.H, b.W)
	b.Share = 1 - float64((r.y1-r.y0)*(r.x1-r.x0))/float64(b.H*b.W)
	b.pairs(func(x, y []float32) { swapBox(x, y, r, b.W, len(x)/(b.H*b.W)) })
}

// share draws from the symmetric Beta distribution. Where alpha is so small that the two gamma
// variates it is made of both round to 0, the share is one of its ends, as it is in the limit.
func (g *augmenter) share(alpha float64) float64 {
	s := distuv.Beta{Alpha: alpha, Beta: alpha, Src: g.rng}.Rand()
	if math.IsNaN(s) {
		return float64(g.rng.IntN(2))
	}
	return s
}

// pairs calls f with every two images that are mixed with each other.
func (b *Batch) pairs(f func(x, y []float32)) {
	size := len(b.Images) / b.N
	for i, j := 0, b.N-1; i < j; i, j = i+1, j-1 {
		f(b.Images[i*size:(i+1)*size], b.Images[j*size:(j+1)*size])
	}
}

// blend replaces x by share·x + (1 − share)·y and y by the mirror image of that.
func blend(x, y []float32, share float32) {
	y = y[:len(x)]
	for i, a := range x {
		d := (1 - share) * (y[i] - a)
		x[i] = a + d
		y[i] -= d
	}
}

// swapBox exchanges a rectangle of two images of width w with c channels.
func swapBox(x, y []float32, r box, w, c int) {
	for row := r.y0; row < r.y1; row++ {
		for i := (row*w + r.x0) * c; i < (row*w+r.x1)*c; i++ {
			x[i], y[i] = y[i], x[i]
		}
	}
}

func copyReversed(dst, src []int32) {
	for i, v := range src {
		dst[len(src)-1-i] = v
	}
}
