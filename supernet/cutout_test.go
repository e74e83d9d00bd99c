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
