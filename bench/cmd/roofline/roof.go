package main

import (
	"gonum.org/v1/plot/plotter"

	"weft/kernel/peak"
)

// line is the roof over intensities from lo to hi: it rises with the given bandwidth up
// to the ridge and is flat from there.
func line(r *peak.Roof, bandwidth, lo, hi float64) plotter.XYs {
	at := func(x float64) plotter.XY { return plotter.XY{X: x, Y: min(r.Flops, bandwidth*x) / 1e9} }
	if ridge := r.Flops / bandwidth; lo < ridge && ridge < hi {
		return plotter.XYs{at(lo), at(ridge), at(hi)}
	}
	return plotter.XYs{at(lo), at(hi)}
}
