package train

import (
	"runtime"
	"testing"

	"weft/data"
	"weft/kernel"
)

// BenchmarkStep measures one step at batch 128: of the warm-up, which trains the largest
// subnet alone, and of the joint phase, which trains four.
func BenchmarkStep(b *testing.B) {
	for _, space := range []string{"resnet-28s", "resnet-28", "mbv3-28"} {
		for _, phase := range []string{"warmup", "joint"} {
			b.Run(space+"/"+phase, func(b *testing.B) {
				set := squares(1024)
				c := Defaults("deps", space, "squares")
				if phase == "joint" {
					c.Warmup, c.Ramp = 0, 0
				}
				c.Epochs = 1 << 20
				pool := kernel.NewPool(runtime.NumCPU())
				defer pool.Close()
				t, err := New(c, set, pool)
				if err != nil {
					b.Fatal(err)
				}
				l, err := data.NewLoader(set, set.Train, data.LoaderConfig{Batch: c.Batch, Augment: c.augment()})
				if err != nil {
					b.Fatal(err)
				}
				defer l.Close()
				flops := t.exec.Flops
				for b.Loop() {
					batch, err := l.Next()
					if err != nil {
						b.Fatal(err)
					}
					if err := t.step(batch); err != nil {
						b.Fatal(err)
					}
					batch.Release()
				}
				b.ReportMetric(float64(t.exec.Flops-flops)/b.Elapsed().Seconds()/1e9, "GF/s")
				b.ReportMetric(float64(b.N*c.Batch)/b.Elapsed().Seconds(), "images/s")
			})
		}
	}
}
