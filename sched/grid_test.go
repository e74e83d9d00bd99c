package sched_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"weft/optimum"
	"weft/sched"
	"weft/workload"
)

// paperSubnets is a profile with the paper's six accuracies, with which 8 workers
// span the paper's 2,000 to 8,000 images a second: the ends are its figures, those
// between follow the rates at which it serves these accuracies. Latencies grow
// linearly with the batch, and a batch of one takes two seventeenths of one of 16.
func paperSubnets(t testing.TB) *sched.Profile {
	var subnets []sched.Subnet
	for i, capacity := range []float64{8000, 7600, 7200, 6400, 3300, 2000} {
		each := time.Duration(16 * 8 / capacity / 17 * float64(time.Second))
		accuracy := []float64{0.7382, 0.7669, 0.7764, 0.7825, 0.7944, 0.8016}[i]
		subnets = append(subnets, linear(fmt.Sprint("s", i), accuracy, each, each, 16))
	}
	p, err := sched.NewProfile(subnets, 16)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// BenchmarkGrid gives the table of the nine bursty cells (SuperServe, Fig 9) in
// docs/adr/0001-slackfit.md: 8 workers, SLO 36 ms; attainment, mean accuracy, and the
// share of what choosing subnets can gain (optimum.Fraction, of the bound).
func BenchmarkGrid(b *testing.B) {
	p := paperSubnets(b)
	policies := []string{
		"weft", "slackfit", "slackfit-literal", "maxacc", "maxbatch", "infaas", "proteus", "switch",
		"fixed:s1", "fixed:s2", "fixed:s3", "fixed:s4",
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
			least := value(run("fixed:s0"))
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
