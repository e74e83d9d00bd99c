package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// section is a heading and its charts.
type section struct {
	Title, Note string
	Tables      []Table
	Charts      []chart
}

// chart is what the page's script draws. All series share one list of x values, as uPlot wants them; a series has no
// number where it has no point.
type chart struct {
	ID     string   `json:"id"`
	Title  string   `json:"title"`
	Kind   string   `json:"kind"` // "line", "step" or "points"
	Sync   string   `json:"sync"` // charts of the same name share a cursor
	X      axis     `json:"x"`
	Y      axis     `json:"y"`
	XS     []number `json:"xs"`
	Series []series `json:"series"`
	Marks  []mark   `json:"marks"`
}

type axis struct {
	Label string   `json:"label"`
	Unit  string   `json:"unit"`
	Log   bool     `json:"log"`   // logarithmic, in y nearly so: with a place for 0
	Range []number `json:"range"` // fixed ends; a missing number is taken from the data
}

type series struct {
	Name   string   `json:"name"`
	Colour int      `json:"colour"` // of the palette; negative: that of the text
	Joined bool     `json:"joined"` // by a line
	YS     []number `json:"ys"`
	Labels []string `json:"labels"` // one for each of YS, or none
}

type mark struct {
	X     number `json:"x"`
	Label string `json:"label"`
}

// number is a float64 whose JSON is null where it is no number.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if x := float64(n); math.IsNaN(x) || math.IsInf(x, 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(n), 'g', 9, 64), nil
}

var none = number(math.NaN())

// sections returns what there are data for.
func sections(d Data) []section {
	var all []section
	for _, s := range d.Sections {
		to := section{s.Title, s.Note, s.Tables, nil}
		for _, p := range s.Plots {
			to.Charts = append(to.Charts, p.chart())
		}
		all = append(all, to)
	}
	all = append(all,
		section{"Over time", "Every policy met the same requests. The charts share a cursor.", nil, timeCharts(d)},
		section{"Trade-off of the subnets", "All of them live in one set of weights. Point at one for its name.", nil, tradeOff(d)},
		section{"Training", "", nil, trainingCharts(d)},
	)
	return slices.DeleteFunc(all, func(s section) bool { return len(s.Charts)+len(s.Tables) == 0 })
}

// point is a place in a chart, before the series are brought onto common x values.
type point struct {
	x, y  float64
	label string
}

// line is a series as points.
type line struct {
	name   string
	colour int
	joined bool
	points []point
}

// fill brings lines onto common x values. Lines without a single number are left out.
func (c chart) fill(lines []line) chart {
	lines = slices.DeleteFunc(lines, func(l line) bool {
		return !slices.ContainsFunc(l.points, func(p point) bool { return !math.IsNaN(p.y) })
	})
	var xs []float64
	for _, l := range lines {
		separate(l.points)
		for _, p := range l.points {
			xs = append(xs, p.x)
		}
	}
	slices.Sort(xs)
	xs = slices.Compact(xs)
	for _, x := range xs {
		c.XS = append(c.XS, number(x))
	}
	for _, l := range lines {
		s := series{Name: l.name, Colour: l.colour, Joined: l.joined}
		s.YS = slices.Repeat([]number{none}, len(xs))
		for _, p := range l.points {
			i, _ := slices.BinarySearch(xs, p.x)
			s.YS[i] = number(p.y)
			if p.label != "" {
				if s.Labels == nil {
					s.Labels = make([]string, len(xs))
				}
				s.Labels[i] = p.label
			}
		}
		c.Series = append(c.Series, s)
	}
	return c
}

// separate sorts points by x and moves equal ones apart by an invisible amount, so that none hides another.
func separate(points []point) {
	slices.SortStableFunc(points, func(a, b point) int {
		switch {
		case a.x < b.x:
			return -1
		case a.x > b.x:
			return 1
		}
		return 0
	})
	for i := 1; i < len(points); i++ {
		if prev := points[i-1].x; points[i].x <= prev {
			points[i].x = prev + 1e-7*max(math.Abs(prev), 1)
		}
	}
}

// nonempty leaves out charts without series.
func nonempty(charts ...chart) []chart {
	return slices.DeleteFunc(charts, func(c chart) bool { return len(c.Series) == 0 })
}

// timeCharts shows how the policies fared over time.
func timeCharts(d Data) []chart {
	seconds := axis{Label: "time, s", Unit: "s"}
	of := func(id, title string, y axis, value func(Bin) float64) chart {
		c := chart{ID: id, Title: title, Kind: "step", Sync: "time", X: seconds, Y: y}
		var lines []line
		colour := d.colours()
		for _, t := range d.Timelines {
			lines = append(lines, line{name: t.Policy, colour: colour[t.Policy], joined: true, points: steps(t, value)})
		}
		return c.fill(lines)
	}
	parts := []number{0, 100}
	arrivals := of("arrivals", "Arrivals", axis{Label: "requests per second", Range: []number{0, none}},
		func(b Bin) float64 { return b.Arrivals })
	return nonempty(
		same(arrivals, "arrivals"),
		of("chosen", "Accuracy of the subnet chosen", axis{Label: "accuracy, %", Unit: "%"},
			func(b Bin) float64 { return 100 * b.Accuracy }),
		of("attainment", "Requests answered in time", axis{Label: "attainment, %", Unit: "%", Range: parts},
			func(b Bin) float64 { return 100 * b.Attainment }),
		of("queue", "Queue", axis{Label: "requests waiting", Log: true},
			func(b Bin) float64 { return b.Queue }),
		of("batch", "Batch size", axis{Label: "images a batch", Range: []number{0, none}},
			func(b Bin) float64 { return b.Batch }),
	)
}

