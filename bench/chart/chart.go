// Package chart draws the bench's results as SVG files.
package chart

import (
	"fmt"
	"image/color"
	"io"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

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
	color.RGBA{R: 0xf0, G: 0xe4, B: 0x42, A: 0xff},
}

var shapes = []draw.GlyphDrawer{
	draw.CircleGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{}, draw.CrossGlyph{},
}

// Series is a named set of points of one look.
type Series struct {
	Name string
	XY   plotter.XYs
	Line bool // join the points
}

// Plot is a scatter of series on logarithmic axes. Series of a group differ in shape;
// groups differ in colour.
type Plot struct {
	Title, X, Y string
	LinearY     bool
	Groups      [][]Series
	// Level, if positive, is a horizontal line to read the points against.
	Level float64
}

// Write draws the plot into an SVG file.
func (p *Plot) Write(path string) error {
	g := plot.New()
	g.Title.Text, g.X.Label.Text, g.Y.Label.Text = p.Title, p.X, p.Y
	g.X.Scale, g.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	if !p.LinearY {
		g.Y.Scale, g.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	}
	g.Legend.Top, g.Legend.YOffs = false, 0
	g.Legend.Left = false
	g.Add(plotter.NewGrid())
	for i, group := range p.Groups {
		for j, s := range group {
			if err := add(g, s, palette[i%len(palette)], shapes[j%len(shapes)]); err != nil {
				return fmt.Errorf("plot %q: %w", s.Name, err)
			}
		}
	}
	if p.Level > 0 {
		level := plotter.NewFunction(func(float64) float64 { return p.Level })
		level.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
		g.Add(level)
		g.Y.Min, g.Y.Max = min(g.Y.Min, p.Level*0.95), max(g.Y.Max, p.Level*1.05)
	}
	out, err := g.WriterTo(28*vg.Centimeter, 18*vg.Centimeter, "svg")
	if err != nil {
		return err
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := out.WriteTo(w)
		return err
	})
}

func add(g *plot.Plot, s Series, c color.Color, shape draw.GlyphDrawer) error {
	for _, xy := range s.XY {
		if !(xy.X > 0 && xy.Y > 0) || math.IsInf(xy.X+xy.Y, 0) {
			return fmt.Errorf("point (%v, %v) has no place on logarithmic axes", xy.X, xy.Y)
		}
	}
	if len(s.XY) == 0 {
		return nil
	}
	if s.Line {
		l, err := plotter.NewLine(s.XY)
		if err != nil {
			return err
		}
		l.Color, l.Width = c, vg.Points(1.5)
		g.Add(l)
		g.Legend.Add(s.Name, l)
		return nil
	}
	sc, err := plotter.NewScatter(s.XY)
	if err != nil {
		return err
	}
	sc.GlyphStyle = draw.GlyphStyle{Color: c, Radius: vg.Points(3), Shape: shape}
	g.Add(sc)
	g.Legend.Add(s.Name, sc)
	return nil
}
