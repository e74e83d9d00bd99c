package main

import (
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/experiments/report"
	"weft/train/runs"
)

func newRunsCompareCmd(find func(string) (*runs.Run, error)) *cobra.Command {
	var (
		asJSON bool
		page   string
	)
	cmd := &cobra.Command{
		Use:   "compare RUN RUN...",
		Short: "Compare runs: settings, accuracy at equal cost, cost to equal accuracy",
		Args:  cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			all, c, err := compareNamed(find, args)
			if err != nil {
				return err
			}
			if page != "" {
				if err := report.Write(page, runsPage(all, c, "weft runs compare "+strings.Join(args, " ")+" --report "+page)); err != nil {
					return err
				}
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), c)
			}
			return c.print(cmd.OutOrStdout(), page)
		},
	}
	cmd.Flags().StringVar(&page, "report", "", "write a page with the curves to this file")
	jsonFlag(cmd, &asJSON)
	return cmd
}

func newRunsReportCmd(find func(string) (*runs.Run, error)) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "report RUN...",
		Short: "Write a page with the curves of runs",
		Long: `Write one self-contained page: loss and accuracy over epochs and over cost, the learning rate and the smaller subnets'
share of it, and the dip of the largest subnet where they join. Several runs are drawn over each other.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := writable(path); err != nil {
				return err
			}
			all, c, err := compareNamed(find, args)
			if err != nil {
				return err
			}
			if err := report.Write(path, runsPage(all, c, "weft runs report "+strings.Join(args, " ")+" -o "+path)); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), path)
			return err
		},
	}
	cmd.Flags().StringVarP(&path, "output", "o", "report.html", "the page")
	return cmd
}

// compareNamed opens the runs of those names and compares them.
func compareNamed(find func(string) (*runs.Run, error), names []string) (all []*runs.Run, c comparison, err error) {
	for _, name := range names {
		r, err := find(name)
		if err != nil {
			return nil, c, err
		}
		all = append(all, r)
	}
	c, err = compareRuns(all)
	return all, c, err
}

// comparison is what runs compare prints.
type comparison struct {
	Runs     []runs.Summary    `json:"runs"`
	Settings []runs.Difference `json:"settings"` // those that differ
	Nets     []netComparison   `json:"nets"`
}

// netComparison compares the largest or the smallest subnet of the runs. What is not known is missing.
type netComparison struct {
	Net      string     `json:"net"`
	Flops    float64    `json:"flops"`    // equal cost: what the cheapest run spent
	Accuracy []*float64 `json:"accuracy"` // there
	Least    float64    `json:"least"`    // equal accuracy: that of the least accurate run
	Cost     []*float64 `json:"cost"`     // flops to get there
}

func compareRuns(all []*runs.Run) (c comparison, err error) {
	for _, r := range all {
		c.Runs = append(c.Runs, summary(r))
	}
	if c.Settings, err = runs.Differences(all); err != nil {
		return c, err
	}
	for _, net := range []string{"max", "min"} {
		n := netComparison{Net: net}
		var accuracy, cost []float64
		n.Flops, accuracy = runs.AtEqualCost(all, net)
		n.Least, cost = runs.ToEqualAccuracy(all, net)
		if math.IsInf(n.Flops, 0) || math.IsInf(n.Least, 0) {
			continue // no run has evaluated it
		}
		n.Accuracy, n.Cost = known(accuracy), known(cost)
		c.Nets = append(c.Nets, n)
	}
	return c, nil
}

// known turns NaN into nil, which JSON can tell.
func known(values []float64) []*float64 {
	var all []*float64
	for _, v := range values {
		if math.IsNaN(v) {
			all = append(all, nil)
		} else {
			all = append(all, &v)
		}
	}
	return all
}

func (c comparison) names() []string {
	var names []string
	for _, s := range c.Runs {
		names = append(names, s.Name)
	}
	return names
}

// tables are the comparison in words and numbers.
func (c comparison) tables() []report.Table {
	settings := report.Table{Title: "Settings that differ", Words: true, Columns: append([]string{"setting"}, c.names()...)}
	if len(c.Runs) == 1 {
		settings.Title = "Settings"
	}
	for _, d := range c.Settings {
		line := []string{d.Field}
		for i := range c.Runs {
			line = append(line, brief(d.Values[i]))
		}
		settings.Rows = append(settings.Rows, line)
	}
	results := report.Table{Title: "Results", Columns: append([]string{""}, c.names()...)}
	row := func(title string, cell func(i int) string) {
		line := []string{title}
		for i := range c.Runs {
			line = append(line, cell(i))
		}
		results.Rows = append(results.Rows, line)
	}
	row("epochs", func(i int) string { return fmt.Sprintf("%.4g/%d", c.Runs[i].Epoch, c.Runs[i].Epochs) })
	row("largest, %", func(i int) string { return orDash(100*c.Runs[i].Max, "%.2f") })
	row("smallest, %", func(i int) string { return orDash(100*c.Runs[i].Min, "%.2f") })
	row("dip at the switch, points", func(i int) string {
		if c.Runs[i].Dip == nil {
			return "–"
		}
		return fmt.Sprintf("%.2f", 100**c.Runs[i].Dip)
	})
	row("flops", func(i int) string { return orDash(c.Runs[i].Flops, "%.3g") })
	row("time", func(i int) string { return short(time.Duration(c.Runs[i].Seconds * float64(time.Second))) })
	for _, n := range c.Nets {
		if len(c.Runs) == 1 {
			break // nothing to compare with
		}
		value := func(v *float64, scale float64, verb string) string {
			if v == nil {
				return "–"
			}
			return fmt.Sprintf(verb, scale**v)
		}
		row(fmt.Sprintf("%s at %.3g flops, %%", n.Net, n.Flops), func(i int) string { return value(n.Accuracy[i], 100, "%.2f") })
		row(fmt.Sprintf("flops to %.2f %%, %s", 100*n.Least, n.Net), func(i int) string { return value(n.Cost[i], 1, "%.3g") })
	}
	if len(settings.Rows) == 0 {
		return []report.Table{results}
	}
	return []report.Table{settings, results}
}

// brief is a setting's JSON in a table; the description of a space is too long for one.
func brief(value string) string {
	const most = 40
	if value = strings.Trim(value, `"`); len(value) > most {
		return value[:most] + "…"
	}
	return value
}

