package report

import (
	"fmt"
	"html"
	"io"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"weft/atomicfile"
)

// The size of one plot of a picture, and what its axes and legend take, in pixels.
const (
	svgWidth, svgHeight = 420, 270
	svgLeft, svgBottom  = 58, 44
	svgTop, svgRight    = 28, 14
	svgLegendLine       = 16
)

// svgPalette is that of page.css, on white.
var svgPalette = [...]string{"#0067a8", "#d1510a", "#00875f", "#a8408a", "#b58300", "#3ba0dc", "#5f4bb6", "#7a4a1d"}

// SVG returns the plots as one picture, so many in a row, with one legend below for the
// names of all lines. It needs no script and no font but the reader's.
func SVG(plots []Plot, columns int) []byte {
	columns = max(min(columns, len(plots)), 1)
	names := legend(plots)
	rows := (len(plots) + columns - 1) / columns
	var boxes strings.Builder
	legendRows := drawLegend(&boxes, names, columns*svgWidth, rows*svgHeight+6)
	width, height := columns*svgWidth, rows*svgHeight+legendRows*svgLegendLine+12
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" font-family="system-ui, sans-serif" font-size="11" fill="#1c1f23">`+"\n",
		width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	for i, p := range plots {
		fmt.Fprintf(&b, `<g transform="translate(%d %d)">`+"\n", i%columns*svgWidth, i/columns*svgHeight)
		drawPlot(&b, p, names)
		b.WriteString("</g>\n")
	}
	b.WriteString(boxes.String())
	b.WriteString("</svg>\n")
	return []byte(b.String())
}

// WriteSVG writes the picture to path, whole or not at all.
func WriteSVG(path string, plots []Plot, columns int) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(SVG(plots, columns))
		return err
	})
}

// legend returns the names of all lines, in order of their first appearance.
func legend(plots []Plot) (names []string) {
	seen := map[string]bool{}
	for _, p := range plots {
		for _, l := range p.Lines {
			if !seen[l.Name] {
				seen[l.Name] = true
				names = append(names, l.Name)
			}
		}
	}
	return names
}

// ink is how a line looks, the same in every plot of the picture: its colour, what fills its
// points, and its dashes. The palette's second round is hollow and dashed.
type ink struct{ colour, fill, dash string }

func inkOf(names []string, name string) ink {
	i := max(slices.Index(names, name), 0)
	colour := svgPalette[i%len(svgPalette)]
	if i < len(svgPalette) {
		return ink{colour, colour, ""}
	}
	return ink{colour, "#ffffff", ` stroke-dasharray="5 3"`}
}

// dot draws a point.
func (k ink) dot(x, y, r float64) string {
	return fmt.Sprintf(`<circle cx="%.1f" cy="%.1f" r="%g" fill="%s" stroke="%s" stroke-width="1.5"/>`, x, y, r, k.fill, k.colour)
}

// drawLegend puts the names in rows from the left and returns the number of rows.
func drawLegend(b *strings.Builder, names []string, width, y int) (rows int) {
	x := svgLeft
	rows = 1
	for _, name := range names {
		need := 30 + 6*utf8.RuneCountInString(name)
		if x+need > width && x > svgLeft {
			x = svgLeft
			rows++
		}
		at := y + rows*svgLegendLine - 6
		fmt.Fprintf(b, `%s<text x="%d" y="%d">%s</text>`+"\n",
			inkOf(names, name).dot(float64(x), float64(at-4), 3.5), x+8, at, html.EscapeString(name))
		x += need
	}
	return rows
}

// scale maps data to pixels.
type scale struct {
	from, to   float64
	start, end float64 // pixels
}

func (s scale) at(v float64) float64 {
	return s.start + (v-s.from)/(s.to-s.from)*(s.end-s.start)
}

