package kernel

// downGeneric is winogradGeneric for stride 2.
func (w *Winograd) downGeneric(lo, hi int, scratch []float32) {
	v := scratch[:w.positions()*w.Cin]
	t := w.tile(lo)
	for range hi - lo {
		for ci := range w.Cin {
			w.downInput(t, ci, v)
		}
		for co := range w.Cout {
			w.downOutput(t, co, v)
		}
		w.next(&t)
	}
}

// downInput transforms one channel: along each row of the tile, then down each column.
// v: [25][Cin].
func (w *Winograd) downInput(t winogradTile, ci int, v []float32) {
	var d [5][5]float32
	for i := range d {
		for j := range d[i] {
			r, c := 2*t.row+i-1, 2*t.col+j-1
			if 0 <= r && r < w.H && 0 <= c && c < w.W {
				d[i][j] = w.X[((t.image*w.H+r)*w.W+c)*w.XPitch+ci]
			}
		}
		d[i] = downIn(d[i])
	}
	for j := range 5 {
		for i, x := range downIn([5]float32{d[0][j], d[1][j], d[2][j], d[3][j], d[4][j]}) {
			v[(i*5+j)*w.Cin+ci] = x
		}
	}
}

// downIn returns what meets w0, w1, w0+w2, w2 and w1.
func downIn(d [5]float32) [5]float32 {
	return [5]float32{d[0] - d[2], d[1], d[2], d[4] - d[2], d[3]}
}

// downWeight is the transformed weight that each element of downIn meets, and downSum the
// sum that their product is a term of.
var downWeight, downSum = [5]int{0, 1, 2, 3, 1}, [5]int{0, 0, 1, 2, 2}

// downOutput computes one output channel of a tile.
func (w *Winograd) downOutput(t winogradTile, co int, v []float32) {
	var m [3][3]float32
	for i := range 5 {
		for j := range 5 {
			u := w.U[PackedIndex(16, w.InMax, co, 4*downWeight[i]+downWeight[j], 0):]
			sum := &m[downSum[i]][downSum[j]]
			for ci, x := range v[(i*5+j)*w.Cin:][:w.Cin] {
				*sum += x * u[ci*Panel]
			}
		}
	}
	for i := range min(2, w.outH()-t.row) {
		for j := range min(2, w.outW()-t.col) {
			y := (m[i][j] + m[i+1][j]) + (m[i][j+1] + m[i+1][j+1])
			w.store(((t.image*w.outH()+t.row+i)*w.outW()+t.col+j)*w.YPitch, co, y)
		}
	}
}
