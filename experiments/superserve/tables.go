package superserve

import (
	"fmt"
	"slices"

	"weft/experiments/report"
)

// Tables are the figure's rows as one shows them.
func (f *Figure) Tables() []report.Table {
	if len(f.Rivals) > 0 {
		return append(f.results(), f.rivals())
	}
	return f.results()
}

func (f *Figure) results() []report.Table {
	cases, policies := f.names()
	if f.Rows[0].PerSecond > 0 {
		return []report.Table{pivot("Images a second with an attainment of 0.999", f.Rows, policies, cases,
			func(r Row) string { return fmt.Sprintf("%.0f", r.PerSecond) })}
	}
	if len(cases) == 1 {
		return []report.Table{list(f.Rows)}
	}
	tables := []report.Table{pivot("Attainment, and mean accuracy of those in time in %", f.Rows, policies, cases,
		func(r Row) string { return fmt.Sprintf("%.4f · %.2f", r.Attainment, 100*r.Accuracy) })}
	if f.Rows[0].OfBound != nil {
		tables = append(tables, pivot("Effective accuracy: the part that a policy gets of what the upper bound leaves above always the smallest subnet",
			f.Rows, policies, cases, func(r Row) string { return fmt.Sprintf("%.2f", *r.OfBound) }))
	}
	return tables
}

// names returns cases and policies in order of their first appearance.
func (f *Figure) names() (cases, policies []string) {
	for _, r := range f.Rows {
		if !slices.Contains(cases, r.Case) {
			cases = append(cases, r.Case)
		}
		if !slices.Contains(policies, r.Policy) {
			policies = append(policies, r.Policy)
		}
	}
	return cases, policies
}

// list has a line for each row of one case.
func list(rows []Row) report.Table {
	t := report.Table{Title: rows[0].Case, Columns: []string{"policy", "attainment", "mean accuracy, %", "effective accuracy, %", "of the bound"}}
	for _, r := range rows {
		part := ""
		if r.OfBound != nil {
			part = fmt.Sprintf("%.2f", *r.OfBound)
		}
		t.Rows = append(t.Rows, []string{
			r.Policy, fmt.Sprintf("%.5f", r.Attainment), fmt.Sprintf("%.2f", 100*r.Accuracy), fmt.Sprintf("%.2f", 100*r.Effective), part,
		})
	}
	return t
}

// pivot has a line for each policy and a column for each case.
func pivot(title string, rows []Row, policies, cases []string, cell func(Row) string) report.Table {
	t := report.Table{Title: title, Columns: append([]string{"policy"}, cases...)}
	for _, policy := range policies {
		line := make([]string, 1+len(cases))
		line[0] = policy
		for _, r := range rows {
			if r.Policy == policy {
				line[1+slices.Index(cases, r.Case)] = cell(r)
			}
		}
		t.Rows = append(t.Rows, line)
	}
	return t
}

// Verdicts are the figure's claims as a table.
func (f *Figure) Verdicts() report.Table { return report.Verdicts(f.Claims) }

// profileTable is the latencies of the report's subnets.
func (r *Report) profileTable() report.Table {
	t := report.Table{Title: "The profile: " + r.Note, Columns: []string{"subnet", "accuracy, %", "batch 1, ms", "batch 4, ms", "batch 16, ms"}}
	for _, s := range r.Subnets {
		line := []string{s.Name, fmt.Sprintf("%.2f", 100*s.Accuracy)}
		for _, b := range []int{1, 4, 16} {
			line = append(line, fmt.Sprintf("%.2f", s.LatencyMS[min(b, len(s.LatencyMS))-1]))
		}
		t.Rows = append(t.Rows, line)
	}
	return t
}
