package superserve

import (
	"fmt"
	"slices"
	"strings"

	"weft/experiments/report"
)

// The loads of the paper, in queries per second.
const (
	burstyBase = 1500
	mafMean    = 6400
	mafPeak    = 8750
)

// onEight is a load of single images on the paper's eight workers.
func (s *setting) onEight(label, trace string) Case {
	return Case{Label: label, Trace: trace, Seed: s.seed, SLO: paperSLO, Workers: paperWorkers, Images: 1}
}

// bursty is a load of section 6.1.
func (s *setting) bursty(variant, cv2 int) Case {
	return s.onEight(fmt.Sprintf("%d+%d/s, CV² %d", burstyBase, variant, cv2),
		fmt.Sprintf("bursty:base=%d,var=%d,cv2=%d,for=60s", burstyBase, variant, cv2))
}

var figure8 = figure{
	id: "8a", title: "Figure 8a and 8c: a day of cloud functions",
	note: "A day in the likeness of the MAF trace, synthesised, in 120 s: mean 6400/s, peak 8750/s, 8 workers. " +
		"The paper states no SLO here; 36 ms as for Figure 9.",
	columns: 2,
	cases: func(s *setting) []Case {
		return []Case{s.onEight("MAF-shaped", fmt.Sprintf("maf:mean=%d,peak=%d,for=120s", mafMean, mafPeak))}
	},
	policies: (*setting).all,
	finish: func(s *setting, f *Figure, cases []Case) {
		s.rows(f, cases, s.all())
		s.compare(f, cases)
		f.Claims = []report.Claim{
			s.everywhere(cases, "attainment", "0.99999", 0.9999),
			s.gainOverSmallest(cases, 0.0465),
			s.timesAttainment(cases, s.literal(), ", which drops nothing (as in the paper)", 2.85),
			s.timesAttainment(cases, s.fixed(), ", which drops what is hopeless (as all policies here do)", 2.85),
			s.infaas(cases),
			s.moveTogether(cases[0]),
			s.gainOverFixed(cases, 0.0467),
			s.neverBelow(cases),
			s.share(cases, 0.8),
		}
		f.Plots = append(s.tradeOffs(cases, s.all()), s.timelines(cases[0], ours)...)
	},
}

var figure9 = figure{
	id: "9", title: "Figure 9: bursty loads",
	note:    "A base stream of 1500/s with constant gaps and a variant stream with gamma gaps of squared coefficient of variation CV², 60 s, SLO 36 ms, 8 workers.",
	columns: 3,
	cases: func(s *setting) (cases []Case) {
		for _, variant := range []int{2950, 4900, 5550} {
			for _, cv2 := range []int{2, 4, 8} {
				cases = append(cases, s.bursty(variant, cv2))
			}
		}
		return cases
	},
	policies: (*setting).all,
	finish: func(s *setting, f *Figure, cases []Case) {
		s.rows(f, cases, s.all())
		s.compare(f, cases)
		f.Claims = []report.Claim{
			s.everywhere(cases, "attainment in all nine cells", "> 0.999", 0.999),
			s.gainOverSmallest(cases, 0.0433),
			s.timesAttainment(cases, s.literal(), ", which drops nothing (as in the paper)", 2.06),
			s.timesAttainment(cases, s.fixed(), ", which drops what is hopeless (as all policies here do)", 2.06),
			s.narrows(cases),
			s.infaas(cases),
			s.gainOverFixed(cases, 0.0467),
			s.neverBelow(cases),
			s.share(cases, 0.8),
		}
		f.Plots = s.tradeOffs(cases, s.all())
	},
}

// narrows claims that what is gained over INFaaS falls as CV² rises, at each of the three rates.
func (s *setting) narrows(cases []Case) report.Claim {
	return report.Claim{
		Text: "the lead narrows as CV² rises", Paper: "it does", Criterion: "mean accuracy at CV² 8 below that at CV² 2, at each of the rates",
		Verdicts: verdicts(func(policy string) (value string, holds bool) {
			holds = true
			var falls []string
			for i := 0; i+2 < len(cases); i += 3 {
				fall := s.of(cases[i+2], policy).Accuracy - s.of(cases[i], policy).Accuracy
				falls = append(falls, points(fall))
				holds = holds && fall < 0
			}
			return strings.Join(falls, " ") + " points", holds
		}),
	}
}

var figure10 = figure{
	id: "10", title: "Figure 10: accelerating loads",
	note:    "10 s at 2500/s, then the rate climbs to λ2 by τ, for 60 s in all, CV² 8 throughout, SLO 36 ms, 8 workers.",
	columns: 3,
	cases: func(s *setting) (cases []Case) {
		for _, to := range []int{4800, 6800, 7800} {
			for _, accel := range []int{250, 500, 5000} {
				cases = append(cases, s.ramp(to, accel))
			}
		}
		return cases
	},
	policies: (*setting).all,
	finish: func(s *setting, f *Figure, cases []Case) {
		s.rows(f, cases, s.all())
		s.compare(f, cases)
		f.Claims = []report.Claim{
			s.everywhere(cases, "attainment in all nine cells", "0.991 to 1.0", 0.991),
			s.infaas(cases),
			s.gainOverFixed(cases, 0.0467),
			s.neverBelow(cases),
			s.share(cases, 0.8),
		}
		f.Plots = s.tradeOffs(cases, s.all())
	},
}

func (s *setting) ramp(to, accel int) Case {
	return s.onEight(fmt.Sprintf("to %d/s by %d/s²", to, accel),
		fmt.Sprintf("ramp:from=2500,to=%d,accel=%d,cv2=8,after=10s,for=60s", to, accel))
}

// tradeOffs plots attainment over accuracy, a point a policy, the fixed subnets joined.
func (s *setting) tradeOffs(cases []Case, policies []string) (plots []report.Plot) {
	for _, c := range cases {
		p := report.Plot{
			Title: c.Label, Kind: "points",
			X: report.Axis{Label: "mean accuracy of those in time, %", Unit: "%"},
			Y: report.Axis{Label: "attainment, %", Unit: "%", From: 0, To: 102},
		}
		point := func(policy string) report.Point {
			r := s.of(c, policy)
			return report.Point{X: 100 * r.Accuracy, Y: 100 * r.Attainment}
		}
		for _, policy := range slices.Backward(policies[2*len(s.fixed()):]) {
			p.Lines = append(p.Lines, report.Line{Name: policy, Points: []report.Point{point(policy)}})
		}
		clipper := report.Line{Name: "clipper+", Joined: true}
		for _, policy := range s.fixed() {
			clipper.Points = append(clipper.Points, point(policy))
		}
		p.Lines = slices.Insert(p.Lines, 3, clipper) // after the bound, weft and slackfit
		plots = append(plots, p)
	}
	return plots
}