// steps puts the value of each bin at its start, and the last one at the end too.
func steps(t Timeline, value func(Bin) float64) []point {
	var points []point
	for i, b := range t.Bins {
		points = append(points, point{x: float64(i) * t.Bin.Seconds(), y: value(b)})
	}
	if n := len(t.Bins); n > 0 {
		points = append(points, point{x: float64(n) * t.Bin.Seconds(), y: points[n-1].y})
	}
	return points
}

// same makes one line of a chart whose lines are all the same.
func same(c chart, name string) chart {
	for _, s := range c.Series[min(1, len(c.Series)):] {
		if !slices.Equal(s.YS, c.Series[0].YS) {
			return c
		}
	}
	if len(c.Series) > 0 {
		c.Series = c.Series[:1]
		c.Series[0].Name, c.Series[0].Colour = name, -1
	}
	return c
}

// tradeOff shows accuracy over latency, one line a batch size, and over multiply-accumulates.
func tradeOff(d Data) []chart {
	accuracy := axis{Label: "accuracy, %", Unit: "%"}
	latency := chart{
		ID: "latency", Title: "Accuracy and latency", Kind: "points",
		X: axis{Label: "latency of a batch, ms", Unit: "ms", Log: true}, Y: accuracy,
	}
	if d.SLO > 0 {
		latency.Marks = []mark{{ms(d.SLO), fmt.Sprintf("SLO %g ms", ms(d.SLO))}}
	}
	macs := chart{
		ID: "macs", Title: "Accuracy and work", Kind: "points",
		X: axis{Label: "multiply-accumulates an image, millions", Unit: "M"}, Y: accuracy,
	}
	var byBatch, byWork []line
	for g, group := range groups(d.Subnets) {
		for b, batch := range d.Batches {
			byBatch = append(byBatch, line{
				name: join(group.name, fmt.Sprintf("batch %d", batch)), colour: b, joined: g == 0,
				points: group.points(func(s Subnet) float64 { return float64(ms(s.Latency[b])) }),
			})
		}
		byWork = append(byWork, line{
			name: join(group.name, "subnets"), colour: g, joined: g == 0,
			points: group.points(func(s Subnet) float64 { return s.MACs / 1e6 }),
		})
	}
	return nonempty(latency.fill(byBatch), macs.fill(byWork))
}

// group is the subnets of one kind.
type group struct {
	name    string
	subnets []Subnet
}

// groups keeps the order in which the kinds first appear.
func groups(subnets []Subnet) []group {
	var all []group
	for _, s := range subnets {
		i := slices.IndexFunc(all, func(g group) bool { return g.name == s.Group })
		if i < 0 {
			i = len(all)
			all = append(all, group{name: s.Group})
		}
		all[i].subnets = append(all[i].subnets, s)
	}
	return all
}

// points places the subnets of the group for which x is known.
func (g group) points(x func(Subnet) float64) []point {
	var points []point
	for _, s := range g.subnets {
		if at := x(s); at > 0 {
			points = append(points, point{at, 100 * s.Accuracy, s.Name})
		}
	}
	return points
}

// join names a series of a group, if it has a name.
func join(group, rest string) string {
	return strings.TrimPrefix(group+", "+rest, ", ")
}

func ms(d time.Duration) number { return number(float64(d) / float64(time.Millisecond)) }

// trainingCharts shows loss and accuracy by epoch, with what happened on the way.
func trainingCharts(d Data) []chart {
	epochs := axis{Label: "epoch"}
	loss := chart{ID: "loss", Title: "Loss", Kind: "line", Sync: "training", X: epochs, Y: axis{Label: "loss"}}
	accuracy := chart{
		ID: "accuracy", Title: "Accuracy", Kind: "line", Sync: "training", X: epochs,
		Y: axis{Label: "accuracy, %", Unit: "%"},
	}
	var losses, accuracies []line
	for i, c := range d.Curves {
		l := line{name: c.Name, colour: i, joined: true}
		a := l
		for _, p := range c.Points {
			l.points = append(l.points, point{x: p.Epoch, y: p.Loss})
			a.points = append(a.points, point{x: p.Epoch, y: 100 * p.Accuracy})
		}
		losses, accuracies = append(losses, l), append(accuracies, a)
		for _, m := range c.Marks {
			if at := (mark{number(m.Epoch), m.Label}); !slices.Contains(loss.Marks, at) {
				loss.Marks = append(loss.Marks, at)
			}
		}
	}
	accuracy.Marks = loss.Marks
	return nonempty(loss.fill(losses), accuracy.fill(accuracies))
}
