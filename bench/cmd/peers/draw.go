package main

import (
	"fmt"
	"path/filepath"

	"gonum.org/v1/plot/plotter"

	"weft/bench/chart"
	"weft/bench/compare"
)

// draw plots the ratio of every inference point over the time that weft takes.
func draw(dir string, points []compare.Point) error {
	p := chart.Plot{
		Title: "Time of ONNX Runtime over time of weft, a point a subnet (above the line weft is faster)",
		X:     "time of weft, ms", Y: "ratio", LinearY: true, Level: 1,
	}
	for _, q := range points {
		if q.Peer != ortName || q.Work == "load" {
			continue
		}
		p.Series = append(p.Series, chart.Series{
			Group: fmt.Sprintf("%s %s %d px", q.Work, q.Space, q.Pixels),
			Kind:  fmt.Sprintf("batch %d, threads %d", q.Batch, q.Threads),
			XY:    plotter.XYs{{X: q.WeftUS / 1e3, Y: q.Ratio}},
		})
	}
	if len(p.Series) == 0 {
		return nil
	}
	return p.Write(filepath.Join(dir, "peers.svg"))
}
