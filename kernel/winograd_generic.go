package kernel

import "math"

func winogradGeneric(w *Winograd, lo, hi int, scratch []float32) {
	if w.Stride == 2 {
		w.downGeneric(lo, hi, scratch)
		return
	}
	v := scratch[:w.positions()*w.Cin]
	t := w.tile(lo)
	for range hi - lo {
		for ci := range w.Cin {
			w.transformInput(t, ci, v)
		}
		for co := range w.Cout {
			w.output(t, co, v)
		}
		w.next(&t)
	}
}

// transformInput computes Bᵀ x B of one channel. v: [(M+2)²][Cin].
func (w *Winograd) transformInput(t winogradTile, ci int, v []float32) {
	n := w.M + 2
	var d [6][6]float32
	for i := range n {
		for j := range n {
			r, c := t.row+i-1, t.col+j-1
			if 0 <= r && r < w.H && 0 <= c && c < w.W {
				d[i][j] = w.X[((t.image*w.H+r)*w.W+c)*w.XPitch+ci]
			}
		}
	}
	for i := range n {
		d[i] = winogradIn(n, d[i])
	}
	for j := range n {
		var col [6]float32
		for i := range n {
			col[i] = d[i][j]
		}
		for i, x := range winogradIn(n, col) {
			if i < n {
				v[(i*n+j)*w.Cin+ci] = x
			}
		}
	}
}

// winogradIn computes Bᵀd of n values.
func winogradIn(n int, d [6]float32) [6]float32 {
	if n == 4 {
		return [6]float32{d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]}
	}
	e1, o1 := d[4]-2*d[2], (d[3]-2*d[1])*(math.Sqrt2/2)
	e2, o2 := d[4]-d[2]/2, (d[3]-d[1]/2)*math.Sqrt2
	return [6]float32{d[0] + d[4] - 2.5*d[2], e1 + o1, e1 - o1, e2 + o2, e2 - o2, d[1] + d[5] - 2.5*d[3]}
}

// output computes one output channel of a tile from its transformed inputs.
func (w *Winograd) output(t winogradTile, co int, v []float32) {
	n := w.M + 2
	var m [6][6]float32
	for p := range n * n {
		u := w.U[PackedIndex(n*n, w.InMax, co, p, 0):]
		var sum float32
		for ci, x := range v[p*w.Cin:][:w.Cin] {
			sum += x * u[ci*Panel]
		}
		m[p/n][p%n] = sum
	}
	for j := range n {
		var col [6]float32
		for i := range n {
			col[i] = m[i][j]
		}
		for i, x := range winogradOut(n, col) {
			m[i][j] = x
		}
	}
	for i := range min(w.M, w.H-t.row) {
		y := winogradOut(n, m[i])
		for j := range min(w.M, w.W-t.col) {
			w.store(((t.image*w.H+t.row+i)*w.W+t.col+j)*w.YPitch, co, y[j])
		}
	}
}

// winogradOut computes Aᵀm of n values.
func winogradOut(n int, m [6]float32) [4]float32 {
	if n == 4 {
		return [4]float32{m[0] + m[1] + m[2], m[1] - m[2] - m[3]}
	}
	s, d, s2, d2 := m[1]+m[2], m[1]-m[2], m[3]+m[4], m[3]-m[4]
	return [4]float32{
		m[0] + math.Sqrt2*s + math.Sqrt2/2*s2, d + d2,
		math.Sqrt2/2*s + math.Sqrt2*s2, m[5] + d/2 + 2*d2,
	}
}

// store is the epilogue of one value.
func (w *Winograd) store(pixel, co int, v float32) {
	if w.Scale != nil {
		v *= w.Scale[co]
	}
	if w.Shift != nil {
		v += w.Shift[co]
	}
	if w.Res != nil {
		v += w.Res[pixel+co]
	}
	w.Y[pixel+co] = w.Act.apply(v)
}
