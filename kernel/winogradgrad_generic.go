package kernel

import "math"

func winogradRepackGeneric(dst, w []float32, panels, n int, flip bool) {
	g := winogradG[winogradM]
	for p := range panels {
		for i := range n {
			for a := range 6 {
				for b := range 6 {
					var u float64
					for t := range 9 {
						from := t
						if flip {
							from = 8 - t
						}
						u += g[a][t/3] * g[b][t%3] * float64(w[(p*9+from)*n+i])
					}
					dst[(p*winogradMost+a*6+b)*n+i] = float32(u)
				}
			}
		}
	}
}

// winogradPanelGeneric adds Gᵀ u G to dw for one panel: n weights a position of u and
// taps of dw that are tap floats apart.
func winogradPanelGeneric(dw []float32, tap int, u []float32, n int) {
	g := winogradG[winogradM]
	for i := range n {
		for t := range 9 {
			var sum float64
			for p := range winogradMost {
				sum += g[p/6][t/3] * g[p%6][t%3] * float64(u[p*n+i])
			}
			dw[t*tap+i] += float32(sum)
		}
	}
}

// winogradTilesGeneric transforms the images whose first tile is number first.
func winogradTilesGeneric(w *WinogradGrad, x, dy []float32, first, tiles int) {
	in := w.geometry()
	in.X, in.Cin, in.XPitch = x, w.Cin, w.Cin
	v := make([]float32, winogradMost*w.Cin)
	t := in.tile(0)
	for i := first; i < first+tiles; i++ {
		for ci := range w.Cin {
			in.transformInput(t, ci, v)
		}
		for p := range winogradMost {
			copy(w.V[p*w.stride(w.Cin)+i*w.Cin:], v[p*w.Cin:][:w.Cin])
		}
		for co := range w.Cout {
			w.transformOutput(dy, t, i, co)
		}
		in.next(&t)
	}
}

// transformOutput computes A dy Aᵀ of one tile, number i of the batch, and channel.
func (w *WinogradGrad) transformOutput(dy []float32, t winogradTile, i, co int) {
	var half [4][6]float32
	for r := range 4 {
		var d [4]float32
		for c := range d {
			if t.row+r < w.H && t.col+c < w.W {
				d[c] = dy[((t.image*w.H+t.row+r)*w.W+t.col+c)*w.Cout+co]
			}
		}
		half[r] = winogradWiden(d)
	}
	for c := range 6 {
		for r, v := range winogradWiden([4]float32{half[0][c], half[1][c], half[2][c], half[3][c]}) {
			w.D[(r*6+c)*w.stride(w.Cout)+i*w.Cout+co] = v
		}
	}
}

// winogradWiden computes A·d.
func winogradWiden(d [4]float32) [6]float32 {
	const root = math.Sqrt2
	e1, o1 := root*d[0]+root/2*d[2], d[1]+d[3]/2
	e2, o2 := root/2*d[0]+root*d[2], d[1]+2*d[3]
	return [6]float32{d[0], e1 + o1, e1 - o1, e2 + o2, e2 - o2, d[3]}
}
