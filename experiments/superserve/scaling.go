package superserve

import (
	"fmt"
	"slices"

	"weft/experiments/report"
)

// scaleWorkers are the numbers of workers of Figure 11b, scaleLoads the loads that are tried,
// in parts of what full batches of the smallest subnet get through.
var (
	scaleWorkers = []int{1, 2, 4, 8, 16, 32}
	scaleLoads   = []float64{0.80, 0.84, 0.88, 0.90, 0.92, 0.94, 0.95, 0.96, 0.97, 0.98, 0.99, 1}
)

const (
	scaleImages = 8     // a request: the client forms the batches
	scaleLeast  = 0.999 // attainment
)

var figure11b = figure{
	id: "11b", title: "Figure 11b: scalability",
	note: "Requests of 8 images at constant gaps for 10 s, SLO 36 ms: the most images a second with an attainment of 0.999. " +
		"In virtual time this shows that the policy loses nothing to the number of workers; what a decision costs is measured by the benchmarks of sched.",
	columns: 1,
	cases: func(s *setting) (cases []Case) {
		for _, workers := range scaleWorkers {
			for _, load := range scaleLoads {
				cases = append(cases, s.scale(workers, load))
			}
		}
		return cases
	},
	policies: func(*setting) []string { return ours },
	finish: func(s *setting, f *Figure, cases []Case) {
		ideal := report.Line{Name: "full batches of the smallest subnet", Joined: true}
		for _, workers := range scaleWorkers {
			ideal.Points = append(ideal.Points, report.Point{X: float64(workers), Y: float64(workers) * s.capacity()})
		}
		p := report.Plot{
			Title: "images a second at 0.999", Kind: "line",
			X: report.Axis{Label: "workers"}, Y: report.Axis{Label: "images a second", Unit: "/s"}, Lines: []report.Line{ideal},
		}
		most := map[string][]float64{}
		for _, policy := range ours {
			l := report.Line{Name: policy, Joined: true}
			for _, workers := range scaleWorkers {
				row := s.most(workers, policy)
				f.Rows = append(f.Rows, row)
				most[policy] = append(most[policy], row.PerSecond)
				l.Points = append(l.Points, report.Point{X: float64(workers), Y: row.PerSecond})
			}
			p.Lines = append(p.Lines, l)
		}
		f.Plots = []report.Plot{p}
		f.Claims = []report.Claim{{
			Text: "throughput grows linearly with workers, to 32", Paper: "linear, to ~33,000/s",
			Criterion: "32 workers get through at least 31 times what one does, each step at least 1.9 times the one before",
			Verdicts: verdicts(func(policy string) (string, bool) {
				v := most[policy]
				linear := v[0] > 0 && v[len(v)-1] >= 31*v[0]
				for i := 1; i < len(v); i++ {
					linear = linear && v[i] >= 1.9*v[i-1]
				}
				return fmt.Sprintf("%.0f/s with one, %.0f/s with 32: %.1f times", v[0], v[len(v)-1], ratio(v[len(v)-1], v[0])), linear
			}),
		}}
	},
}

// capacity is what one worker gets through in full batches of the smallest subnet, in images a second.
func (s *setting) capacity() float64 {
	return float64(s.MaxBatch) / s.Latency(0, s.MaxBatch).Seconds()
}

func (s *setting) scale(workers int, load float64) Case {
	rate := load * float64(workers) * s.capacity() / scaleImages
	return Case{
		Label: fmt.Sprintf("%d workers", workers), Trace: fmt.Sprintf("bursty:base=%.3f,var=0,for=10s", rate),
		Seed: s.seed, SLO: paperSLO, Workers: workers, Images: min(scaleImages, s.MaxBatch),
	}
}

// most returns the highest of the loads up to which the policy attains enough.
func (s *setting) most(workers int, policy string) Row {
	row := Row{Case: fmt.Sprintf("%d workers", workers), Policy: policy}
	for _, load := range scaleLoads {
		r := s.of(s.scale(workers, load), policy)
		if r.Attainment < scaleLeast {
			break
		}
		row.Attainment, row.Accuracy, row.Effective = r.Attainment, r.Accuracy, r.Effective
		row.PerSecond = load * float64(workers) * s.capacity()
	}
	return row
}

// greedy are the policies of Figure 11c beside ours.
var greedy = []string{"slackfit-literal", "maxbatch", "maxacc"}

var figure11c = figure{
	id: "11c", title: "Figure 11c: policies",
	note:    "1500+5550/s, 60 s, SLO 36 ms, 8 workers.",
	columns: 2,
	cases: func(s *setting) []Case {
		return []Case{s.bursty(5550, 2), s.bursty(5550, 4), s.bursty(5550, 8)}
	},
	policies: func(*setting) []string { return slices.Concat([]string{smallest}, greedy, ours, []string{Bound}) },
	finish: func(s *setting, f *Figure, cases []Case) {
		s.rows(f, cases, slices.Concat([]string{smallest}, greedy, ours, []string{Bound}))
		f.Claims = []report.Claim{
			s.everywhere(cases, "attainment at every CV²", "0.999", 0.999),
			s.behind(cases), s.cannot(cases),
		}
		f.Plots = s.byCV2(cases)
	},
}

// behind has what the paper says of MaxBatch.
func (s *setting) behind(cases []Case) report.Claim {
	lag := func(c Case) float64 { return s.of(c, "weft").Attainment - s.of(c, "maxbatch").Attainment }
	first, last := lag(cases[0]), lag(cases[len(cases)-1])
	return report.Claim{
		Text: "MaxBatch falls behind as CV² rises", Paper: "by about 5 % of attainment at CV² 8",
		Criterion: "its lag at CV² 8 is above 0.01, and above that at CV² 2",
		Verdicts:  []report.Verdict{{Policy: "maxbatch", Value: fmt.Sprintf("%.4f behind weft at CV² 2, %.4f at 8", first, last), Holds: last > 0.01 && last > first}},
	}
}

// cannot has what the paper says of MaxAcc.
func (s *setting) cannot(cases []Case) report.Claim {
	c, least := worst(cases, func(c Case) float64 { return -s.of(c, "maxacc").Attainment })
	return report.Claim{
		Text: "MaxAcc cannot keep up", Paper: "it cannot", Criterion: "it attains less than 0.9 at every CV²",
		Verdicts: []report.Verdict{{Policy: "maxacc", Value: fmt.Sprintf("%.4f at best (%s)", -least, c.Label), Holds: -least < 0.9}},
	}
}

// byCV2 plots attainment and accuracy of each policy over CV².
func (s *setting) byCV2(cases []Case) []report.Plot {
	cv2 := []float64{2, 4, 8}
	plot := func(what string, value func(Result) float64) report.Plot {
		p := report.Plot{Title: what, Kind: "line", X: report.Axis{Label: "CV²"}, Y: report.Axis{Label: what, Unit: "%"}}
		for _, policy := range slices.Concat(ours, greedy) {
			l := report.Line{Name: policy, Joined: true}
			for i, c := range cases {
				l.Points = append(l.Points, report.Point{X: cv2[i], Y: 100 * value(s.of(c, policy))})
			}
			p.Lines = append(p.Lines, l)
		}
		return p
	}
	return []report.Plot{
		plot("attainment, %", func(r Result) float64 { return r.Attainment }),
		plot("mean accuracy of those in time, %", func(r Result) float64 { return r.Accuracy }),
	}
}
