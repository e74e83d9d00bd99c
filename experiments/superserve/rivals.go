package superserve

import (
	"fmt"

	"weft/experiments/report"
)

// Rival is how a policy stands beside the fixed subnets under a load.
type Rival struct {
	Case   string `json:"case"`
	Policy string `json:"policy"`
	// Fixed is the most accurate fixed subnet that attains as much; "" if none does.
	Fixed string `json:"fixed"`
	// Gain is the accuracy over it, Left what the bound leaves above it.
	Gain float64 `json:"gain"`
	Left float64 `json:"left"`
	// Accurate is the least accurate fixed subnet that is no less accurate, Times the
	// policy's attainment over its own, and TimesLiteral that if it drops nothing.
	Accurate     string  `json:"accurate"`
	Times        float64 `json:"times"`
	TimesLiteral float64 `json:"times_literal"`
}

// compare fills in the figure's rivals.
func (s *setting) compare(f *Figure, cases []Case) {
	for _, c := range cases {
		for _, policy := range ours {
			r := s.of(c, policy)
			times := func(rivals []string) float64 {
				base := s.of(c, rivals[s.asAccurate(r)])
				return r.Attainment / max(base.Attainment, 1/float64(base.Requests))
			}
			v := Rival{
				Case: c.Label, Policy: policy, Accurate: show(s.fixed()[s.asAccurate(r)]),
				Times: times(s.fixed()), TimesLiteral: times(s.literal()),
			}
			if name := s.bestFixed(c, r); name != "" {
				base := s.of(c, name)
				v.Fixed, v.Gain, v.Left = show(name), r.Accuracy-base.Accuracy, s.of(c, Bound).Effective-base.Effective
			}
			f.Rivals = append(f.Rivals, v)
		}
	}
}

// rivals is the comparison as a table.
func (f *Figure) rivals() report.Table {
	t := report.Table{
		Title: "Beside fixed subnets: the most accurate one that attains as much, points of accuracy over it and, in brackets, what the bound leaves; " +
			"the least accurate one that is as accurate, and the attainment as a multiple of its own, where it drops what is hopeless and where it does not",
		Words: true, Columns: []string{"load", "policy", "attains as much", "points over it", "as accurate", "times its attainment", "if it drops nothing"},
	}
	for _, v := range f.Rivals {
		fixed, over := "none", ""
		if v.Fixed != "" {
			fixed, over = v.Fixed, fmt.Sprintf("%s (%s)", points(v.Gain), points(v.Left))
		}
		t.Rows = append(t.Rows, []string{
			v.Case, v.Policy, fixed, over, v.Accurate, fmt.Sprintf("%.2f", v.Times), fmt.Sprintf("%.2f", v.TimesLiteral),
		})
	}
	return t
}
