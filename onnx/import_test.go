package onnx

import (
	"math/rand/v2"
	"os"
	"testing"

	"weft/supernet"
)

// TestRoundTrip: a subnet that was exported and imported gives the same logits.
func TestRoundTrip(t *testing.T) {
	for _, sp := range []struct {
		name   string
		pixels int
		within float64 // of the largest logit: folding rounds each weight once more
	}{{"resnet-28", 28, 1e-6}, {"resnet-28s", 17, 1e-6}, {"thin", 32, 1e-6}, {"mbv3-28-k35", 28, 1e-6}} {
		t.Run(sp.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			net := randomNet(t, sp.name, sp.pixels, rng)
			for i, a := range []supernet.Arch{net.Space.Min(), net.Space.Sample(rng, supernet.Sampling{ElasticKernel: true})} {
				norms, images := measured(t, net, a, rng), pixelsOf(net.Space, 3, rng)
				raw, err := Export(net, norms, a, Options{Pixels: i == 1, Classes: []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}})
				if err != nil {
					t.Fatal(err)
				}
				b, notes, err := Import(raw, ImportOptions{Name: "again"})
				if err != nil {
					t.Fatal(err)
				}
				want := logits(t, net, norms, a, images)
				got := logits(t, b.Net, b.Norms, b.Net.Space.Max(), images)
				t.Logf("%s: %.2g", net.Space.Format(a), difference(got, want))
				if d := difference(got, want); d > sp.within {
					t.Errorf("%s: the logits differ by %.2g of the largest", net.Space.Format(a), d)
				}
				before, err := net.Space.Lower(a)
				if err != nil {
					t.Fatal(err)
				}
				if s := b.Subnets[0]; s.MACs != before.MACs() || b.ClassNames[3] != "d" || len(notes) != 0 {
					t.Errorf("%d MACs became %d, class 3 is %q, notes %q", before.MACs(), s.MACs, b.ClassNames[3], notes)
				}
				again, err := b.Encode(false)
				if err != nil || len(again.Tensors) == 0 {
					t.Errorf("the imported bundle cannot be written: %v", err)
				}
			}
		})
	}
}

// TestResNet4b imports a network that others exported, of operators of version 9 with a
// flattened image before two fully connected layers.
func TestResNet4b(t *testing.T) {
	raw, err := os.ReadFile("../../shared/data/models/resnet_4b.onnx")
	if err != nil {
		t.Skip("no resnet_4b.onnx beside the checkout")
	}
	b, _, err := Import(raw, ImportOptions{Name: "resnet_4b", Mean: []float32{0.4914, 0.4822, 0.4465}, Std: []float32{0.2471, 0.2435, 0.2616}})
	if err != nil {
		t.Fatal(err)
	}
	if got := b.Net.Space.Classes; got != 10 || b.Net.Space.Input.H != 32 {
		t.Fatalf("%d classes, input %v", got, b.Net.Space.Input)
	}
	rng := rand.New(rand.NewPCG(3, 4))
	images := pixelsOf(b.Net.Space, 1, rng)
	want := ortRun(t, []ortJob{{model: raw, input: planar(normalised(b.Net, images), b.Net.Space, 1), shape: []int{1, 3, 32, 32}}})[0]
	got := logits(t, b.Net, b.Norms, b.Net.Space.Max(), images)
	if d := difference(got, want); d > 1e-5 {
		t.Errorf("ONNX Runtime says %v, weft %v", want, got)
	}
}
