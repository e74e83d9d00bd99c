package deps

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/stat"

	"weft/experiments/report"
	"weft/train/runs"
)

// group is the results of a method at one length, over the seeds.
type group struct {
	method, length string
	results        []Result
}

// Report is the comparison on one bench.
type Report struct {
	Bench  string
	Title  string
	Groups []group
	Claims []report.Claim
	seeded []group // of several seeds, which tell how far seeds lie apart: those of the bench, or of all where it has one seed
}

// Reports puts the results together, a report for each bench that has some.
func Reports(results []Result) ([]*Report, error) {
	cells, err := Cells()
	if err != nil {
		return nil, err
	}
	byID := map[string]Result{}
	for _, r := range results {
		byID[r.ID] = r
	}
	var reports []*Report
	for _, b := range benches {
		r := &Report{Bench: b.name, Title: fmt.Sprintf("%s on %s, DepS for %d epochs", b.space, b.data, b.epochs)}
		for _, v := range b.methods {
			g := group{method: v.method, length: v.length}
			for _, c := range cells {
				if res, ok := byID[c.ID]; ok && c.Bench == b.name && c.Method == v.method && c.Length == v.length {
					g.results = append(g.results, res)
				}
			}
			if v.method == alone {
				g.results = together(g.results)
			}
			if len(g.results) > 0 {
				r.Groups = append(r.Groups, g)
			}
		}
		if len(r.Groups) > 0 {
			reports = append(reports, r)
		}
	}
	seeded := map[string][]group{}
	var all []group
	for _, r := range reports {
		for _, g := range r.Groups {
			if len(g.results) > 1 {
				seeded[r.Bench] = append(seeded[r.Bench], g)
				all = append(all, g)
			}
		}
	}
	for _, r := range reports {
		if r.seeded = seeded[r.Bench]; r.seeded == nil {
			r.seeded = all
		}
		r.Claims = r.claims()
	}
	return reports, nil
}

// together makes one result a seed of those of six subnets that were trained alone; a seed that lacks one is left out.
func together(each []Result) []Result {
	var all []Result
	for first := 0; first < len(each); {
		r := each[first]
		r.Test = slices.Clone(r.Test)
		r.Course = nil
		n := 1
		for first+n < len(each) && each[first+n].Config.Seed == r.Config.Seed {
			next := &each[first+n]
			r.MACs, r.Seconds, r.Test = r.MACs+next.MACs, r.Seconds+next.Seconds, append(r.Test, next.Test...)
			n++
		}
		if first += n; n == nets {
			all = append(all, r)
		}
	}
	return all
}

// common returns the groups with the seeds that both have; nil if one is missing or they share none.
func common(a, b *group) (*group, *group) {
	if a == nil || b == nil {
		return nil, nil
	}
	shared := func(of, other *group) *group {
		g := &group{method: of.method, length: of.length}
		for _, r := range of.results {
			if slices.ContainsFunc(other.results, func(o Result) bool { return o.Config.Seed == r.Config.Seed }) {
				g.results = append(g.results, r)
			}
		}
		return g
	}
	a, b = shared(a, b), shared(b, a)
	if len(a.results) == 0 {
		return nil, nil
	}
	return a, b
}

// noise is two standard errors of the difference of a figure between methods, by their deviations over seeds. Of few seeds these
// may be small by chance: none counts for less than the median of all methods', which stands for those of one seed too. It is 0
// where no method has several.
func (r *Report) noise(own, rival *group, of func(*Result) float64) float64 {
	var usual []float64
	for i := range r.seeded {
		_, d := r.seeded[i].mean(of)
		usual = append(usual, d)
	}
	if len(usual) == 0 {
		return 0
	}
	slices.Sort(usual)
	variance := 0.0
	for _, g := range []*group{own, rival} {
		_, d := g.mean(of)
		d = max(d, usual[len(usual)/2])
		variance += d * d / float64(len(g.results))
	}
	return 2 * math.Sqrt(variance)
}

// find returns the results of a method at a length, or nil.
func (r *Report) find(method, length string) *group {
	for i := range r.Groups {
		if g := &r.Groups[i]; g.method == method && g.length == length {
			return g
		}
	}
	return nil
}

