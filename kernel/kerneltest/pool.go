package kerneltest

import (
	"fmt"
	"math"

	"weft/kernel"
)

// poolCases are both poolings of one h·w image with c channels.
func poolCases(h, w, k, stride, c int) []Case {
	shape := fmt.Sprintf("%dx%d %dx%d/%d %d", h, w, k, k, stride, c)
	g := &kernel.NewWindow(h, w, k, stride, kernel.Raster(k)).Fwd
	bytes := float * float64(c) * float64(g.InPix+g.OutPix)
	return []Case{
		{Op: "max pool", Shape: shape, setup: func(a *arena) work {
			x, y := a.input("x", g.InPix*c), a.output("y", g.OutPix*c)
			return one(bytes, func() { kernel.MaxPool(g, x, y, nil, c) })
		}},
		{Op: "max pool arg", Shape: shape, setup: func(a *arena) work {
			x, y, pixels := a.input("x", g.InPix*c), a.output("y", g.OutPix*c), a.output("arg", g.OutPix*c)
			arg := make([]int32, g.OutPix*c)
			return one(bytes, func() {
				kernel.MaxPool(g, x, y, arg, c)
				for i, p := range arg {
					pixels[i] = float32(p)
				}
			})
		}},
		{Op: "avg pool", Shape: shape, setup: func(a *arena) work {
			x, y := a.input("x", g.InPix*c), a.output("y", g.OutPix*c)
			return one(bytes, func() { kernel.AvgPool(g, x, y, c) })
		}},
	}
}

// one is work in one piece.
func one(bytes float64, f func()) work {
	return work{units: 1, bytes: bytes, serial: true, run: func(lo, hi int) {
		if lo < hi {
			f()
		}
	}}
}

// global is average pooling of whole images, as before a classifier.
func global(pix, c int) Case {
	g := &kernel.Gather{InPix: pix, OutPix: 1}
	for i := range pix {
		g.Taps, g.In = append(g.Taps, int32(i)), append(g.In, int32(i))
	}
	return Case{Op: "global pool", Shape: fmt.Sprintf("%d pixels %d", pix, c), setup: func(a *arena) work {
		x, y := a.input("x", pix*c), a.output("y", c)
		y[0] = float32(math.NaN()) // must be overwritten, not added to
		return one(float*float64(c)*float64(pix+1), func() { kernel.AvgPool(g, x, y, c) })
	}}
}
