package superserve

import (
	"fmt"
	"math"
	"strings"
	"time"

	"gonum.org/v1/gonum/stat"

	"weft/experiments/report"
	"weft/sched"
)

// A worker is lost every so often, until half of the eight are left.
const (
	killEvery = 12 * time.Second
	faultFor  = 60 * time.Second
)

var figure11a = figure{
	id: "11a", title: "Figure 11a: losing workers",
	note:    "3500/s with CV² 2 for 60 s, SLO 36 ms; one of the 8 workers is lost every 12 s, until half are left. A lost batch's requests go back to the queue.",
	columns: 2,
	cases: func(s *setting) []Case {
		c := s.onEight("one lost every 12 s", "bursty:base=0,var=3500,cv2=2,for=60s")
		for i := 1; i <= paperWorkers/2; i++ {
			c.Faults = append(c.Faults, sched.Fault{At: time.Duration(i) * killEvery, Worker: paperWorkers - i})
		}
		return []Case{c}
	},
	policies: func(s *setting) []string { return append(s.fixed(), ours...) },
	finish: func(s *setting, f *Figure, cases []Case) {
		s.rows(f, cases, append(s.fixed(), ours...))
		for _, policy := range ours {
			for i := range int(faultFor / killEvery) {
				from, to := time.Duration(i)*killEvery, time.Duration(i+1)*killEvery
				r := s.of(cases[0], policy).part(from, to)
				f.Rows = append(f.Rows, Row{
					Case: fmt.Sprintf("%.0f to %.0f s, %d workers", from.Seconds(), to.Seconds(), paperWorkers-i), Policy: policy,
					Attainment: r.Attainment, Accuracy: r.Accuracy, Effective: r.Effective,
				})
			}
		}
		f.Claims = []report.Claim{s.degrades(cases[0])}
		f.Plots = s.timelines(cases[0], ours)
	},
}

// degrades claims that attainment stays as workers go, because accuracy falls.
func (s *setting) degrades(c Case) report.Claim {
	return report.Claim{
		Text: "attainment down to half of the workers, by lowering accuracy", Paper: "~0.999",
		Criterion: "at least 0.9985 over all, and accuracy lower with 4 workers than with 8",
		Verdicts: verdicts(func(policy string) (string, bool) {
			r := s.of(c, policy)
			first, last := r.part(0, killEvery), r.part(faultFor-killEvery, faultFor)
			return fmt.Sprintf("%.5f; %.2f to %.2f %%", r.Attainment, 100*first.Accuracy, 100*last.Accuracy),
				r.Attainment >= 0.9985 && last.Accuracy < first.Accuracy
		}),
	}
}

// part sums up what arrived between two times, which are multiples of BinWidth.
func (r Result) part(from, to time.Duration) Result {
	var p Result
	met, sum := 0, 0.0
	for i := int(from / BinWidth); i < min(int(to/BinWidth), len(r.Timeline)); i++ {
		b := r.Timeline[i]
		p.Requests += b.Arrivals
		met += b.Met
		sum += b.Accuracy * float64(b.Met)
	}
	n := float64(p.Requests)
	p.Attainment, p.Accuracy, p.Effective = ratio(float64(met), n), ratio(sum, float64(met)), ratio(sum, n)
	return p
}

var figure13 = figure{
	id: "13", title: "Figure 13: what the policy does over time",
	note:    "13a: 1500+5550/s with CV² 2 and 8. 13b: from 2500 to 7400/s by 250 and by 5000/s².",
	columns: 3,
	cases: func(s *setting) []Case {
		return []Case{s.bursty(5550, 2), s.bursty(5550, 8), s.ramp(7400, 250), s.ramp(7400, 5000)}
	},
	policies: func(*setting) []string { return ours },
	finish: func(s *setting, f *Figure, cases []Case) {
		s.rows(f, cases, ours)
		f.Claims = append(s.steady(cases[:2]), s.follows(cases[2:]), s.passes(cases[2], cases[3]))
		for _, c := range cases {
			f.Plots = append(f.Plots, s.timelines(c, ours)...)
		}
	},
}

// steady has what 13a shows at 7,000/s.
func (s *setting) steady(cases []Case) []report.Claim {
	top := len(s.Subnets) - 1
	never := report.Claim{
		Text: "at 7000/s the most accurate subnet is never used", Paper: "never", Criterion: "by less than 0.1 % of the answers",
		Verdicts: verdicts(func(policy string) (string, bool) {
			most := 0.0
			for _, c := range cases {
				most = max(most, s.of(c, policy).Shares[top])
			}
			return fmt.Sprintf("%.3f %% of the answers", 100*most), most < 0.001
		}),
	}
	if s.Name != "paper" {
		return []report.Claim{never}
	}
	const low, high = 0.76, 0.78
	return []report.Claim{never, {
		Text: "at 7000/s accuracy stays within 76 to 78 %", Paper: "76 to 78 %", Criterion: "in nine of ten bins of half a second",
		Verdicts: verdicts(func(policy string) (string, bool) {
			in, n := 0, 0
			for _, c := range cases {
				for _, b := range s.of(c, policy).Timeline {
					n++
					if b.Accuracy >= low && b.Accuracy <= high {
						in++
					}
				}
			}
			return fmt.Sprintf("in %.0f %% of the bins; means %.2f and %.2f %%", 100*ratio(float64(in), float64(n)),
				100*s.of(cases[0], policy).Accuracy, 100*s.of(cases[1], policy).Accuracy), 10*in >= 9*n
		}),
	}}
}

