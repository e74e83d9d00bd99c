package kerneltest

import (
	"testing"

	"weft/kernel"
)

func TestInt8Agree(t *testing.T) {
	for _, tier := range kernel.Tiers() {
		t.Run(tier, func(t *testing.T) {
			defer kernel.UseTier(tier)()
			for _, c := range Int8Cases() {
				t.Run(c.String(), func(t *testing.T) {
					for seed := range uint64(3) {
						if err := c.Agree(seed); err != nil {
							t.Fatal(err)
						}
					}
				})
			}
		})
	}
}

// BenchmarkInt8 times every case on one thread.
func BenchmarkInt8(b *testing.B) {
	for _, c := range Int8SpeedCases() {
		b.Run(c.String(), func(b *testing.B) {
			w := c.Setup(1)
			for b.Loop() {
				w.Run(0, w.Units)
			}
			amount, unit := w.Ops, "GOP/s"
			if amount == 0 {
				amount, unit = w.Bytes, "GB/s"
			}
			b.ReportMetric(amount*float64(b.N)/b.Elapsed().Seconds()/1e9, unit)
		})
	}
}