// mean of a figure over the seeds, and its standard deviation, 0 for one seed.
func (g *group) mean(of func(*Result) float64) (mean, deviation float64) {
	var values []float64
	for i := range g.results {
		values = append(values, of(&g.results[i]))
	}
	if len(values) == 1 {
		return values[0], 0
	}
	return stat.MeanStdDev(values, nil)
}

func (g *group) value(of func(*Result) float64) float64 {
	m, _ := g.mean(of)
	return m
}

// Figures of a result. Accuracies in per cent, on test images.
func smallest(r *Result) float64 { return 100 * r.Test[0].Accuracy }
func middle(r *Result) float64   { return 100 * r.Test[len(r.Test)/2].Accuracy }
func largest(r *Result) float64  { return 100 * r.Test[len(r.Test)-1].Accuracy }
func cost(r *Result) float64     { return r.MACs }

func meanOfSix(r *Result) float64 {
	sum := 0.0
	for _, n := range r.Test {
		sum += 100 * n.Accuracy
	}
	return sum / float64(len(r.Test))
}

// dip is by how many points the largest subnet fell where the others joined.
func dip(r *Result) float64 {
	return r.dipOf(func(p Point) float64 { return 100 * p.Max })
}

func (r *Result) dipOf(accuracy func(Point) float64) float64 {
	if !r.probed() {
		return math.NaN()
	}
	var points []runs.Point
	for _, p := range r.Course {
		points = append(points, runs.Point{Epoch: p.Epoch, Beta: p.Beta, Accuracy: accuracy(p)})
	}
	d, ok := runs.Dip(points)
	if !ok {
		return math.NaN()
	}
	return d
}

// byChance is the dip to expect of an accuracy that only varies, by as much as single evaluations do before the switch: the
// lowest of several means lies below the one before.
func byChance(r *Result) float64 {
	const draws = 500
	rng := rand.New(rand.NewPCG(r.Config.Seed, 0xd1b))
	deviation, sum := unsteady(r), 0.0
	for range draws {
		sum += r.dipOf(func(Point) float64 { return deviation * rng.NormFloat64() })
	}
	return sum / draws
}

// probed reports whether there are evaluations around the switch.
func (r *Result) probed() bool { return len(r.Course) > r.Config.Epochs }

// unsteady is the standard deviation of single evaluations of the largest subnet around a straight line, in the epoch before the
// others join, in points.
func unsteady(r *Result) float64 {
	var epochs, values []float64
	joins := slices.IndexFunc(r.Course, func(p Point) bool { return p.Beta > 0 })
	for i := range max(joins, 0) {
		if p := r.Course[i]; p.Epoch >= r.Course[joins].Epoch-1 {
			epochs, values = append(epochs, p.Epoch), append(values, 100*p.Max)
		}
	}
	const fitted = 2 // of a line
	if len(values) <= fitted {
		return math.NaN()
	}
	start, slope := stat.LinearRegression(epochs, values, nil, false)
	sum := 0.0
	for i, v := range values {
		off := v - start - slope*epochs[i]
		sum += off * off
	}
	return math.Sqrt(sum / float64(len(values)-fitted))
}

// Table lists the groups.
func (r *Report) Table() report.Table {
	t := report.Table{
		Title:   "Test accuracy in per cent, in evaluation mode after recalibration, and cost; mean ± standard deviation over the seeds",
		Columns: []string{"method", "schedule", "seeds", "epochs", "10¹² MACs", "core minutes", "smallest", "middle", "largest", "mean of six", "dip"},
	}
	for i := range r.Groups {
		g := &r.Groups[i]
		spread := func(of func(*Result) float64) string {
			m, d := g.mean(of)
			switch {
			case math.IsNaN(m):
				return "–"
			case len(g.results) == 1:
				return fmt.Sprintf("%.2f", m)
			}
			return fmt.Sprintf("%.2f ± %.2f", m, d)
		}
		t.Rows = append(t.Rows, []string{
			g.method, g.length, strconv.Itoa(len(g.results)), strconv.Itoa(g.results[0].Config.Epochs),
			fmt.Sprintf("%.2f", g.value(cost)/1e12), fmt.Sprintf("%.1f", g.value(func(r *Result) float64 { return r.Seconds / 60 * float64(r.Machine.Threads) })),
			spread(smallest), spread(middle), spread(largest), spread(meanOfSix), spread(dip),
		})
	}
	return t
}

