package nn_test

import (
	"math/rand/v2"
	"runtime"
	"testing"

	"weft/kernel"
	"weft/nn"
	"weft/supernet"
)

// BenchmarkPass measures the forward and the backward pass of the largest subnet at
// batch 128, with all that belongs to them: normalisation, activations, residuals.
func BenchmarkPass(b *testing.B) {
	for _, name := range []string{"resnet-28s", "resnet-28", "mbv3-28"} {
		b.Run(name, func(b *testing.B) {
			const n = 128
			space, err := supernet.Find(name, 10, 1)
			if err != nil {
				b.Fatal(err)
			}
			rng := rand.New(rand.NewPCG(1, 1))
			net := supernet.New(space, []float32{0}, []float32{1}, rng)
			g, err := space.Lower(space.Max())
			if err != nil {
				b.Fatal(err)
			}
			pool := kernel.NewPool(runtime.NumCPU())
			defer pool.Close()
			e := nn.NewExec(net.W, pool, true)
			x := make([]float32, n*space.Input.Size())
			for i := range x {
				x[i] = rng.Float32()
			}
			d := make([]float32, n*g.Pitch())
			fill := func() {
				for i := range n {
					d[i*g.Pitch()] = 1e-3
				}
			}
			rate := func(b *testing.B, start int64) {
				b.ReportMetric(float64(e.Flops-start)/b.Elapsed().Seconds()/1e9, "GF/s")
			}
			b.Run("forward", func(b *testing.B) {
				start := e.Flops
				for b.Loop() {
					e.Forward(g, x, n)
				}
				rate(b, start)
			})
			b.Run("backward", func(b *testing.B) {
				var flops int64
				for b.Loop() {
					b.StopTimer()
					e.Forward(g, x, n)
					fill()
					start := e.Flops
					b.StartTimer()
					e.Backward(d)
					flops += e.Flops - start
				}
				b.ReportMetric(float64(flops)/b.Elapsed().Seconds()/1e9, "GF/s")
			})
		})
	}
}
