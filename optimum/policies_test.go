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

// smallest returns the value of always running the smallest subnet.
func smallest(t testing.TB, in optimum.Instance) float64 {
	return simulate(t, in, "fixed:"+in.Profile.Subnets[0].Name)
}

// BenchmarkCells gives the table of docs/adr/0003-optimum.md: points of accuracy
// a request on the bursty traces of SuperServe's Figure 9, and fractions of what
// the bound leaves to gain.
func BenchmarkCells(b *testing.B) {
	p := six(b)
	for _, variant := range []float64{2950, 4900, 5550} {
		for _, cv2 := range []float64{2, 4, 8} {
			in := optimum.Instance{Profile: p, Workers: 8, Requests: sched.OpenLoop(bursty(1500, variant, cv2, 20_000, 1), slo)}
			n := float64(len(in.Requests))
			least := smallest(b, in)
			b.Run(fmt.Sprintf("1500+%v/cv2=%v", variant, cv2), func(b *testing.B) {
				var plan optimum.Schedule
				for b.Loop() {
					var err error
					if plan, err = optimum.Plan(in, 24); err != nil {
						b.Fatal(err)
					}
				}
				met, err := optimum.BoundMet(in)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(met/n, "met")
				b.ReportMetric(100*least/n, "%smallest")
				b.ReportMetric(100*plan.Value/n, "%plan")
				b.ReportMetric(100*plan.Bound/n, "%bound")
				b.ReportMetric(optimum.Fraction(plan.Value, least, plan.Bound), "plan")
				for _, policy := range []string{"weft", "slackfit"} {
					b.ReportMetric(optimum.Fraction(simulate(b, in, policy), least, plan.Bound), policy)
				}
			})
		}
	}
}
