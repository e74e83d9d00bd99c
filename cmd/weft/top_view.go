package main

import (
	"fmt"
	"math"
	"slices"
	"time"

	"weft/dash"
)

// topView is what top shows, as far as the events have told.
type topView struct {
	url    string
	model  string // the one to show ("": the first)
	plain  bool   // no colours
	gone   error  // why nothing comes (nil: the server is there)
	trying bool   // to reach a server that is gone

	hello  dash.Hello
	models []dash.Model
	ticks  []*dash.Tick // of the last minute, oldest first
	behind int          // events of the past that are still to come
}

// apply takes an event in and reports whether there is something new to draw.
func (v *topView) apply(e dash.Event) bool {
	switch {
	case e.Hello != nil:
		v.hello, v.models, v.ticks, v.behind = *e.Hello, nil, nil, e.Hello.Missed
		v.gone, v.trying = nil, false
		return false
	case e.Models != nil:
		v.models, v.ticks = e.Models, nil
	case e.Tick != nil:
		if v.ticks = append(v.ticks, e.Tick); len(v.ticks) > max(v.hello.Window, 1) {
			v.ticks = v.ticks[1:]
		}
	}
	v.behind--
	return v.behind <= 0 && len(v.ticks) > 0
}

// check returns an error if the wanted model is not served.
func (v *topView) check() error {
	if v.model == "" || v.index() >= 0 || len(v.models) == 0 {
		return nil
	}
	var names []string
	for _, m := range v.models {
		names = append(names, m.Name)
	}
	return usagef("%s serves %v: choose one with --model", v.url, names)
}

// index is that of the model to show, -1 if there is none.
func (v *topView) index() int {
	if v.model == "" {
		return min(len(v.models), 1) - 1
	}
	return slices.IndexFunc(v.models, func(m dash.Model) bool { return m.Name == v.model })
}

// next shows the next model.
func (v *topView) next() {
	if len(v.models) > 0 {
		v.model = v.models[(v.index()+1)%len(v.models)].Name
	}
}

// lately is what the figures are about.
const lately = 10 * time.Second

// per returns the number of ticks in a time.
func (v *topView) per(d time.Duration) int {
	return max(1, int(math.Round(d.Seconds()*1000/max(v.hello.TickMS, 1))))
}

// topSum is what became of a model's requests during some ticks.
type topSum struct {
	seconds                    float64
	arrived, met, missed, late int
	accuracy                   float64 // sum over answered requests
	subnets                    []int
	batches, images            int
	slack, slowest             float64 // least p1, greatest p99; infinite if nothing was answered
}

// sum adds up n ticks that end before tick end.
func (v *topView) sum(model, end, n int) topSum {
	s := topSum{slack: math.Inf(1), slowest: math.Inf(-1), subnets: make([]int, len(v.models[model].Subnets))}
	for _, t := range v.ticks[max(end-n, 0):end] {
		l := &t.Models[model]
		s.seconds += t.DtMS / 1000
		s.arrived += l.Arrived
		s.met += l.Met
		s.late += l.Late
		s.missed += l.Late + l.Refused + l.Failed
		s.accuracy += l.Accuracy * float64(l.Met+l.Late)
		for i, images := range l.Subnets {
			s.subnets[i] += images
			s.images += images
		}
		for _, batches := range l.Batches {
			s.batches += batches
		}
		if l.Met+l.Late > 0 {
			s.slack, s.slowest = min(s.slack, l.SlackMS.P1), max(s.slowest, l.LatencyMS.P99)
		}
	}
	return s
}

// ratio is NaN where there is nothing to divide by.
func ratio(a, b float64) float64 {
	if b == 0 {
		return math.NaN()
	}
	return a / b
}

func (s *topSum) attainment() float64 { return ratio(float64(s.met), float64(s.met+s.missed)) }
func (s *topSum) mean() float64       { return ratio(s.accuracy, float64(s.met+s.late)) }
func (s *topSum) batch() float64      { return ratio(float64(s.images), float64(s.batches)) }

// lines draws the view: at most height lines of at most width characters.
func (v *topView) lines(width, height int) []string {
	c := &canvas{width: width, plain: v.plain}
	v.head(c)
	if i := v.index(); i >= 0 && len(v.ticks) > 0 {
		v.figures(c, i)
		v.curves(c, i)
		left := height - len(c.lines)
		workers := v.ticks[len(v.ticks)-1].Workers
		v.subnets(c, i, max(3, left-min(len(workers), left/3)-4))
		v.workers(c, workers)
	}
	return c.lines[:min(len(c.lines), max(height, 1))]
}

func (v *topView) head(c *canvas) {
	c.text(bold, "weft top  ").text("", v.url+"  ")
	switch {
	case v.gone != nil:
		c.text(red, "gone: "+v.gone.Error())
	case len(v.ticks) == 0:
		c.text(dim, "nothing yet")
	default:
		t := v.ticks[len(v.ticks)-1]
		state, style := "not ready", red
		switch {
		case t.Draining:
			state = "draining"
		case t.Ready:
			state, style = "live", green
		}
		c.text(style, state).text(dim, "  up "+(time.Duration(t.AtMS)*time.Millisecond).Truncate(time.Second).String())
	}
	c.end()
	if i := v.index(); i >= 0 {
		m := v.models[i]
		c.text(bold, m.Name).text(dim, fmt.Sprintf("  version %s, policy %s, %s", m.Version, m.Policy, count(len(m.Subnets), "subnet")))
		if len(v.models) > 1 {
			c.text(dim, fmt.Sprintf("  model %d of %d, tab: next", i+1, len(v.models)))
		}
	} else {
		c.text(dim, "no model is served")
	}
	c.end().end()
}

