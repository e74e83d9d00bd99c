package sched_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/experiments/superserve"
	"weft/optimum"
	"weft/sched"
	"weft/workload"
)

// BenchmarkGrid gives the table of the nine bursty cells (SuperServe, Fig 9) in
// docs/adr/0001-slackfit.md: 8 workers, SLO 36 ms; attainment, mean accuracy, and the
// share of what choosing subnets can gain (optimum.Fraction, of the bound).
func BenchmarkGrid(b *testing.B) {
	p := superserve.Paper().Profile
	policies := []string{
		"weft", "slackfit", "slackfit-literal", "maxacc", "maxbatch", "infaas", "proteus", "switch",
		"fixed:76.69", "fixed:77.64", "fixed:78.25", "fixed:79.44",
	}
	rows := make([]strings.Builder, len(policies))
	for _, variant := range []float64{2950, 4900, 5550} {
		for _, cv2 := range []float64{2, 4, 8} {
			requests := sched.OpenLoop(workload.Bursty(1500, variant, cv2, 60*time.Second, 1), 36*time.Millisecond)
			bound, err := optimum.Bound(optimum.Instance{Profile: p, Workers: 8, Requests: requests})
			if err != nil {
				b.Fatal(err)
			}
			value := func(s score) float64 { return s.attainment * s.accuracy * float64(len(requests)) }
			run := func(policy string) score {
				return simulate(b, sched.Sim{Profile: p, Policy: policy, Workers: 8, Requests: requests})
			}
			least := value(run("fixed:73.82"))
			for i, policy := range policies {
				s := run(policy)
				fmt.Fprintf(&rows[i], " %.4f %.2f %.2f |", s.attainment, 100*s.accuracy, optimum.Fraction(value(s), least, bound))
			}
		}
	}
	for i, policy := range policies {
		b.Logf("| %s |%s", policy, &rows[i])
	}
}
