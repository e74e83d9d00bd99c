package engine

import (
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"weft/atomicfile"
	"weft/experiments/report"
)

// least is the attainment to reach where the bound allows it.
const least = 0.999

// of returns the row of a case under a policy.
func (r *Report) of(c Case, policy string) Row {
	i := slices.IndexFunc(r.Rows, func(row Row) bool { return row.Case == c && row.Policy == policy })
	return r.Rows[i]
}

// cases returns the loads in order.
func (r *Report) cases() (all []Case) {
	for _, row := range r.Rows {
		if !slices.Contains(all, row.Case) {
			all = append(all, row.Case)
		}
	}
	return all
}

// worst returns the case in which the value is least, and that value.
func (r *Report) worst(value func(Case) float64) (at Case, most float64) {
	for i, c := range r.cases() {
		if v := value(c); i == 0 || v < most {
			at, most = c, v
		}
	}
	return at, most
}

// conclude makes claims and plots out of the rows.
func (r *Report) conclude() {
	attains := report.Claim{
		Text: "attainment in every cell", Paper: "> 0.999",
		Criterion: fmt.Sprintf("at least %v, or all that the bound allows to three digits", least),
	}
	share := report.Claim{
		Text:      "part of what the bound leaves above always the smallest subnet",
		Criterion: "(ours - infaas) / (bound - infaas) in effective accuracy at least 0.8 in every cell",
	}
	for _, policy := range []string{"weft", "slackfit"} {
		c, lead := r.worst(func(c Case) float64 {
			return r.of(c, policy).Attainment - min(least, r.of(c, Bound).Attainment-0.0005)
		})
		attains.Verdicts = append(attains.Verdicts, report.Verdict{
			Policy: policy, Holds: lead >= 0,
			Value: fmt.Sprintf("%.5f at the worst (%s; bound %.5f, infaas %.5f)", r.of(c, policy).Attainment, c.Label(), r.of(c, Bound).Attainment, r.of(c, smallest).Attainment),
		})
		c, part := r.worst(func(c Case) float64 { return r.ofBound(c, policy) })
		share.Verdicts = append(share.Verdicts, report.Verdict{
			Policy: policy, Holds: part >= 0.8, Value: fmt.Sprintf("%.2f at the worst (%s)", part, c.Label()),
		})
	}
	c, lead := r.worst(func(c Case) float64 { return r.of(c, "weft").Effective - r.of(c, "slackfit").Effective })
	r.Claims = []report.Claim{attains, {
		Text: "never below SlackFit in attainment x accuracy", Criterion: "in every cell, to a twentieth of a point",
		Verdicts: []report.Verdict{{Policy: "weft", Value: fmt.Sprintf("%+.2f points at the worst (%s)", 100*lead, c.Label()), Holds: lead >= -0.0005}},
	}, share}
	r.plot()
}

// ofBound is (policy - infaas) / (bound - infaas) in effective accuracy.
func (r *Report) ofBound(c Case, policy string) float64 {
	bottom := r.of(c, smallest).Effective
	return (r.of(c, policy).Effective - bottom) / max(r.of(c, Bound).Effective-bottom, 1e-9)
}

// plot shows attainment over accuracy, a point a policy.
func (r *Report) plot() {
	for i, c := range r.cases() {
		p := report.Plot{
			ID: fmt.Sprintf("engine-%d", i), Title: c.Label(), Kind: "points",
			X: report.Axis{Label: "mean accuracy of those in time, %", Unit: "%"},
			Y: report.Axis{Label: "attainment, %", Unit: "%", From: 0, To: 102},
		}
		for _, policy := range r.Policies {
			row := r.of(c, policy)
			p.Lines = append(p.Lines, report.Line{Name: policy, Points: []report.Point{{X: 100 * row.Accuracy, Y: 100 * row.Attainment}}})
		}
		r.Plots = append(r.Plots, p)
	}
}