// figures are those of the latest time.
func (v *topView) figures(c *canvas, model int) {
	s := v.sum(model, len(v.ticks), v.per(lately))
	now := &v.ticks[len(v.ticks)-1].Models[model]
	bad := func(wrong bool) string {
		if wrong {
			return red
		}
		return bold
	}
	column := c.width / 3
	for k, f := range []struct{ name, value, style string }{
		{"deadlines met", percents(s.attainment()), bad(s.attainment() < 0.99)},
		{"accuracy", percents(s.mean()), bold},
		{"requests", figure(ratio(float64(s.arrived), s.seconds), "/s"), bold},
		{"missed", fmt.Sprint(s.missed, " in 10 s"), bad(s.missed > 0)},
		{"waiting", fmt.Sprintf("%d, %s", now.Waiting, figure(now.BacklogMS, " ms")), bold},
		{"slowest 1 %", figure(s.slowest, " ms"), bold},
	} {
		c.column(k%3*column).text(dim, f.name+" ").text(f.style, f.value)
		if k%3 == 2 {
			c.end()
		}
	}
	c.end()
}

// curves draws the last minute, a character a second.
func (v *topView) curves(c *canvas, model int) {
	const label, value = 15, 12
	second := v.per(time.Second)
	n := min(c.width-label-value, (len(v.ticks)+second-1)/second)
	subnets := v.models[model].Subnets
	low, high := subnets[0].Accuracy, subnets[len(subnets)-1].Accuracy
	for _, row := range []struct {
		name      string
		style     string
		low, high float64 // of the axis; high 0: the greatest value
		value     func(s *topSum, end int) float64
		format    func(float64) string
	}{
		{"requests /s", blue, 0, 0, func(s *topSum, _ int) float64 { return ratio(float64(s.arrived), s.seconds) }, plainFigure},
		{"missed /s", red, 0, 0, func(s *topSum, _ int) float64 { return ratio(float64(s.missed), s.seconds) }, plainFigure},
		{"deadlines met", green, 0, 1, func(s *topSum, _ int) float64 { return s.attainment() }, percents},
		{"accuracy", blue, low, high, func(s *topSum, _ int) float64 { return s.mean() }, percents},
		{"images a batch", blue, 0, float64(v.models[model].MaxBatch), func(s *topSum, _ int) float64 { return s.batch() }, plainFigure},
		{"queue, ms", magenta, 0, 0, func(_ *topSum, end int) float64 { return v.ticks[end-1].Models[model].BacklogMS }, plainFigure},
		{"slack 1 %, ms", blue, 0, 0, func(s *topSum, _ int) float64 { return s.slack }, plainFigure},
	} {
		var list []float64
		for k := n - 1; k >= 0; k-- {
			end := len(v.ticks) - k*second
			s := v.sum(model, end, second)
			list = append(list, row.value(&s, end))
		}
		c.text(dim, row.name).column(label).text(row.style, curve(list, row.low, row.high))
		if len(list) > 0 {
			c.column(c.width-value).text(bold, row.format(list[len(list)-1]))
		}
		c.end()
	}
	c.end()
}

// subnets lists those that answer, the most used first, on at most rows lines.
func (v *topView) subnets(c *canvas, model, rows int) {
	const share, accuracy, latency = 30, 9, 11
	s := v.sum(model, len(v.ticks), v.per(lately))
	order := make([]int, len(s.subnets))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return s.subnets[b] - s.subnets[a] })
	name := max(c.width-share-accuracy-latency, 12)
	c.text(dim, "subnet").column(name).text(dim, "accuracy").column(name+accuracy).text(dim, "one image").
		column(name+accuracy+latency).text(dim, "images, last 10 s").end()
	for _, i := range order[:min(rows, len(order))] {
		if s.subnets[i] == 0 {
			break
		}
		sub, part := v.models[model].Subnets[i], float64(s.subnets[i])/float64(s.images)
		c.text("", sub.Name).column(name).text("", fmt.Sprintf("%.2f %%", 100*sub.Accuracy)).
			column(name+accuracy).text("", figure(sub.LatencyMS[0], " ms")).
			column(name+accuracy+latency).text(blue, bar(part, share-8)).text(bold, fmt.Sprintf(" %.0f %%", 100*part)).end()
	}
	c.end()
}

// workers lists the workers as they were in the last second.
func (v *topView) workers(c *canvas, workers []dash.Worker) {
	const name, share = 16, 30
	c.text(dim, "worker").column(name).text(dim, "busy").column(name+share).text(dim, "ran last").end()
	recent := v.ticks[max(0, len(v.ticks)-v.per(time.Second)):]
	for _, w := range workers {
		busy := 0.
		for _, t := range recent {
			if i := slices.IndexFunc(t.Workers, func(o dash.Worker) bool { return o.Index == w.Index }); i >= 0 {
				busy += t.Workers[i].Busy / float64(len(recent))
			}
		}
		c.text("", w.Name).column(name).text(green, bar(busy, share-8)).text(bold, fmt.Sprintf(" %.0f %%", 100*busy)).column(name + share)
		switch i := slices.IndexFunc(v.models, func(m dash.Model) bool { return m.Name == w.Model }); {
		case !w.Up:
			c.text(red, "down")
		case i >= 0 && w.Subnet >= 0 && w.Subnet < len(v.models[i].Subnets):
			c.text("", w.Model+" "+v.models[i].Subnets[w.Subnet].Name)
		default:
			c.text(dim, "nothing yet")
		}
		c.end()
	}
}
