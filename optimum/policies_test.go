package optimum_test

import (
	"fmt"
	"strings"
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

// policies returns every policy that needs no subnet named.
func policies() []string {
	var names []string
	for _, form := range sched.Policies() {
		if name, _, _ := strings.Cut(form, "["); !strings.Contains(name, ":") {
			names = append(names, name)
		}
	}
	return names
}

// smallest returns the value of always running the smallest subnet.
func smallest(t testing.TB, in optimum.Instance) float64 {
	return simulate(t, in, "fixed:"+in.Profile.Subnets[0].Name)
}

// BenchmarkCells gives the table of docs/adr/0003-optimum.md: points of accuracy
// a request on the bursty traces of SuperServe's Figure 9 and in overload, and fractions of what
// the bound leaves to gain.
func BenchmarkCells(b *testing.B) {
	p := six(b)
	for _, variant := range []float64{2950, 4900, 5550, 7500} {
		for _, cv2 := range []float64{2, 4, 8} {
			in := optimum.Instance{Profile: p, Workers: 8, Requests: sched.OpenLoop(bursty(1500, variant, cv2, 10_000, 1), slo)}
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
				for _, policy := range policies() {
					b.ReportMetric(optimum.Fraction(simulate(b, in, policy), least, plan.Bound), policy)
				}
			})
		}
	}
}

// sums are values over several instances.
type sums struct{ ours, smallest, optimum, bound float64 }

func (s *sums) add(o sums) {
	s.ours, s.smallest = s.ours+o.ours, s.smallest+o.smallest
	s.optimum, s.bound = s.optimum+o.optimum, s.bound+o.bound
}

func (s *sums) fraction() float64 { return optimum.Fraction(s.ours, s.smallest, s.optimum) }

// TestPoliciesOnRecorded reports the policies as fractions of what choosing
// subnets can gain on the recorded instances, and the bound beside the optimum.
// No policy may exceed the optimum.
func TestPoliciesOnRecorded(t *testing.T) {
	total := map[string]*sums{} // by policy and family
	for _, rec := range recorded(t) {
		one := sums{smallest: smallest(t, rec.Instance), optimum: rec.Optimum}
		var err error
		if one.bound, err = optimum.Bound(rec.Instance); err != nil {
			t.Fatal(err)
		}
		name, _, _ := strings.Cut(rec.Name, "/")
		for _, policy := range policies() {
			one.ours = simulate(t, rec.Instance, policy)
			if one.ours > rec.Optimum+1e-6 {
				t.Errorf("%s: %s reaches %v, the optimum is %v", rec.Name, policy, one.ours, rec.Optimum)
			}
			for _, k := range []string{policy + name, policy} {
				if total[k] == nil {
					total[k] = new(sums)
				}
				total[k].add(one)
			}
		}
	}
	for _, f := range families {
		s := total[sched.DefaultPolicy+f.name]
		t.Logf("%-8s the optimum is %.4f of the bound, and gains %.3f of what that leaves", f.name, s.optimum/s.bound, optimum.Fraction(s.optimum, s.smallest, s.bound))
	}
	for _, policy := range policies() {
		line := []string{fmt.Sprintf("%-16s all %6.3f", policy, total[policy].fraction())}
		for _, f := range families {
			line = append(line, fmt.Sprintf("%s %6.3f", f.name, total[policy+f.name].fraction()))
		}
		t.Log(strings.Join(line, "  "))
	}
	if got := total["weft"].fraction(); got < 0.77 {
		t.Errorf("weft gains %.3f of what there is to gain", got)
	}
}
