package optimum_test

import (
	"fmt"
	"testing"

	"weft/optimum"
	"weft/sched"
)

// simulate returns what the policy's schedule of the instance is worth.
func simulate(t testing.TB, in optimum.Instance, policy string) float64 {
	t.Helper()
	outcomes, err := sched.Sim{Profile: in.Profile, Policy: policy, Workers: in.Workers, Requests: in.Requests}.Run()
	if err != nil {
		t.Fatal(err)
	}
	return optimum.Value(in.Profile, in.Requests, outcomes)
}

// BenchmarkCells has the policies on the bursty traces of SuperServe's Figure 9,
// as fractions of the bound.
func BenchmarkCells(b *testing.B) {
	p := six(b)
	for _, variant := range []float64{2950, 4900, 5550} {
		for _, cv2 := range []float64{2, 4, 8} {
			in := optimum.Instance{Profile: p, Workers: 8, Requests: sched.OpenLoop(bursty(1500, variant, cv2, 100_000, 1), slo)}
			n := float64(len(in.Requests))
			bound, err := optimum.Bound(in)
			if err != nil {
				b.Fatal(err)
			}
			least := simulate(b, in, "fixed:s0")
			for _, policy := range []string{"weft", "slackfit"} {
				b.Run(fmt.Sprintf("%v+%v/cv2=%v/%s", 1500, variant, cv2, policy), func(b *testing.B) {
					var v float64
					for b.Loop() {
						v = simulate(b, in, policy)
					}
					b.ReportMetric(100*bound/n, "%bound")
					b.ReportMetric(100*least/n, "%smallest")
					b.ReportMetric(100*v/n, "%policy")
					b.ReportMetric(optimum.Fraction(v, least, bound), "fraction")
				})
			}
		}
	}
}