func (c comparison) print(w io.Writer, page string) error {
	for i, t := range c.tables() {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if err := printLines(w, append([][]string{t.Columns}, t.Rows...), func(col int) bool { return col > 0 && !t.Words }); err != nil {
			return err
		}
	}
	if page != "" {
		fmt.Fprintf(w, "Curves: %s\n", page)
	}
	return nil
}

// runsPage is the page of one run or several.
func runsPage(all []*runs.Run, c comparison, command string) report.Data {
	d := report.Data{Title: "Training " + strings.Join(c.names(), ", "), Machine: all[0].Record.CPU, Commands: []string{command}}
	var parts []string
	for _, s := range c.Runs {
		parts = append(parts, fmt.Sprintf("%s: %s with %s on %s, largest subnet %s, smallest %s, %.3g flops in %s.", s.Name, s.Space, s.Recipe, s.Data,
			orDash(100*s.Max, "%.2f %%"), orDash(100*s.Min, "%.2f %%"), s.Flops, short(time.Duration(s.Seconds*float64(time.Second)))))
	}
	d.Summary = strings.Join(parts, " ") + " Accuracies are on validation images, in evaluation mode after recalibration."
	if len(all) == 1 {
		c.Settings, _ = runs.Differences([]*runs.Run{all[0], {}})
	}
	d.Sections = append(d.Sections, report.Section{Title: "Numbers", Tables: c.tables()})
	epochs := report.Axis{Label: "epochs"}
	percent := report.Axis{Label: "validation accuracy", Unit: " %"}
	d.Sections = append(d.Sections, report.Section{Title: "Curves", Plots: plots(
		report.Plot{ID: "loss", Title: "Loss", Kind: "line", X: epochs, Y: report.Axis{Label: "loss"}, Lines: losses(all)},
		report.Plot{
			ID: "accuracy", Title: "Accuracy over epochs", Kind: "line", X: epochs, Y: percent,
			Lines: accuracies(all, func(p runs.Point) float64 { return p.Epoch }, everything),
		},
		report.Plot{
			ID: "cost", Title: "Accuracy over cost", Kind: "line", X: report.Axis{Label: "training flops, 10¹²"}, Y: percent,
			Lines: accuracies(all, func(p runs.Point) float64 { return p.Flops / 1e12 }, everything),
		},
		report.Plot{ID: "rate", Title: "Learning rate of the largest subnet, and of the others", Kind: "line", X: epochs, Y: report.Axis{Label: "η and β·η"}, Lines: rates(all)},
		report.Plot{
			ID: "dip", Title: "The largest subnet where the others join", Kind: "line", X: epochs, Y: percent,
			Lines: accuracies(all, func(p runs.Point) float64 { return p.Epoch }, aroundSwitch),
		},
	)})
	return d
}

