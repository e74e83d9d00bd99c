package main

import (
	"fmt"
	"slices"
	"time"

	"weft/bundle"
	"weft/experiments/report"
	"weft/search"
)

// rows are the bundle's subnets with the costs that were looked at.
func (h *hunt) rows(b *bundle.Bundle, front []search.Result) []subnetRow {
	rows := subnetRows(b)
	for _, r := range front {
		i := slices.IndexFunc(rows, func(row subnetRow) bool { return row.Arch == b.Net.Space.Format(r.Arch) })
		if h.cost == "memory" || h.limits.Memory > 0 {
			rows[i].Memory = r.Memory
		}
		rows[i].Latency = float64(r.Latency) / float64(time.Microsecond)
	}
	return rows
}

// spanOf says in a few words where a front lies.
func spanOf(front []search.Result, cost func(*search.Result) float64, name string) string {
	if len(front) == 0 {
		return "nothing within the limits yet"
	}
	first, last := &front[0], &front[len(front)-1]
	return fmt.Sprintf("front of %d: %.2f to %.2f %%, %s %.3g to %.3g", len(front), 100*first.Accuracy, 100*last.Accuracy, name, cost(first), cost(last))
}

// draw writes the front as it was foretold last as a picture, with the subnets that were measured and their front.
func (h *hunt) draw(measured, front []search.Result) error {
	if h.plot == "" {
		return nil
	}
	unit := map[string]string{"macs": "M MACs", "params": "thousand parameters", "memory": "KB", "latency": "µs"}[h.cost]
	var lines []report.Line
	for _, l := range []struct {
		name    string
		joined  bool
		results []search.Result
	}{{"measured", false, measured}, {"front, as foretold", true, h.foretold}, {"front, as measured", true, front}} {
		if len(l.results) > 0 {
			lines = append(lines, report.Line{Name: l.name, Joined: l.joined, Points: h.points(l.results)})
		}
	}
	return report.WriteSVG(h.plot, []report.Plot{{
		ID: "front", Title: "Subnets that no other beats", Kind: "points", X: report.Axis{Label: unit},
		Y: report.Axis{Label: "validation accuracy", Unit: " %"}, Lines: lines,
	}}, 1)
}

func (h *hunt) points(results []search.Result) []report.Point {
	scale := map[string]float64{"macs": 1e-6, "params": 1e-3, "memory": 1. / 1024, "latency": 1e6}[h.cost]
	points := make([]report.Point, len(results))
	for i := range results {
		points[i] = report.Point{X: scale * search.Costs[h.cost](&results[i]), Y: 100 * results[i].Accuracy}
	}
	return points
}
