package search

import (
	"math/rand/v2"
	"testing"

	"weft/nn"
	"weft/supernet"
	"weft/tensor"
)

// peak counts, operation by operation, the float32s that must be there while it runs: what it reads and writes and what a
// later one still reads of what was there before.
func peak(g *nn.Graph) int {
	reads := func(op *nn.Op, v int) bool { return op.In == v || op.Res == v }
	most := 0
	for i := range g.Ops {
		sum := 0
		for v, shape := range g.Values {
			there, needed := v == 0, g.Ops[i].Out == v
			for j := range g.Ops {
				there = there || j <= i && g.Ops[j].Out == v
				needed = needed || j >= i && reads(&g.Ops[j], v)
			}
			if there && needed {
				sum += shape.H * shape.W * shape.C
			}
		}
		most = max(most, sum)
	}
	return most
}

func TestMemory(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for _, name := range supernet.Names() {
		s, err := supernet.Find(name, 10, 3)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range []supernet.Arch{s.Min(), s.Max(), s.Sample(rng, supernet.Sampling{}), s.Sample(rng, supernet.Sampling{ElasticKernel: true})} {
			g, err := s.Lower(a)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := Memory(g), 4*(g.Params()+peak(g)); got != want {
				t.Errorf("%s of %s takes %d bytes: want %d", s.Format(a), name, got, want)
			}
		}
	}
}

// A shortcut's tensor is there while the path beside it runs, and once however often it is read.
func TestMemoryOfAShortcut(t *testing.T) {
	pool := func(in, out, res int) nn.Op {
		kind := nn.MaxPool
		if res >= 0 {
			kind = nn.Add
		}
		return nn.Op{Kind: kind, Layer: -1, In: in, Out: out, Res: res, K: 3, Stride: 1}
	}
	shapes := func(channels ...int) (s []tensor.Shape) {
		for _, c := range channels {
			s = append(s, tensor.Shape{H: 2, W: 2, C: c})
		}
		return s
	}
	for _, c := range []struct {
		name     string
		values   []tensor.Shape
		ops      []nn.Op
		channels int // of values that are there at a time
	}{
		{"a chain", shapes(10, 10, 10, 10), []nn.Op{pool(0, 1, -1), pool(1, 2, -1), pool(2, 3, -1)}, 20},
		{"around two", shapes(10, 10, 10, 10), []nn.Op{pool(0, 1, -1), pool(1, 2, -1), pool(2, 3, 0)}, 30},
		{"around a wide middle", shapes(10, 50, 40, 10, 10), []nn.Op{pool(0, 1, -1), pool(1, 2, -1), pool(2, 3, -1), pool(3, 4, 0)}, 100},
		{"to itself", shapes(10, 10, 30), []nn.Op{pool(0, 1, 0), pool(1, 2, -1)}, 40},
	} {
		if got, want := Memory(&nn.Graph{Values: c.values, Ops: c.ops}), 4*4*c.channels; got != want {
			t.Errorf("a shortcut, %s: %d bytes, want %d", c.name, got, want)
		}
	}
}