// drawPlot draws one plot at the origin.
func drawPlot(b *strings.Builder, p Plot, names []string) {
	x := newScale(p.X, p.Lines, func(at Point) float64 { return at.X }, svgLeft, svgWidth-svgRight)
	y := newScale(p.Y, p.Lines, func(at Point) float64 { return at.Y }, svgHeight-svgBottom, svgTop)
	fmt.Fprintf(b, `<text x="%d" y="16" font-weight="600">%s</text>`+"\n", svgLeft, html.EscapeString(p.Title))
	for _, v := range ticks(x.from, x.to) {
		fmt.Fprintf(b, `<path d="M%.1f %d V%d" stroke="#eceef0"/><text x="%.1f" y="%d" text-anchor="middle" fill="#5b6470">%s</text>`+"\n",
			x.at(v), svgTop, svgHeight-svgBottom, x.at(v), svgHeight-svgBottom+14, tick(v))
	}
	for _, v := range ticks(y.from, y.to) {
		fmt.Fprintf(b, `<path d="M%d %.1f H%d" stroke="#eceef0"/><text x="%d" y="%.1f" text-anchor="end" fill="#5b6470">%s</text>`+"\n",
			svgLeft, y.at(v), svgWidth-svgRight, svgLeft-5, y.at(v)+4, tick(v))
	}
	fmt.Fprintf(b, `<path d="M%d %d V%d H%d" fill="none" stroke="#5b6470"/>`+"\n", svgLeft, svgTop, svgHeight-svgBottom, svgWidth-svgRight)
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (svgLeft+svgWidth-svgRight)/2, svgHeight-svgBottom+32, html.EscapeString(p.X.Label))
	middle := (svgTop + svgHeight - svgBottom) / 2
	fmt.Fprintf(b, `<text x="14" y="%d" text-anchor="middle" transform="rotate(-90 14 %d)">%s</text>`+"\n", middle, middle, html.EscapeString(p.Y.Label))
	for _, m := range p.Marks {
		fmt.Fprintf(b, `<path d="M%.1f %d V%d" stroke="#5b6470" stroke-dasharray="4 4"/><text x="%.1f" y="%d" fill="#5b6470">%s</text>`+"\n",
			x.at(m.Epoch), svgTop, svgHeight-svgBottom, x.at(m.Epoch)+3, svgTop+10, html.EscapeString(m.Label))
	}
	for _, l := range p.Lines {
		drawLine(b, p.Kind, l, inkOf(names, l.Name), x, y)
	}
}

// drawLine draws a line's path and, where it has few, its points. A gap in the data is a gap in the path.
func drawLine(b *strings.Builder, kind string, l Line, k ink, x, y scale) {
	var path, dots strings.Builder
	pen := false
	for i, at := range l.Points {
		if math.IsNaN(at.Y) || math.IsNaN(at.X) {
			pen = false
			continue
		}
		px, py := x.at(at.X), y.at(at.Y)
		switch {
		case !pen:
			fmt.Fprintf(&path, "M%.1f %.1f", px, py)
		case kind == "step":
			fmt.Fprintf(&path, "H%.1fV%.1f", px, py)
		default:
			fmt.Fprintf(&path, "L%.1f %.1f", px, py)
		}
		pen = true
		if kind == "points" || kind == "line" && len(l.Points) < 40 {
			dots.WriteString(k.dot(px, py, 2.5))
		}
		if at.Label != "" {
			anchor, dx := "start", 5.0
			if px > 0.7*svgWidth {
				anchor, dx = "end", -5.0
			}
			fmt.Fprintf(&dots, `<text x="%.1f" y="%.1f" text-anchor="%s" font-size="9" fill="%s">%s</text>`,
				px+dx, py-4+float64(i%2)*10, anchor, k.colour, html.EscapeString(at.Label))
		}
	}
	if l.Joined && path.Len() > 0 {
		fmt.Fprintf(b, `<path d="%s" fill="none" stroke="%s" stroke-width="1.4"%s/>`+"\n", path.String(), k.colour, k.dash)
	}
	if dots.Len() > 0 {
		b.WriteString(dots.String() + "\n")
	}
}

// newScale spans the axis' ends or, with some room, the data.
func newScale(a Axis, lines []Line, of func(Point) float64, start, end float64) scale {
	s := scale{a.From, a.To, start, end}
	if s.from != 0 || s.to != 0 {
		return s
	}
	s.from, s.to = math.Inf(1), math.Inf(-1)
	for _, l := range lines {
		for _, at := range l.Points {
			if v := of(at); !math.IsNaN(v) {
				s.from, s.to = min(s.from, v), max(s.to, v)
			}
		}
	}
	if s.from > s.to {
		s.from, s.to = 0, 1
	}
	room := (s.to - s.from) * 0.06
	if room == 0 {
		room = max(math.Abs(s.to)*0.06, 0.5)
	}
	s.from, s.to = s.from-room, s.to+room
	return s
}

// ticks returns four to nine round numbers within the range.
func ticks(from, to float64) (all []float64) {
	step := math.Pow(10, math.Floor(math.Log10((to-from)/4)))
	for _, k := range []float64{5, 2} {
		if (to-from)/(k*step) >= 4 {
			step *= k
			break
		}
	}
	for k := math.Ceil(from / step); k*step <= to+step*1e-9; k++ {
		all = append(all, k*step)
	}
	return all
}

// tick prints a round number.
func tick(v float64) string { return fmt.Sprintf("%.6g", math.Round(v*1e9)/1e9+0) } // not -0
