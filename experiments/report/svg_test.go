package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"testing"
)

func samplePlots() []Plot {
	var plots []Plot
	for i := range 4 {
		p := Plot{
			ID: fmt.Sprint("plot", i), Title: "λ < 5 & more", Kind: []string{"line", "step", "points", "line"}[i],
			X: Axis{Label: "time, s", Unit: "s"}, Y: Axis{Label: "accuracy, %", Unit: "%"},
			Marks: []Mark{{2, "here"}},
		}
		for k, name := range []string{"weft", "slackfit", "Clipper+ 78.25"} {
			l := Line{Name: name, Joined: i != 2}
			for x := range 6 {
				l.Points = append(l.Points, Point{X: float64(x), Y: 73 + float64(k*x), Label: map[bool]string{true: "last"}[x == 5]})
			}
			l.Points[2].Y = math.NaN()
			p.Lines = append(p.Lines, l)
		}
		plots = append(plots, p)
	}
	plots[3].Y.From, plots[3].Y.To = 0, 100
	return plots
}

// TestSVG: the picture is well formed, finite, and has every line, point and name.
func TestSVG(t *testing.T) {
	raw := SVG(samplePlots(), 3)
	paths, circles := 0, 0
	d := xml.NewDecoder(bytes.NewReader(raw))
	for {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		e, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		for _, a := range e.Attr {
			if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
				t.Errorf("%s has %s=%s", e.Name.Local, a.Name.Local, a.Value)
			}
			if e.Name.Local == "path" && a.Name.Local == "stroke-width" {
				paths++
			}
		}
		if e.Name.Local == "circle" {
			circles++
		}
	}
	if paths != 9 { // three joined lines in three of the plots
		t.Errorf("%d lines, want 9", paths)
	}
	if circles != 3+3*3*5 { // the legend; five points of each line but in the plot of steps
		t.Errorf("%d circles, want %d", circles, 3+3*3*5)
	}
	for _, want := range []string{"Clipper+ 78.25", "λ &lt; 5 &amp; more", "last", ">here<"} {
		if !strings.Contains(string(raw), want) {
			t.Errorf("the picture lacks %q", want)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		from, to float64
		want     string
	}{{0, 1, "[0 0.2 0.4 0.6 0.8 1]"}, {73.6, 80.4, "[74 75 76 77 78 79 80]"}, {-3, 120, "[0 20 40 60 80 100 120]"}} {
		var got []string
		for _, v := range ticks(c.from, c.to) {
			got = append(got, tick(v))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("ticks(%v, %v) = %v, want %s", c.from, c.to, got, c.want)
		}
	}
}

// In a browser the plots of sections are drawn, and the picture loads.
func TestBrowserDrawsSections(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a browser")
	}
	page := filepath.Join(t.TempDir(), "report.html")
	table := Table{Title: "Nine cells", Columns: []string{"policy", "a"}, Rows: [][]string{{"weft", "0.99"}}}
	if err := Write(page, Data{Title: "t", Sections: []Section{{"Figure 9", "note", []Table{table}, samplePlots()}}}); err != nil {
		t.Fatal(err)
	}
	dom := string(chromium(t, page, "--dump-dom"))
	for _, want := range []string{`data-drawn="4"`, "Nine cells", `<td class="n">0.99</td>`} {
		if !strings.Contains(dom, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}
