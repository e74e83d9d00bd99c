package tensor

import (
	"testing"
	"unsafe"
)

func aligned(s []float32) bool { return uintptr(unsafe.Pointer(unsafe.SliceData(s)))%Align == 0 }

func TestFloatsAreAlignedAndZero(t *testing.T) {
	if s := Floats(0); len(s) != 0 {
		t.Errorf("Floats(0) has %d values", len(s))
	}
	for n := 1; n < 70; n++ {
		s := Floats(n)
		if len(s) != n || cap(s) != n || !aligned(s) {
			t.Fatalf("Floats(%d): length %d, capacity %d, aligned %v", n, len(s), cap(s), aligned(s))
		}
		for _, v := range s {
			if v != 0 {
				t.Fatalf("Floats(%d) holds %v", n, v)
			}
		}
	}
}

// TestArena takes slices of many sizes over several rounds: they are aligned, do not
// overlap, and only the first round allocates.
func TestArena(t *testing.T) {
	sizes := []int{1, 15, 16, 17, 1000, 1 << 16, 3, 1<<16 + 1, 40}
	var a Arena
	round := func() {
		a.Reset()
		for i, n := range sizes {
			s := a.Take(n)
			if len(s) != n || !aligned(s) {
				t.Fatalf("slice %d: length %d, aligned %v", i, len(s), aligned(s))
			}
			for j := range s {
				s[j] = float32(i)
			}
		}
	}
	round()
	bytes := a.Bytes()
	if n := testing.AllocsPerRun(5, round); n != 0 || a.Bytes() != bytes {
		t.Errorf("later rounds allocate %v times and grow the arena from %d to %d bytes", n, bytes, a.Bytes())
	}
	a.Reset()
	taken := make([][]float32, len(sizes))
	for i, n := range sizes {
		taken[i] = a.Take(n)
		for j := range taken[i] {
			taken[i][j] = float32(i)
		}
	}
	for i, s := range taken {
		for _, v := range s {
			if v != float32(i) {
				t.Fatalf("slice %d holds a value of slice %v", i, v)
			}
		}
	}
}

func TestShape(t *testing.T) {
	if s := (Shape{H: 2, W: 3, C: 5}); s.Pixels() != 6 || s.Size() != 30 || s.String() != "2x3x5" {
		t.Errorf("%v: %d pixels, %d values", s, s.Pixels(), s.Size())
	}
}
