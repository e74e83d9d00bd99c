package main

import (
	"time"

	"gonum.org/v1/plot/plotter"

	"weft/kernel/peak"
)

// roof is what one core can do at most.
type roof struct {
	flops  float64 // floating-point operations a second
	cache  float64 // bytes read and written a second, in a block that the second-level cache holds
	memory float64 // likewise, far larger than the caches
}

// Sizes of the blocks that are copied, both blocks together.
const (
	cacheBlock  = 512 << 10
	memoryBlock = 256 << 20
)

// measureRoof takes the best of several trials.
func measureRoof(now func() time.Time) roof {
	const trials = 9
	fma := func() { peak.FMA(1 << 18) }
	small, large := touched(cacheBlock), touched(memoryBlock)
	return roof{
		flops:  peak.Flops * (1 << 18) / shortest(trials, now, fma),
		cache:  64 * cacheBlock / shortest(trials, now, func() { move(small, 64) }),
		memory: memoryBlock / shortest(trials, now, func() { move(large, 1) }),
	}
}

// touched returns a block whose every page is its own: pages that were never written all
// read from one.
func touched(n int) []byte {
	block := make([]byte, n)
	for i := range block {
		block[i] = byte(i)
	}
	return block
}

// move copies the first half of the block onto the second so many times.
func move(block []byte, times int) {
	h := len(block) / 2
	for range times {
		copy(block[h:], block[:h])
	}
}

// shortest returns the seconds of the fastest of some calls of f, after one untimed.
func shortest(trials int, now func() time.Time, f func()) float64 {
	f()
	best := time.Duration(0)
	for i := range trials {
		start := now()
		f()
		if d := now().Sub(start); i == 0 || d < best {
			best = d
		}
	}
	return best.Seconds()
}

// line is the roof over intensities from lo to hi: it rises with the given bandwidth up
// to the ridge and is flat from there.
func (r *roof) line(bandwidth, lo, hi float64) plotter.XYs {
	at := func(x float64) plotter.XY { return plotter.XY{X: x, Y: min(r.flops, bandwidth*x) / 1e9} }
	if ridge := r.flops / bandwidth; lo < ridge && ridge < hi {
		return plotter.XYs{at(lo), at(ridge), at(hi)}
	}
	return plotter.XYs{at(lo), at(hi)}
}