// Before and after the climb of the ramps.
var (
	before = [2]time.Duration{0, 10 * time.Second}
	after  = [2]time.Duration{40 * time.Second, 60 * time.Second}
)

// follows has the fall of accuracy that 13b shows.
func (s *setting) follows(cases []Case) report.Claim {
	return report.Claim{
		Text: "accuracy falls as the rate climbs to 7400/s", Paper: "79.2 to 77.5 %", Criterion: "by at least half as many points as the paper's (0.85), at both accelerations",
		Verdicts: verdicts(func(policy string) (value string, holds bool) {
			holds = true
			var falls []string
			for _, c := range cases {
				r := s.of(c, policy)
				from, to := r.part(before[0], before[1]).Accuracy, r.part(after[0], after[1]).Accuracy
				falls = append(falls, fmt.Sprintf("%.2f to %.2f %%", 100*from, 100*to))
				holds = holds && from-to >= 0.0085
			}
			return strings.Join(falls, ", "), holds
		}),
	}
}

// passes has the difference between the accelerations that 13b shows.
func (s *setting) passes(slow, fast Case) report.Claim {
	return report.Claim{
		Text: "a slow climb passes through the subnets in between, a fast one jumps", Paper: "at 250/s², not at 5000/s²",
		Criterion: "at least three times as many bins in the middle half of the fall",
		Verdicts: verdicts(func(policy string) (string, bool) {
			a, b := s.between(slow, policy), s.between(fast, policy)
			return fmt.Sprintf("%d bins of half a second at 250/s², %d at 5000/s²", a, b), a >= 3*max(b, 1)
		}),
	}
}

// between counts the bins of the climb whose accuracy is in the middle half of the fall.
func (s *setting) between(c Case, policy string) (n int) {
	r := s.of(c, policy)
	from, to := r.part(before[0], before[1]).Accuracy, r.part(after[0], after[1]).Accuracy
	for _, b := range r.Timeline[before[1]/BinWidth : after[0]/BinWidth] {
		if b.Accuracy < from-(from-to)/4 && b.Accuracy > to+(from-to)/4 {
			n++
		}
	}
	return n
}

// moveTogether has what 8c shows: with the rate, subnets shrink and batches grow.
func (s *setting) moveTogether(c Case) report.Claim {
	return report.Claim{
		Text: "in a spike, subnets shrink and batches grow (8c)", Paper: "they do", Criterion: "correlation of the rate, bin by bin, below -0.5 with accuracy and above 0.5 with batch size",
		Verdicts: verdicts(func(policy string) (string, bool) {
			var rate, accuracy, batch []float64
			for _, b := range s.of(c, policy).Timeline {
				rate, accuracy, batch = append(rate, float64(b.Arrivals)), append(accuracy, b.Accuracy), append(batch, b.Batch)
			}
			a, b := stat.Correlation(rate, accuracy, nil), stat.Correlation(rate, batch, nil)
			return fmt.Sprintf("%.2f and %.2f", a, b), a < -0.5 && b > 0.5
		}),
	}
}

// timelines plots rate, accuracy and batch size over time.
func (s *setting) timelines(c Case, policies []string) []report.Plot {
	plot := func(what, unit, name string, value func(Bin) float64, policies []string) report.Plot {
		p := report.Plot{
			Title: name, Kind: "line",
			X: report.Axis{Label: "time, s", Unit: "s"}, Y: report.Axis{Label: what, Unit: unit},
		}
		for _, policy := range policies {
			l := report.Line{Name: policy, Joined: true}
			for i, b := range s.of(c, policy).Timeline {
				l.Points = append(l.Points, report.Point{X: float64(i) * BinWidth.Seconds(), Y: value(b)})
			}
			p.Lines = append(p.Lines, l)
		}
		return p
	}
	rate := plot("requests per second", "/s", c.Label, func(b Bin) float64 { return float64(b.Arrivals) / BinWidth.Seconds() }, policies[:1])
	rate.Lines[0].Name = "arrivals"
	met := func(b Bin) float64 {
		if b.Met == 0 {
			return math.NaN()
		}
		return 1
	}
	return []report.Plot{
		rate,
		plot("accuracy, %", "%", c.Label, func(b Bin) float64 { return 100 * b.Accuracy * met(b) }, policies),
		plot("images a batch", "", c.Label, func(b Bin) float64 { return b.Batch * met(b) }, policies),
	}
}
