// Package tensor holds dense channels-last arrays: their shapes, their aligned
// storage and the arenas that plans and training steps carve them from. There is
// no arithmetic here; package kernel works on the slices.
package tensor

import (
	"fmt"
	"unsafe"
)

// Align is the byte alignment of every allocation: one cache line, two AVX2 vectors.
const Align = 64

// Make returns n zeroed values that start on an Align boundary; many of them lie on huge
// pages where the system has those.
func Make[T float32 | int8 | uint8 | int16](n int) []T {
	if n == 0 {
		return nil
	}
	size := int(unsafe.Sizeof(T(0)))
	s := make([]T, n+Align/size)
	preferHuge(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(s))), size*len(s)))
	off := (-int(uintptr(unsafe.Pointer(&s[0]))) & (Align - 1)) / size
	return s[off : off+n : off+n]
}

// Floats is Make for float32.
func Floats(n int) []float32 { return Make[float32](n) }

// Bytes is Make for bytes.
func Bytes(n int) []uint8 { return Make[uint8](n) }

// Shape is the extent of one image-like value: height, width, channels.
type Shape struct{ H, W, C int }

// Pixels returns H·W.
func (s Shape) Pixels() int { return s.H * s.W }

// Size returns H·W·C, the number of values of one image.
func (s Shape) Size() int { return s.H * s.W * s.C }

func (s Shape) String() string { return fmt.Sprintf("%dx%dx%d", s.H, s.W, s.C) }

// Arena is a block of floats that is carved into slices and reused as a whole. It
// grows only when Take asks for more than it ever held, so that a loop that takes
// the same slices each time allocates in its first round alone. An Arena is not safe
// for concurrent use.
type Arena struct {
	blocks [][]float32
	block  int
	used   int
}

// Take returns n floats with undefined contents, aligned to Align. They stay valid
// until Reset.
func (a *Arena) Take(n int) []float32 {
	m := (n + Align/4 - 1) &^ (Align/4 - 1)
	for a.block < len(a.blocks) {
		if b := a.blocks[a.block]; a.used+m <= len(b) {
			s := b[a.used : a.used+n : a.used+m]
			a.used += m
			return s
		}
		a.block++
		a.used = 0
	}
	size := max(m, 1<<16)
	a.blocks = append(a.blocks, Floats(size))
	a.block = len(a.blocks) - 1
	a.used = m
	return a.blocks[a.block][0:n:m]
}

// Reset makes the whole arena free again; slices taken before must not be used.
func (a *Arena) Reset() { a.block, a.used = 0, 0 }

// Bytes returns how much memory the arena holds.
func (a *Arena) Bytes() int {
	n := 0
	for _, b := range a.blocks {
		n += 4 * len(b)
	}
	return n
}
