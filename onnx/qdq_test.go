package onnx

import (
	"math/rand/v2"
	"testing"

	"weft/kernel"
	"weft/supernet"
)

// int8Logits returns what weft makes of images in int8, and the network's description as a file.
func int8Logits(t *testing.T, net *supernet.Supernet, a supernet.Arch, images []float32, rng *rand.Rand) (want []float32, file []byte) {
	t.Helper()
	pool := kernel.NewPool(1)
	defer pool.Close()
	norms, ranges := measured(t, net, a, rng), supernet.Ranges{}
	if _, err := ranges.Add(net, norms, a, [][]float32{normalised(net, pixelsOf(net.Space, 4, rng))}, pool); err != nil {
		t.Fatal(err)
	}
	table := supernet.NewInt8(net, norms, ranges)
	n, err := table.Network(a)
	if err != nil {
		t.Fatal(err)
	}
	if file, err = ExportInt8(n, net.Space.Format(a), Options{Producer: "test"}); err != nil {
		t.Fatal(err)
	}
	p, err := table.Plan(a)
	if err != nil {
		t.Fatal(err)
	}
	count := len(images) / net.Space.Input.Size()
	want = make([]float32, count*net.Space.Classes)
	supernet.NewWorker(pool).Run(p, images, count, want)
	return want, file
}

// TestONNXRuntimeAgreesInInt8: exported int8 subnets give in ONNX Runtime what they give in weft. The logits of most are
// the same sums of integers. In some, one byte in a million before them is another by one: a residual or a gate that
// falls between two integers, which ONNX Runtime's vectors and its remainders round apart.
func TestONNXRuntimeAgreesInInt8(t *testing.T) {
	ortPackage(t)
	const n = 4
	for _, sp := range []struct {
		name   string
		pixels int
	}{{"resnet-28", 28}, {"thin", 40}, {"mbv3-28-k35", 28}} {
		t.Run(sp.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(11, 12))
			net := randomNet(t, sp.name, sp.pixels, rng)
			in := net.Space.Input
			var jobs []ortJob
			var want [][]float32
			all := archs(net.Space, 14, rng)
			for _, a := range all {
				images := pixelsOf(net.Space, n, rng)
				w, file := int8Logits(t, net, a, images, rng)
				want = append(want, w)
				jobs = append(jobs, ortJob{model: file, input: planar(normalised(net, images), net.Space, n), shape: []int{n, in.C, in.H, in.W}})
			}
			worst, exact := 0.0, 0
			for i, got := range ortRun(t, jobs) {
				d := difference(got, want[i])
				worst = max(worst, d)
				if d < 1e-6 {
					exact++
				}
				if d > 0.01 {
					t.Errorf("%s: ONNX Runtime says %v, weft %v", net.Space.Format(all[i]), got, want[i])
				}
			}
			t.Logf("%d of %d subnets give the same integers; largest relative difference %.2g", exact, len(jobs), worst)
			if exact < len(jobs)*3/4 {
				t.Errorf("only %d of %d subnets give the same integers", exact, len(jobs))
			}
		})
	}
}