// plots leaves out plots that nothing is drawn in.
func plots(all ...report.Plot) []report.Plot {
	var drawn []report.Plot
	for _, p := range all {
		if len(p.Lines) > 0 {
			drawn = append(drawn, p)
		}
	}
	return drawn
}

// label names a line of a run; its name is left out where there is but one run.
func label(all []*runs.Run, r *runs.Run, what string) string {
	if len(all) == 1 {
		return what
	}
	return r.Name + ": " + what
}

func losses(all []*runs.Run) []report.Line {
	var lines []report.Line
	for _, r := range all {
		largest, others := report.Line{Name: label(all, r, "largest"), Joined: true}, report.Line{Name: label(all, r, "others"), Joined: true}
		for _, m := range r.Metrics {
			if m.Loss != 0 {
				largest.Points = append(largest.Points, report.Point{X: m.Epoch, Y: m.Loss})
			}
			if m.SubLoss != 0 {
				others.Points = append(others.Points, report.Point{X: m.Epoch, Y: m.SubLoss})
			}
		}
		for _, l := range []report.Line{largest, others} {
			if len(l.Points) > 0 {
				lines = append(lines, l)
			}
		}
	}
	return lines
}

func rates(all []*runs.Run) []report.Line {
	var lines []report.Line
	for _, r := range all {
		own, others := report.Line{Name: label(all, r, "η"), Joined: true}, report.Line{Name: label(all, r, "β·η"), Joined: true}
		for _, m := range r.Metrics {
			own.Points = append(own.Points, report.Point{X: m.Epoch, Y: m.LR})
			others.Points = append(others.Points, report.Point{X: m.Epoch, Y: m.Beta * m.LR})
		}
		if len(own.Points) > 0 {
			lines = append(lines, own, others)
		}
	}
	return lines
}

// accuracies draws a line for each net of each run, through those of its points that are wanted.
func accuracies(all []*runs.Run, x func(runs.Point) float64, wanted func(r *runs.Run, net string) []runs.Point) []report.Line {
	var lines []report.Line
	for _, r := range all {
		for _, net := range r.Nets() {
			l := report.Line{Name: label(all, r, net), Joined: true}
			for _, p := range wanted(r, net) {
				l.Points = append(l.Points, report.Point{X: x(p), Y: 100 * p.Accuracy})
			}
			if len(l.Points) > 0 {
				lines = append(lines, l)
			}
		}
	}
	return lines
}

func everything(r *runs.Run, net string) []runs.Point { return r.Accuracy(net) }

// aroundSwitch gives the course of the largest subnet from one epoch before the others join to two after.
func aroundSwitch(r *runs.Run, net string) []runs.Point {
	points := r.Accuracy(net)
	joins := math.NaN()
	for i, p := range points {
		if p.Beta > 0 && i > 0 {
			joins = points[i-1].Epoch
			break
		}
	}
	var near []runs.Point
	for _, p := range points {
		if net == "max" && p.Epoch >= joins-1 && p.Epoch <= joins+2 {
			near = append(near, p)
		}
	}
	return near
}
