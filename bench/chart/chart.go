// Package chart draws the bench's results as SVG files.
package chart

import (
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"weft/atomicfile"
)

// palette is Okabe and Ito's, which colour-blind people can tell apart.
var palette = []color.Color{
	color.RGBA{R: 0x00, G: 0x72, B: 0xb2, A: 0xff},
	color.RGBA{R: 0xe6, G: 0x9f, B: 0x00, A: 0xff},
	color.RGBA{R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
	color.RGBA{R: 0xcc, G: 0x79, B: 0xa7, A: 0xff},
	color.RGBA{R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
	color.RGBA{R: 0x56, G: 0xb4, B: 0xe9, A: 0xff},
	color.RGBA{A: 0xff},
	color.RGBA{R: 0xd0, G: 0xc0, B: 0x30, A: 0xff},
}

var shapes = []draw.GlyphDrawer{
	draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.CrossGlyph{}, draw.RingGlyph{}, draw.PlusGlyph{},
}

var grey = color.Gray{Y: 0x70}

// Series is a set of points of one look: the colour tells its Group, the shape its Kind.
type Series struct {
	Group, Kind string
	XY          plotter.XYs
	Line        bool // join the points; Group names the line, and Kind is empty
}

// Plot is a scatter of series over a logarithmic axis.
type Plot struct {
	Title, X, Y string
	LinearY     bool
	Series      []Series
	// Level, if positive, is a horizontal line to read the points against.
	Level float64
}

// Sizes of the picture and of the room for the legend at its right.
const (
	width  = 30 * vg.Centimeter
	height = 16 * vg.Centimeter
	room   = 9 * vg.Centimeter
)

// Write draws the plot into an SVG file.
func (p *Plot) Write(path string) error {
	g := plot.New()
	g.Title.Text, g.X.Label.Text, g.Y.Label.Text = p.Title, p.X, p.Y
	g.X.Scale, g.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	if !p.LinearY {
		g.Y.Scale, g.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	g.Add(plotter.NewGrid())
	legend := plot.NewLegend()
	legend.Top, legend.Left = true, true
	legend.Padding = vg.Millimeter
	if err := p.add(g, &legend); err != nil {
		return err
	}
	if p.Level > 0 {
		level := plotter.NewFunction(func(float64) float64 { return p.Level })
		level.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
		g.Add(level)
		g.Y.Min, g.Y.Max = min(g.Y.Min, p.Level*0.95), max(g.Y.Max, p.Level*1.05)
	}
	widen(&g.X)
	widen(&g.Y)
	svg := vgsvg.New(width, height)
	page := draw.New(svg)
	page.SetColor(color.White)
	page.Fill(page.Rectangle.Path())
	g.Draw(draw.Crop(page, 0, -room, 0, 0))
	legend.Draw(draw.Crop(page, width-room+vg.Centimeter/2, 0, 0, -vg.Centimeter))
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := svg.WriteTo(w)
		return err
	})
}

// widen makes room around a single value in a way that suits a logarithmic axis.
func widen(a *plot.Axis) {
	if a.Min == a.Max {
		a.Min, a.Max = a.Min/2, a.Max*2
	}
}

// add adds the series to the plot, and what their colours and shapes mean to the legend.
func (p *Plot) add(g *plot.Plot, legend *plot.Legend) error {
	var groups, kinds []string
	for i := range p.Series {
		s := &p.Series[i]
		if len(s.XY) == 0 {
			continue
		}
		for _, xy := range s.XY {
			if !(xy.X > 0 && xy.Y > 0) || math.IsInf(xy.X+xy.Y, 0) {
				return fmt.Errorf("plot %s %s: point (%v, %v) has no place on logarithmic axes", s.Group, s.Kind, xy.X, xy.Y)
			}
		}
		var group, kind int
		groups, group = number(groups, s.Group)
		kinds, kind = number(kinds, s.Kind)
		if s.Line {
			l, err := plotter.NewLine(s.XY)
			if err != nil {
				return err
			}
			l.Color, l.Width = palette[group%len(palette)], vg.Points(1.5)
			g.Add(l)
			legend.Add(s.Group, l)
			continue
		}
		sc, err := plotter.NewScatter(s.XY)
		if err != nil {
			return err
		}
		sc.GlyphStyle = draw.GlyphStyle{Color: palette[group%len(palette)], Radius: vg.Points(3), Shape: shapes[kind%len(shapes)]}
		g.Add(sc)
	}
	for i, name := range groups {
		if !slices.ContainsFunc(p.Series, func(s Series) bool { return s.Line && s.Group == name }) {
			legend.Add(name, glyph(palette[i%len(palette)], draw.CircleGlyph{}))
		}
	}
	for i, name := range kinds {
		if name != "" {
			legend.Add(name, glyph(grey, shapes[i%len(shapes)]))
		}
	}
	return nil
}

// number returns the list with s in it and the place of s.
func number(list []string, s string) ([]string, int) {
	if i := slices.Index(list, s); i >= 0 {
		return list, i
	}
	return append(list, s), len(list)
}

func glyph(c color.Color, shape draw.GlyphDrawer) plot.Thumbnailer {
	return &plotter.Scatter{GlyphStyle: draw.GlyphStyle{Color: c, Radius: vg.Points(3), Shape: shape}}
}
