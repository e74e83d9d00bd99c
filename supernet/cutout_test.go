package supernet

import (
	"math/rand/v2"
	"slices"
	"testing"

	"weft/kernel"
	"weft/nn"
)

// cut cuts a subnet out of net, with statistics measured on x.
func cut(t testing.TB, net *Supernet, a Arch, x []float32) (*Supernet, *nn.Graph) {
	t.Helper()
	g, err := net.Space.Lower(a)
	if err != nil {
		t.Fatal(err)
	}
	norms := Norms{}
	norms.Add(nn.NewExec(net.W, kernel.NewPool(1), false), g, [][]float32{x})
	c, own, err := net.Cut(a, norms)
	if err != nil {
		t.Fatal(err)
	}
	graph, err := c.Space.Lower(c.Space.Max())
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range graph.NormKeys() {
		if _, ok := own[k]; k != 0 && !ok {
			t.Fatal("a layer of the cut-out has no statistics")
		}
	}
	return c, graph
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
				c, graph := cut(t, net, a, x)
				want := slices.Clone(nn.NewExec(c.W, pool, false).Forward(graph, x, n))
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
		c, graph := cut(b, net, net.Space.Min(), x)
		for _, k := range []struct {
			name  string
			exec  *nn.Exec
			graph *nn.Graph
		}{{"sliced", nn.NewExec(net.W, pool, false), g}, {"cut out", nn.NewExec(c.W, pool, false), graph}} {
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
