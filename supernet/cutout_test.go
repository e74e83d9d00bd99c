package supernet

import (
	"math/rand/v2"
	"slices"
	"testing"

	"weft/kernel"
	"weft/nn"
)

// cutOut returns a graph over layers of exactly the sizes that g uses, with weights of its own.
func cutOut(net *Supernet, g *nn.Graph) (*nn.Graph, *nn.Weights) {
	c := &nn.Graph{Values: g.Values, Ops: slices.Clone(g.Ops)}
	var from []int
	for i := range c.Ops {
		op := &c.Ops[i]
		if op.Layer < 0 {
			continue
		}
		l := g.Layers[op.Layer]
		from = append(from, op.Layer)
		l.In, l.Out, l.Hidden, l.Kernels = g.Values[op.In].C, g.Values[op.Out].C, op.Hidden, nil
		if l.K > 0 {
			l.K = op.K
		}
		op.Layer = len(c.Layers)
		c.Layers = append(c.Layers, l)
	}
	w := nn.NewWeights(c.Layers)
	for i := range w.Params {
		p := &w.Params[i]
		layer := from[p.Layer]
		if l := c.Layers[p.Layer]; l.Kind == nn.Depthwise && p.Role == nn.Weight {
			all := net.W.DeriveKernel(layer, l.K)
			for t := range l.Taps() {
				copy(w.Data[p.Off+t*l.Out:][:l.Out], all[t*g.Layers[layer].Out:])
			}
			continue
		}
		big := net.W.Find(layer, p.Role)
		src, shape := net.W.Canonical(net.W.Data, big), net.W.Params[big].Shape
		w.SetCanonical(w.Data, i, corner(src, shape, p.Shape))
	}
	return c, w
}

// corner copies the first entries of every axis.
func corner(src []float32, from, to []int) []float32 {
	if len(to) == 1 {
		return src[:to[0]]
	}
	var out []float32
	step := len(src) / from[0]
	for i := range to[0] {
		out = append(out, corner(src[i*step:(i+1)*step], from[1:], to[1:])...)
	}
	return out
}

// TestSubnetEqualsItsCutOut: a subnet that reads prefixes of the supernet's weights computes, to the bit, what the
// same network computes when it is cut out and packed by itself.
func TestSubnetEqualsItsCutOut(t *testing.T) {
	for _, name := range []string{"resnet-28s", "resnet-28", "resnet-32", "mbv3-28", "mbv3-28-k35"} {
		t.Run(name, func(t *testing.T) {
			net := newTestNet(t, name)
			pool := kernel.NewPool(1)
			const n = 3
			x := testImages(net.Space, n)
			rng := rand.New(rand.NewPCG(2, 3))
			archs := []Arch{net.Space.Min()}
			for range 4 {
				archs = append(archs, net.Space.Sample(rng, Sampling{ElasticKernel: true}))
			}
			whole := nn.NewExec(net.W, pool, false)
			for _, a := range archs {
				g, err := net.Space.Lower(a)
				if err != nil {
					t.Fatal(err)
				}
				c, w := cutOut(net, g)
				if err := c.Check(); err != nil {
					t.Fatal(err)
				}
				want := slices.Clone(nn.NewExec(w, pool, false).Forward(c, x, n))
				got := whole.Forward(g, x, n)
				for i := range want {
					if want[i] != got[i] {
						t.Fatalf("%s: logit %d is %v in the supernet, %v cut out", net.Space.Format(a), i, got[i], want[i])
					}
				}
			}
		})
	}
}

// BenchmarkSlice compares the smallest subnet, read in place, with the same network cut out: 16 images.
func BenchmarkSlice(b *testing.B) {
	for _, name := range []string{"resnet-28", "resnet-32"} {
		net := newTestNet(b, name)
		pool := kernel.NewPool(1)
		x := testImages(net.Space, 16)
		g, err := net.Space.Lower(net.Space.Min())
		if err != nil {
			b.Fatal(err)
		}
		c, w := cutOut(net, g)
		for _, k := range []struct {
			name  string
			exec  *nn.Exec
			graph *nn.Graph
		}{{"sliced", nn.NewExec(net.W, pool, false), g}, {"cut out", nn.NewExec(w, pool, false), c}} {
			b.Run(name+"/"+k.name, func(b *testing.B) {
				for b.Loop() {
					k.exec.Forward(k.graph, x, 16)
				}
			})
		}
	}
}

// BenchmarkActuation runs every uniform subnet on one image four times, either in a row or in turns: what the second
// takes longer is the cost of switching.
func BenchmarkActuation(b *testing.B) {
	net := newTestNet(b, "resnet-28")
	pool := kernel.NewPool(1)
	x := testImages(net.Space, 4)
	e, norms := nn.NewExec(net.W, pool, false), Norms{}
	table := NewTable(net, norms)
	var row, turns []*Plan
	for _, a := range net.Space.Uniform() {
		g, err := net.Space.Lower(a)
		if err != nil {
			b.Fatal(err)
		}
		norms.Add(e, g, [][]float32{x})
		p, err := table.Plan(a)
		if err != nil {
			b.Fatal(err)
		}
		row = append(row, p, p, p, p)
		turns = append(turns, p)
	}
	turns = slices.Concat(turns, turns, turns, turns)
	w, logits := NewWorker(pool), make([]float32, 10)
	for _, c := range []struct {
		name  string
		plans []*Plan
	}{{"in a row", row}, {"in turns", turns}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				for _, p := range c.plans {
					w.Run(p, x, 1, logits)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(c.plans)), "µs/run")
		})
	}
}
