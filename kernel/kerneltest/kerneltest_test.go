package kerneltest

import (
	"flag"
	"os"
	"strings"
	"testing"

	"weft/kernel"
)

func TestAgree(t *testing.T) {
	for _, tier := range kernel.Tiers() {
		t.Run(tier, func(t *testing.T) {
			defer kernel.UseTier(tier)()
			for _, c := range Cases() {
				t.Run(c.String(), func(t *testing.T) {
					for seed, special := range []bool{false, true} {
						if err := c.Agree(uint64(seed), special); err != nil {
							t.Errorf("special=%v: %v", special, err)
						}
					}
				})
			}
		})
	}
}

func TestGradient(t *testing.T) {
	seeds := uint64(4)
	if testing.Short() {
		seeds = 1
	}
	for _, tier := range kernel.Tiers() {
		t.Run(tier, func(t *testing.T) {
			defer kernel.UseTier(tier)()
			for _, g := range Gradients() {
				t.Run(g.String(), func(t *testing.T) {
					for seed := range seeds {
						if err := g.Check(seed); err != nil {
							t.Error(err)
						}
					}
				})
			}
		})
	}
}

// TestSpeed only looks at the form of the table; its figures are for make bench.
func TestSpeed(t *testing.T) {
	var b strings.Builder
	if err := Speed(&b, "conv n1 1x1 1x1/1 256→96", 2); err != nil {
		t.Fatal(err)
	}
	if out := b.String(); !strings.Contains(out, "GF/s") || strings.Count(out, "\n") != 2 {
		t.Errorf("want a header and one line, got\n%s", out)
	}
}

var (
	speedThreads = flag.Int("speed", 0, "print the speed of the cases on so many threads")
	speedCases   = flag.String("cases", "", "those whose name matches, all by default")
	speedTiers   = flag.String("tiers", "", "those of these tiers, separated by commas, all but go by default")
)

// TestSpeedTable prints the table of make bench, with -speed.
func TestSpeedTable(t *testing.T) {
	if *speedThreads == 0 {
		t.Skip("no -speed")
	}
	tiers := kernel.Tiers()
	if tiers = tiers[:max(1, len(tiers)-1)]; *speedTiers != "" {
		tiers = strings.Split(*speedTiers, ",")
	}
	if err := Speed(os.Stdout, *speedCases, *speedThreads, tiers...); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkOps times every case on one thread.
func BenchmarkOps(b *testing.B) {
	for _, c := range SpeedCases() {
		b.Run(c.String(), func(b *testing.B) {
			a := newArena(1, false)
			a.timed = true
			w := c.setup(a)
			for b.Loop() {
				w.run(0, w.units)
			}
			amount, unit := w.flops, "GF/s"
			if w.bytes > 0 {
				amount, unit = w.bytes, "GB/s"
			}
			b.ReportMetric(amount*float64(b.N)/b.Elapsed().Seconds()/1e9, unit)
		})
	}
}
