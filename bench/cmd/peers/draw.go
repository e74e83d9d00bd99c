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
	index := map[string]int{}
	for _, q := range points {
		if q.Peer != ortName || q.Work == "load" {
			continue
		}
		set := fmt.Sprintf("%s %s %d px", q.Work, q.Space, q.Pixels)
		g, ok := index[set]
		if !ok {
			g = len(p.Groups)
			index[set] = g
			p.Groups = append(p.Groups, nil)
		}
		name := fmt.Sprintf("%s, b%d %dT", set, q.Batch, q.Threads)
		at := -1
		for i := range p.Groups[g] {
			if p.Groups[g][i].Name == name {
				at = i
			}
		}
		if at < 0 {
			at = len(p.Groups[g])
			p.Groups[g] = append(p.Groups[g], chart.Series{Name: name})
		}
		p.Groups[g][at].XY = append(p.Groups[g][at].XY, plotter.XY{X: q.WeftUS / 1e3, Y: q.Ratio})
	}
	if len(p.Groups) == 0 {
		return nil
	}
	return p.Write(filepath.Join(dir, "peers.svg"))
}
