package supernet

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"weft/kernel"
	"weft/quant"
	"weft/tensor"
)

// cutOut8 returns the plan with int8 weights of its own, packed for the channels in use
// alone.
func cutOut8(t testing.TB, p *Plan) *Plan {
	t.Helper()
	c, q := *p, *p.int8
	c.int8, q.steps = &q, slices.Clone(q.steps)
	for i := range q.steps {
		o := *q.steps[i].op
		switch o.kind {
		case quant.Conv, quant.FC:
			cutConv8(t, &o)
		case quant.Depthwise:
			o.dw.W = slices.Clone(o.dw.W[:kernel.DepthwiseLen8(o.dw.C, len(o.dw.G.Taps))])
		}
		q.steps[i].op = &o
	}
	return &c
}

func cutConv8(t testing.TB, o *op8) {
	t.Helper()
	c := &o.conv
	w := tensor.Make[int8](kernel.PackedLen8(c.Cout, c.Taps, c.Cin))
	for out := range c.Cout {
		for tap := range c.Taps {
			for in := range c.Cin {
				w[kernel.PackedIndex8(c.Taps, c.Cin, out, tap, in)] = c.W[kernel.PackedIndex8(c.Taps, c.InMax, out, tap, in)]
			}
		}
	}
	c.W, c.InMax = w, c.Cin
	if o.squared != nil {
		s := *o.squared
		s.u = tensor.Make[int16](kernel.Winograd8Len(c.Cout, c.Cin))
		if !kernel.Winograd8Pack(s.u, w, c.Cout, c.Cin) {
			t.Fatal("the sums of a slice do not fit though those of the whole do")
		}
		o.squared = &s
	}
}

// TestInt8SliceIsCutOut: a subnet that reads slices of the int8 weights gives the same bits
// as one whose weights were cut out.
func TestInt8SliceIsCutOut(t *testing.T) {
	for _, name := range append(spaces8, "resnet-32") {
		n := newNet8(t, name)
		table := NewInt8(n.net, n.norms, n.ranges)
		pool := kernel.NewPool(2)
		defer pool.Close()
		w := NewWorker(pool)
		x := testImages(n.net.Space, 8)
		for _, a := range n.archs {
			p, err := table.Plan(a)
			if err != nil {
				t.Fatal(err)
			}
			c := cutOut8(t, p)
			for _, images := range []int{1, 8} {
				got, want := make([]float32, images*p.Classes), make([]float32, images*p.Classes)
				w.Run(p, x, images, got)
				w.Run(c, x, images, want)
				if !slices.Equal(got, want) {
					t.Errorf("%s, %d images: the slice gives %v, cut out it is %v", n.net.Space.Format(a), images, got, want)
				}
			}
		}
	}
}

// BenchmarkSlice8 is BenchmarkSlice in int8.
func BenchmarkSlice8(b *testing.B) {
	for _, name := range []string{"resnet-32", "mbv3-32", "ofa-resnet50d"} {
		for _, batch := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/b%d", name, batch), func(b *testing.B) {
				noLoop(b)
				net := newTestNet(b, name)
				pool := kernel.NewPool(1)
				defer pool.Close()
				x := testImages(net.Space, batch)
				norms, ranges := Norms{}, Ranges{}
				table := NewInt8(net, norms, ranges)
				product := 1.0
				for i, a := range sixUniform(net.Space) {
					madeUp(b, net.Space, norms, a, rand.New(rand.NewPCG(1, 2)))
					madeUpRanges(b, net.Space, ranges, a)
					whole, err := table.Plan(a)
					if err != nil {
						b.Fatal(err)
					}
					alone := cutOut8(b, whole)
					w, logits := NewWorker(pool), make([]float32, batch*whole.Classes)
					rounds := min(max(3, 200_000_000/(batch*whole.MACs/100+1)), 400)
					best := duel(rounds, func() { w.Run(whole, x, batch, logits) }, func() { w.Run(alone, x, batch, logits) })
					ratio := float64(best[1]) / float64(best[0])
					product *= ratio
					b.ReportMetric(ratio, fmt.Sprintf("u%d", i))
				}
				b.ReportMetric(math.Pow(product, 1.0/6), "geomean")
			})
		}
	}
}

// madeUpRanges fills in what the subnet lacks.
func madeUpRanges(b testing.TB, s *Space, ranges Ranges, a Arch) {
	b.Helper()
	g, err := s.Lower(a)
	if err != nil {
		b.Fatal(err)
	}
	keys := g.ValueKeys()
	for i := range g.Ops {
		for k := len(ranges[keys[g.Ops[i].Out]]); k < len(rangesOf(&g.Ops[i])); k++ {
			ranges[keys[g.Ops[i].Out]] = append(ranges[keys[g.Ops[i].Out]], quant.Range{Lo: -2, Hi: 3})
		}
	}
}
