package superserve

import (
	"fmt"
	"slices"
	"strings"

	"weft/experiments/report"
)

// ours are the policies on which claims are judged.
var ours = []string{"weft", "slackfit"}

// equalAttainment is by how much attainments may differ and still count as equal.
const equalAttainment = 0.001

// fixed returns Clipper+ in up to six versions, the least accurate first.
func (s *setting) fixed() (policies []string) {
	for _, i := range s.spread() {
		policies = append(policies, "fixed:"+s.Subnets[i].Name)
	}
	return policies
}

// literal returns the same, but dropping nothing, as the paper's Clipper+ does.
func (s *setting) literal() (policies []string) {
	for _, i := range s.spread() {
		policies = append(policies, "fixed-literal:"+s.Subnets[i].Name)
	}
	return policies
}

// smallest is the policy that always runs the cheapest subnet: what INFaaS comes to when it
// is run without thresholds, as the paper does.
const smallest = "infaas"

// all returns every policy there is, and the bound.
func (s *setting) all() []string {
	return append(slices.Concat(s.fixed(), s.literal()), smallest, "proteus", "proteus:1s", "switch", "maxacc", "maxbatch", "slackfit-literal", "slackfit", "weft", Bound)
}

// show is a policy's name in tables.
func show(policy string) string {
	if subnet, ok := strings.CutPrefix(policy, "fixed:"); ok {
		return "clipper+ " + subnet
	}
	if subnet, ok := strings.CutPrefix(policy, "fixed-literal:"); ok {
		return "clipper+ " + subnet + ", no drop"
	}
	return policy
}

// rows adds a row for each policy under each case, and what part it is of the bound if
// that is among the policies.
func (s *setting) rows(f *Figure, cases []Case, policies []string) {
	for _, c := range cases {
		for _, policy := range policies {
			r := s.of(c, policy)
			row := Row{Case: c.Label, Policy: show(policy), Attainment: r.Attainment, Accuracy: r.Accuracy, Effective: r.Effective}
			if slices.Contains(policies, Bound) {
				part := s.ofBound(c, policy)
				row.OfBound = &part
			}
			f.Rows = append(f.Rows, row)
		}
	}
}

// ofBound is (policy - smallest) / (bound - smallest) in effective accuracy.
func (s *setting) ofBound(c Case, policy string) float64 {
	bottom := s.of(c, smallest).Effective
	return ratio(s.of(c, policy).Effective-bottom, s.of(c, Bound).Effective-bottom)
}

// bestFixed returns the most accurate fixed subnet that attains as much as r, or "".
func (s *setting) bestFixed(c Case, r Result) string {
	for _, policy := range slices.Backward(s.fixed()) {
		if s.of(c, policy).Attainment >= r.Attainment-equalAttainment {
			return policy
		}
	}
	return ""
}

// asAccurate returns the index of the least accurate of the fixed subnets that is no less
// accurate than r.
func (s *setting) asAccurate(r Result) int {
	spread := s.spread()
	for i, subnet := range spread {
		if s.Subnets[subnet].Accuracy >= r.Accuracy {
			return i
		}
	}
	return len(spread) - 1
}

// verdicts judges a claim on each of our policies.
func verdicts(judge func(policy string) (value string, holds bool)) (all []report.Verdict) {
	for _, policy := range ours {
		value, holds := judge(policy)
		all = append(all, report.Verdict{Policy: policy, Value: value, Holds: holds})
	}
	return all
}

// points prints a difference of accuracies.
func points(x float64) string { return fmt.Sprintf("%+.2f", 100*x) }

// worst returns the case in which the value is least, and that value.
func worst(cases []Case, value func(Case) float64) (Case, float64) {
	at, least := 0, value(cases[0])
	for i, c := range cases {
		if v := value(c); v < least {
			at, least = i, v
		}
	}
	return cases[at], least
}
