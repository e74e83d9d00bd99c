package serve_test

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"weft/bundle"
	"weft/bundle/builtin"
	"weft/kernel"
	"weft/safetensors"
	"weft/serve"
	"weft/supernet"
)

// fashion returns the built-in model with those workers.
func fashion(t *testing.T, name string, workers []*supernet.Worker) serve.Model {
	f, err := safetensors.Decode(builtin.Model())
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	var p bundle.Profile
	for i, s := range b.Points() {
		timing := bundle.SubnetTiming{Arch: s.Name()}
		for n := range 4 {
			timing.LatencyUS = append(timing.LatencyUS, float64(200*(i+1)*(n+1)))
		}
		p.Subnets = append(p.Subnets, timing)
	}
	m, err := serve.Local(name, b, &p, workers)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// Two models take turns on the same workers' memory, and each gives the answers that
// it gives alone, but for the last bits, which depend on how many images run together.
func TestModelsShareMemory(t *testing.T) {
	pools := []*kernel.Pool{kernel.NewPool(1), kernel.NewPool(2), kernel.NewPool(1)}
	workers := make([]*supernet.Worker, len(pools))
	for i, p := range pools {
		defer p.Close()
		workers[i] = supernet.NewWorker(p)
	}
	pixels, _, err := builtin.Samples()
	if err != nil {
		t.Fatal(err)
	}
	opt := serve.Options{SLO: time.Minute}
	start := func(models ...serve.Model) *serve.Server {
		s, err := serve.New(models, opt)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := s.Shutdown(context.Background()); err != nil {
				t.Error(err)
			}
		})
		return s
	}
	alone := start(fashion(t, "alone", workers[2:]))
	shared := start(fashion(t, "a", workers[:2]), fashion(t, "b", workers[:2]))
	subnets := alone.Router("alone").Model().Profile.Subnets
	size := alone.Router("alone").Model().ImageSize()
	infer := func(r *serve.Router, subnet, image int) []float32 {
		resp, err := r.Infer(t.Context(), &serve.Request{N: 1, Pixels: pixels[image*size:][:size], Subnet: subnets[subnet].Name})
		if err != nil {
			t.Error(err)
			return nil
		}
		return resp.Logits
	}
	var wg sync.WaitGroup
	for c := range 4 {
		wg.Go(func() {
			for i := range 15 {
				subnet, image := (c+i)%len(subnets), (7*c+i)%(len(pixels)/size)
				want := infer(alone.Router("alone"), subnet, image)
				if got := infer(shared.Router([]string{"a", "b"}[(c+i)%2]), subnet, image); !slices.EqualFunc(got, want, func(a, b float32) bool { return math.Abs(float64(a-b)) < 1e-4 }) {
					t.Errorf("subnet %d, image %d: logits %v, alone %v", subnet, image, got, want)
				}
			}
		})
	}
	wg.Wait()
}
