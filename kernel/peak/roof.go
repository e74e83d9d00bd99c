package peak

import "time"

// Roof is what one core can do at most: the lesser of Flops and of a bandwidth times a
// computation's arithmetic intensity (Williams, Waterman and Patterson 2009).
type Roof struct {
	Flops  float64 // floating-point operations a second
	Cache  float64 // bytes read and written a second, in a block that the second-level cache holds
	Memory float64 // likewise, far larger than the caches
}

// Sizes of the blocks that are copied, both halves together.
const (
	cacheBlock  = 512 << 10
	memoryBlock = 256 << 20
)

// Measure takes the best of several trials.
func Measure(now func() time.Time) Roof {
	const trials = 9
	fma := func() { FMA(1 << 18) }
	small, large := touched(cacheBlock), touched(memoryBlock)
	return Roof{
		Flops:  Flops * (1 << 18) / shortest(trials, now, fma),
		Cache:  64 * cacheBlock / shortest(trials, now, func() { move(small, 64) }),
		Memory: memoryBlock / shortest(trials, now, func() { move(large, 1) }),
	}
}

// Seconds returns the least time for so many operations on so many bytes from the caches.
func (r *Roof) Seconds(flops, bytes float64) float64 { return max(flops/r.Flops, bytes/r.Cache) }

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