// Tables are the rows as one shows them.
func (r *Report) Tables() []report.Table {
	pivot := func(title string, cell func(Case, string) string) report.Table {
		t := report.Table{Title: title, Columns: []string{"policy"}}
		for _, c := range r.cases() {
			t.Columns = append(t.Columns, c.Label())
		}
		for _, policy := range r.Policies {
			line := []string{policy}
			for _, c := range r.cases() {
				line = append(line, cell(c, policy))
			}
			t.Rows = append(t.Rows, line)
		}
		return t
	}
	return []report.Table{
		r.loads(),
		pivot("Attainment, and mean accuracy of those in time in %", func(c Case, policy string) string {
			row := r.of(c, policy)
			return fmt.Sprintf("%.4f · %.2f", row.Attainment, 100*row.Accuracy)
		}),
		pivot("Effective accuracy: the part that a policy gets of what the upper bound leaves above always the smallest subnet", func(c Case, policy string) string {
			return fmt.Sprintf("%.2f", r.ofBound(c, policy))
		}),
		pivot("Requests dropped, late and failed; p50 and p99 from arrival to answer, and p99 of the generator's lag, in ms", func(c Case, policy string) string {
			if policy == Bound {
				return ""
			}
			row := r.of(c, policy)
			return fmt.Sprintf("%d %d %d · %.1f %.1f %.1f", row.Dropped, row.Late, row.Failed, row.P50, row.P99, row.LagP99)
		}),
	}
}

// loads is what was sent.
func (r *Report) loads() report.Table {
	t := report.Table{Title: "Loads, in requests/s", Columns: []string{"load", "server with the smallest subnet, just before", "sent", "trace"}}
	for _, c := range r.cases() {
		sent := float64(r.of(c, Bound).Requests) / r.Length.Seconds()
		t.Rows = append(t.Rows, []string{c.Label(), fmt.Sprintf("%.0f", c.Server), fmt.Sprintf("%.0f", sent), c.Trace})
	}
	return t
}

// Verdicts are the claims as a table.
func (r *Report) Verdicts() report.Table { return report.Verdicts(r.Claims) }

// subnets is the measured profile as a table.
func (r *Report) subnets() report.Table {
	t := report.Table{Title: "Subnets", Columns: []string{"subnet", "accuracy, %", "one request, ms", "a full batch, ms"}}
	for _, s := range r.Machine.Subnets {
		t.Rows = append(t.Rows, []string{
			s.Name, fmt.Sprintf("%.2f", 100*s.Accuracy), fmt.Sprintf("%.2f", s.LatencyUS[0]/1000), fmt.Sprintf("%.2f", s.LatencyUS[len(s.LatencyUS)-1]/1000),
		})
	}
	return t
}

// Note says what was run.
func (r *Report) Note() string {
	return fmt.Sprintf("Requests of %d images over HTTP on loopback to a server with one worker of one thread, up to %d of them in a batch; "+
		"client and server share the machine. SLO %v from the intended arrival to the answer at the client, margin %v, %v for each run. "+
		"With the smallest subnet in full batches the kernels alone do %.0f requests/s, the whole server %.0f (the least of five tries, as is the figure before each load, of which mean rates are parts), "+
		"a fifth at constant gaps and the rest at gamma gaps of squared coefficient of variation CV².",
		r.Query, r.Batch, r.SLO, r.Margin, r.Length, r.Machine.Kernel, r.Machine.Server)
}

// Write writes the report into dir: report.html, engine.md with its picture, and engine.json.
func Write(dir, command, machine string, r *Report) error {
	const title = "Bursty loads on the real server"
	if err := report.WriteSVG(filepath.Join(dir, "engine.svg"), r.Plots, 3); err != nil {
		return err
	}
	if err := report.WriteJSON(filepath.Join(dir, "engine.json"), r); err != nil {
		return err
	}
	tables := append([]report.Table{r.Verdicts()}, r.Tables()...)
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\nWritten by\n\n    %s\n\non %s. %s\n\n", title, command, machine, r.Note())
	for i, t := range append(tables, r.subnets()) {
		b.WriteString(t.Markdown())
		if i == 0 {
			b.WriteString("\n![attainment over accuracy](engine.svg)\n")
		}
		b.WriteString("\n")
	}
	err := atomicfile.Write(filepath.Join(dir, "engine.md"), func(w io.Writer) error {
		_, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n")
		return err
	})
	if err != nil {
		return err
	}
	return report.Write(filepath.Join(dir, "report.html"), report.Data{
		Title: title, Machine: machine, Commands: []string{command}, SLO: r.SLO,
		Sections: []report.Section{{Title: "The nine cells", Note: r.Note(), Tables: append(tables, r.subnets()), Plots: r.Plots}},
	})
}
