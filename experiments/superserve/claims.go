package superserve

import (
	"fmt"

	"weft/experiments/report"
)

// span is what a gain in accuracy has to reach: the paper's, or nine tenths of what the
// upper bound leaves, whichever is less.
const span = 0.9

// everywhere claims that so much is attained in every case, or what the bound allows.
func (s *setting) everywhere(cases []Case, text, paper string, least float64) report.Claim {
	return report.Claim{
		Text: text, Paper: paper, Criterion: fmt.Sprintf("at least %v in every case, or all that the bound allows to three digits", least),
		Verdicts: verdicts(func(policy string) (string, bool) {
			c, lead := worst(cases, func(c Case) float64 {
				return s.of(c, policy).Attainment - min(least, s.of(c, Bound).Attainment-0.0005)
			})
			return fmt.Sprintf("%.5f at the worst (%s; bound %.5f)", s.of(c, policy).Attainment, c.Label, s.of(c, Bound).Attainment), lead >= 0
		}),
	}
}

// gainOverSmallest claims points of accuracy over always the smallest subnet (INFaaS), at equal
// attainment, in the best of the cases.
func (s *setting) gainOverSmallest(cases []Case, paper float64) report.Claim {
	return report.Claim{
		Text: "accuracy over INFaaS at equal attainment", Paper: points(paper) + " points",
		Criterion: fmt.Sprintf("at least %s points, or 90 %% of what the bound leaves, in one case, attaining no less", points(paper)),
		Verdicts: verdicts(func(policy string) (string, bool) {
			return s.gain(cases, policy, paper, func(c Case, _ Result) string { return smallest })
		}),
	}
}

// gainOverFixed is the same over the most accurate fixed subnet that attains as much.
func (s *setting) gainOverFixed(cases []Case, paper float64) report.Claim {
	return report.Claim{
		Text:      "accuracy over the best fixed subnet that attains as much",
		Criterion: fmt.Sprintf("at least %s points, or 90 %% of what the bound leaves above that subnet, in one case", points(paper)),
		Verdicts: verdicts(func(policy string) (string, bool) {
			return s.gain(cases, policy, paper, s.bestFixed)
		}),
	}
}

// gain finds the case in which the policy has most of the gain that it should have over
// the rival that attains as much.
func (s *setting) gain(cases []Case, policy string, wanted float64, rival func(Case, Result) string) (string, bool) {
	value, most := "no rival attains as much", 0.0
	for _, c := range cases {
		r := s.of(c, policy)
		name := rival(c, r)
		if name == "" {
			continue
		}
		base := s.of(c, name)
		if r.Attainment < base.Attainment-equalAttainment {
			continue
		}
		got, left := r.Accuracy-base.Accuracy, s.of(c, Bound).Effective-base.Effective
		if part := ratio(got, min(wanted, span*left)); part > most {
			most = part
			value = fmt.Sprintf("%s over %s at %.4f (%s; the bound leaves %s)", points(got), show(name), r.Attainment, c.Label, points(left))
		}
	}
	return value, most >= 1
}

// timesAttainment claims a multiple of the attainment of the fixed subnet of equal or next
// higher accuracy, in the best of the cases.
func (s *setting) timesAttainment(cases []Case, rivals []string, what string, paper float64) report.Claim {
	return report.Claim{
		Text: "attainment over a fixed subnet of the same accuracy" + what, Paper: fmt.Sprintf("%.2fx", paper),
		Criterion: fmt.Sprintf("at least %.2f times that of the least accurate fixed subnet which is no less accurate, in one case", paper),
		Verdicts: verdicts(func(policy string) (value string, holds bool) {
			most := 0.0
			for _, c := range cases {
				r := s.of(c, policy)
				rival := rivals[s.asAccurate(r)]
				base := s.of(c, rival)
				if times := r.Attainment / max(base.Attainment, 1/float64(base.Requests)); times > most {
					most = times
					value = fmt.Sprintf("%.2fx %s, which attains %.4f (%s)", times, show(rival), base.Attainment, c.Label)
				}
			}
			return value, most >= paper
		}),
	}
}

// infaas claims that the smallest subnet attains nearly all, at the least accuracy.
func (s *setting) infaas(cases []Case) report.Claim {
	c, least := worst(cases, func(c Case) float64 { return s.of(c, smallest).Attainment - min(1, s.of(c, Bound).Attainment) })
	r := s.of(c, smallest)
	return report.Claim{
		Text: "INFaaS attains about 1 at the least accuracy", Paper: "~1", Criterion: "within 0.005 of the bound in every case",
		Verdicts: []report.Verdict{{Policy: smallest, Value: fmt.Sprintf("%.5f at %.2f %% at the worst (%s)", r.Attainment, 100*r.Accuracy, c.Label), Holds: least >= -0.005}},
	}
}

// share is weft's own goal against the bound.
func (s *setting) share(cases []Case, least float64) report.Claim {
	return report.Claim{
		Text:      "part of what the bound leaves above the smallest subnet",
		Criterion: fmt.Sprintf("(ours - smallest) / (bound - smallest) at least %v in every case", least),
		Verdicts: verdicts(func(policy string) (string, bool) {
			c, part := worst(cases, func(c Case) float64 { return s.ofBound(c, policy) })
			sum := 0.0
			for _, c := range cases {
				sum += s.ofBound(c, policy)
			}
			return fmt.Sprintf("%.2f at the worst (%s), %.2f on average", part, c.Label, sum/float64(len(cases))), part >= least
		}),
	}
}

// neverBelow is weft's own goal against SlackFit.
func (s *setting) neverBelow(cases []Case) report.Claim {
	c, lead := worst(cases, func(c Case) float64 { return s.of(c, "weft").Effective - s.of(c, "slackfit").Effective })
	return report.Claim{
		Text:      "never below SlackFit in attainment x accuracy",
		Criterion: "in every case, to a hundredth of a point",
		Verdicts:  []report.Verdict{{Policy: "weft", Value: fmt.Sprintf("%s points at the worst (%s)", points(lead), c.Label), Holds: lead >= -0.0001}},
	}
}