// plots draw accuracy over cost, accuracy over the subnets' MACs, and the switch.
func (r *Report) plots() []report.Plot {
	percent := report.Axis{Label: "test accuracy", Unit: " %"}
	end := func(id, title string, of func(*Result) float64) report.Plot {
		p := report.Plot{ID: r.Bench + id, Title: title, Kind: "points", X: report.Axis{Label: "training cost, 10¹² MACs"}, Y: percent}
		for i := range r.Groups {
			g := &r.Groups[i]
			at := report.Point{X: g.value(cost) / 1e12, Y: g.value(of)}
			if n := len(p.Lines); n > 0 && p.Lines[n-1].Name == g.method {
				p.Lines[n-1].Points = append(p.Lines[n-1].Points, at)
				continue
			}
			p.Lines = append(p.Lines, report.Line{Name: g.method, Joined: true, Points: []report.Point{at}})
		}
		return p
	}
	nets := report.Plot{ID: r.Bench + "-nets", Title: "Six uniform subnets, at equal cost of training", Kind: "points", X: report.Axis{Label: "M MACs of the subnet"}, Y: percent}
	for i := range r.Groups {
		g := &r.Groups[i]
		if g.length != full && g.length != equal || !competes(g.method) {
			continue
		}
		l := report.Line{Name: g.method, Joined: true}
		for k := range g.results[0].Test {
			l.Points = append(l.Points, report.Point{
				X: float64(g.results[0].Test[k].MACs) / 1e6,
				Y: g.value(func(r *Result) float64 { return 100 * r.Test[k].Accuracy }),
			})
		}
		nets.Lines = append(nets.Lines, l)
	}
	plots := []report.Plot{
		end("-smallest", "Smallest subnet", smallest), end("-largest", "Largest subnet", largest), nets,
	}
	if p := r.dips(); len(p.Lines) > 0 {
		plots = append(plots, p)
	}
	return plots
}

// competes reports whether the method is one of those that are compared, not a variant of DepS.
func competes(method string) bool { return epochs[method] > 0 || method == alone }

// dips draws the largest subnet around the switch, for the first seed.
func (r *Report) dips() report.Plot {
	p := report.Plot{
		ID: r.Bench + "-dip", Title: "The largest subnet where the others join (seed 1)", Kind: "line",
		X: report.Axis{Label: "epochs"}, Y: report.Axis{Label: "validation accuracy", Unit: " %"},
	}
	for _, name := range []string{methodDeps, noRamp} {
		g := r.find(name, full)
		if g == nil {
			continue
		}
		l := report.Line{Name: name, Joined: true}
		joins := math.NaN()
		for i, at := range g.results[0].Course {
			if at.Beta > 0 && i > 0 {
				joins = g.results[0].Course[i-1].Epoch
				break
			}
		}
		for _, at := range g.results[0].Course {
			if at.Epoch >= joins-1 && at.Epoch <= joins+2 {
				l.Points = append(l.Points, report.Point{X: at.Epoch, Y: 100 * at.Max})
			}
		}
		p.Lines = append(p.Lines, l)
	}
	return p
}

// markdown is the report as a part of a page, with its pictures.
func (r *Report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "## %s\n\n![accuracy over cost](%s.svg)\n\n", r.Title, r.Bench)
	b.WriteString(r.Table().Markdown())
	b.WriteString("\n")
	for i := range r.Groups {
		if g := &r.Groups[i]; g.value(smallest) < g.value(largest)/2 {
			fmt.Fprintf(&b, "With %s (%s) the smallest subnet has collapsed: what is told of its means is of that.\n\n", g.method, g.length)
		}
	}
	b.WriteString(report.Verdicts(r.Claims).Markdown())
	b.WriteString("\n")
	return b.String()
}
