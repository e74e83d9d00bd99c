package supernet

import (
	"math/rand/v2"
	"testing"
)

// TestPartsCover: the parts of every job are not empty and make up all of it, in order.
func TestPartsCover(t *testing.T) {
	for _, name := range []string{"resnet-32", "mbv3-32"} {
		s, err := Find(name, 10, 3)
		if err != nil {
			t.Fatal(err)
		}
		net := New(s, []float32{0, 0, 0}, []float32{1, 1, 1}, rand.New(rand.NewPCG(1, 1)))
		p, err := NewTable(net, net.Neutral(s.Max())).Plan(s.Max())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.steps {
			for images := 1; images < 10; images++ {
				j := job{op: c.op, images: images}
				for j.phase = range c.op.phases() {
					parts := j.cut()
					rows, panels := j.size()
					checkStripes(t, c.op.name, parts.rows, rows)
					checkStripes(t, c.op.name, parts.panels, panels)
				}
			}
		}
	}
}

func checkStripes(t *testing.T, name string, s stripes, size int) {
	t.Helper()
	end := 0
	for i := range s.n {
		lo, hi := s.stripe(i)
		if lo != end || hi <= lo {
			t.Fatalf("%s: part %d of %d is [%d, %d), the one before ends at %d", name, i, s.n, lo, hi, end)
		}
		end = hi
	}
	if end != size {
		t.Fatalf("%s: %d parts end at %d of %d", name, s.n, end, size)
	}
}
