package onnx

import (
	"math/rand/v2"
	"testing"

	"weft/kernel"
	"weft/nn"
	"weft/supernet"
	"weft/tensor"
)

var (
	mean = []float32{0.485, 0.456, 0.406}
	std  = []float32{0.229, 0.224, 0.225}
)

// randomNet returns a supernet of a named space at so many pixels, with every weight,
// bias, scale, shift and kernel transform random.
func randomNet(t testing.TB, name string, pixels int, rng *rand.Rand) *supernet.Supernet {
	t.Helper()
	s := thin()
	if name != s.Name {
		var err error
		if s, err = supernet.Find(name, 10, 3); err != nil {
			t.Fatal(err)
		}
	}
	s, err := s.At(pixels)
	if err != nil {
		t.Fatal(err)
	}
	net := supernet.New(s, mean, std, rng)
	for i := range net.W.Params {
		p := &net.W.Params[i]
		v := net.W.Canonical(net.W.Data, i)
		switch p.Role {
		case nn.Bias, nn.Bias2, nn.Beta:
			for j := range v {
				v[j] = float32(0.3 * rng.NormFloat64())
			}
		case nn.Gamma:
			for j := range v {
				v[j] = 0.5 + rng.Float32()
			}
		case nn.Transform:
			for j := range v {
				v[j] += float32(0.05 * rng.NormFloat64())
			}
		}
		net.W.SetCanonical(net.W.Data, i, v)
	}
	return net
}

// thin is ofa-resnet50d with two stages and few channels.
func thin() *supernet.Space {
	return &supernet.Space{
		Name: "thin", Family: supernet.Bottleneck, Classes: 10, Input: tensor.Shape{H: 32, W: 32, C: 3},
		Stem: supernet.Stem{Width: 32, Stride: 2}, Expansions: []float64{0.25, 0.5}, Kernels: []int{3}, Widths: []float64{0.65, 0.8, 1},
		Stages: []supernet.Stage{{Width: 48, Stride: 1, Depths: []int{1, 2}}, {Width: 96, Stride: 2, Depths: []int{2, 3}}},
	}
}

// pixelsOf returns n random images, [n][H][W][C] of pixel/255.
func pixelsOf(s *supernet.Space, n int, rng *rand.Rand) []float32 {
	x := make([]float32, n*s.Input.Size())
	for i := range x {
		x[i] = float32(rng.IntN(256)) / 255
	}
	return x
}

// normalised returns the images as value 0 has them.
func normalised(net *supernet.Supernet, images []float32) []float32 {
	x, c := make([]float32, len(images)), net.Space.Input.C
	for i, v := range images {
		x[i] = (v - net.Mean[i%c]) / net.Std[i%c]
	}
	return x
}

// planar turns [n][H][W][C] into [n][C][H][W].
func planar(x []float32, s *supernet.Space, n int) []float32 {
	y, pix, c := make([]float32, len(x)), s.Input.Pixels(), s.Input.C
	for i, v := range x {
		y[(i/(pix*c)*c+i%c)*pix+i/c%pix] = v
	}
	return y
}

// measured returns the statistics of a subnet on random images.
func measured(t testing.TB, net *supernet.Supernet, a supernet.Arch, rng *rand.Rand) supernet.Norms {
	t.Helper()
	g, err := net.Space.Lower(a)
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	norms := supernet.Norms{}
	norms.Add(nn.NewExec(net.W, pool, false), g, [][]float32{normalised(net, pixelsOf(net.Space, 4, rng))})
	for _, st := range norms { // few images leave some channels nearly constant; no trained network has such
		var sum float32
		for _, v := range st.Var {
			sum += v
		}
		for i := range st.Var {
			st.Var[i] += sum / float32(len(st.Var))
		}
	}
	return norms
}

// logits runs a subnet in weft.
func logits(t testing.TB, net *supernet.Supernet, norms supernet.Norms, a supernet.Arch, images []float32) []float32 {
	t.Helper()
	p, err := supernet.NewTable(net, norms).Plan(a)
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	n := len(images) / net.Space.Input.Size()
	z := make([]float32, n*net.Space.Classes)
	supernet.NewWorker(pool).Run(p, images, n, z)
	return z
}

// archs returns the largest, the smallest and n random subnets.
func archs(s *supernet.Space, n int, rng *rand.Rand) []supernet.Arch {
	all := []supernet.Arch{s.Max(), s.Min()}
	for range n {
		all = append(all, s.Sample(rng, supernet.Sampling{ElasticKernel: true}))
	}
	return all
}

// TestONNXRuntimeAgrees: exported subnets of every family compute in ONNX Runtime what
// they compute in weft, within 1e-4 of the largest logit.
func TestONNXRuntimeAgrees(t *testing.T) {
	ortPackage(t)
	spaces := []struct {
		name   string
		pixels int
		archs  int
		large  bool
	}{
		{"resnet-28", 28, 14, false},
		{"thin", 40, 14, false},
		{"mbv3-28-k35", 28, 14, false},
		{"ofa-mbv3-k357", 64, 0, true},
		{"ofa-resnet50d", 64, 0, true},
	}
	const n = 2
	for _, sp := range spaces {
		t.Run(sp.name, func(t *testing.T) {
			if sp.large && testing.Short() {
				t.Skip("takes seconds")
			}
			rng := rand.New(rand.NewPCG(7, 8))
			net := randomNet(t, sp.name, sp.pixels, rng)
			var jobs []ortJob
			var want [][]float32
			all := archs(net.Space, sp.archs, rng)
			for i, a := range all {
				norms, images := measured(t, net, a, rng), pixelsOf(net.Space, n, rng)
				in := net.Space.Input
				job := ortJob{input: planar(normalised(net, images), net.Space, n), shape: []int{n, in.C, in.H, in.W}}
				pixels := i%2 == 1
				if pixels {
					job.input, job.shape = images, []int{n, in.H, in.W, in.C}
				}
				var err error
				if job.model, err = Export(net, norms, a, Options{Pixels: pixels, Producer: "test"}); err != nil {
					t.Fatal(err)
				}
				jobs = append(jobs, job)
				want = append(want, logits(t, net, norms, a, images))
			}
			worst := 0.0
			for i, got := range ortRun(t, jobs) {
				d := difference(got, want[i])
				worst = max(worst, d)
				if d > 1e-4 {
					t.Errorf("%s: ONNX Runtime says %v, weft %v", net.Space.Format(all[i]), got, want[i])
				}
			}
			t.Logf("largest relative difference of %d subnets: %.2g", len(all), worst)
		})
	}
}
