package report

import (
	"fmt"
	"strings"
)

// Section is a part of the page beside those that Data has fields for.
type Section struct {
	Title, Note string
	Tables      []Table
	Plots       []Plot
}

// Table is shown as it is. The first column is text; so are the others if it is one of
// words, else they stand on the right.
type Table struct {
	Title   string     `json:"title"`
	Words   bool       `json:"words"`
	Columns []string   `json:"columns"`
	Rows    [][]string `json:"rows"`
}

// Markdown returns the table as it stands in a document.
func (t Table) Markdown() string {
	var b strings.Builder
	if t.Title != "" {
		fmt.Fprintf(&b, "%s:\n\n", t.Title)
	}
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(t.Columns, " | "), strings.Repeat("---|", len(t.Columns)))
	for _, row := range t.Rows {
		b.WriteString("|")
		for _, cell := range row {
			fmt.Fprintf(&b, " %s |", strings.ReplaceAll(cell, "|", `\|`))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// Plot is a chart of lines or points.
type Plot struct {
	ID    string // unique in the page
	Title string
	Kind  string // "line", "step" or "points"
	X, Y  Axis
	Lines []Line
	Marks []Mark // at places of the x axis; Epoch is the place
}

// Axis of a plot. Its label names the unit too; Unit follows numbers.
type Axis struct {
	Label, Unit string
	From, To    float64 // fixed ends; both 0: those of the data
}

// Line is a series of a plot.
type Line struct {
	Name   string
	Joined bool // by a line
	Points []Point
}

// Point of a line; a label is shown beside it.
type Point struct {
	X, Y  float64
	Label string
}

// chart is the plot as the page's script wants it.
func (p Plot) chart() chart {
	c := chart{ID: p.ID, Title: p.Title, Kind: p.Kind, Sync: p.ID, X: p.X.axis(), Y: p.Y.axis()}
	for _, m := range p.Marks {
		c.Marks = append(c.Marks, mark{number(m.Epoch), m.Label})
	}
	var lines []line
	for i, l := range p.Lines {
		to := line{name: l.Name, colour: i, joined: l.Joined}
		for _, at := range l.Points {
			to.points = append(to.points, point{at.X, at.Y, at.Label})
		}
		lines = append(lines, to)
	}
	return c.fill(lines)
}

func (a Axis) axis() axis {
	to := axis{Label: a.Label, Unit: a.Unit}
	if a.From != 0 || a.To != 0 {
		to.Range = []number{number(a.From), number(a.To)}
	}
	return to
}
