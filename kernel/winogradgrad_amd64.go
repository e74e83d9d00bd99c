//go:build !purego

package kernel

import "unsafe"

// winogradGradCode is the assembly of one tier.
type winogradGradCode struct {
	input  winogradInput
	output func(m *float32, stride int, dy *float32, row, pixel, down, right int, zero, tmp *float32, channels int)
	repack func(dst *float32, stride int, src *float32, tap, n int)
}

var (
	winogradGradYMM = winogradGradCode{winogradInput4, winogradOutputGrad4, winogradRepack4}
	winogradGradZMM = winogradGradCode{winogradInput4Wide, winogradOutputGrad4Wide, winogradRepack4Wide}
)

// winogradGradTmp is what one tile needs between two steps, in floats.
const winogradGradTmp = max(winogradTmp, 32+24*16)

func winogradTilesAVX2(w *WinogradGrad, x, dy []float32, first, tiles int) {
	w.transform(&winogradGradYMM, x, dy, first, tiles)
}

func winogradTilesAVX512(w *WinogradGrad, x, dy []float32, first, tiles int) {
	w.transform(&winogradGradZMM, x, dy, first, tiles)
}

func (w *WinogradGrad) transform(code *winogradGradCode, x, dy []float32, first, tiles int) {
	if max(w.Cin, w.Cout) > len(zeros) {
		winogradTilesGeneric(w, x, dy, first, tiles)
		return
	}
	var tmp [winogradGradTmp + winogradLine]float32
	skip := int(-uintptr(unsafe.Pointer(&tmp[0]))%(float*winogradLine)) / float
	g := w.geometry()
	t := g.tile(0)
	row, yrow := w.W*w.Cin, w.W*w.Cout
	for i := first; i < first+tiles; i++ {
		code.input(&w.V[i*w.Cin], float*w.stride(w.Cin), &x[t.image*w.H*row], float*((t.row-1)*row+(t.col-1)*w.Cin),
			float*row, float*w.Cin, isZero(t.row), isZero(t.col), w.H-t.row+1, w.W-t.col+1, &zeros[0], &tmp[skip], float*w.Cin)
		code.output(&w.D[i*w.Cout], float*w.stride(w.Cout), &dy[(t.image*w.H+t.row)*yrow+t.col*w.Cout],
			float*yrow, float*w.Cout, w.H-t.row, w.W-t.col, &zeros[0], &tmp[skip], float*w.Cout)
		g.next(&t)
	}
}

func winogradRepackAVX2(dst, w []float32, panels, n int, flip bool) {
	winogradGradYMM.repackPanels(dst, w, panels, n, flip)
}

func winogradRepackAVX512(dst, w []float32, panels, n int, flip bool) {
	winogradGradZMM.repackPanels(dst, w, panels, n, flip)
}

func (code *winogradGradCode) repackPanels(dst, w []float32, panels, n int, flip bool) {
	for p := range panels {
		src, tap := &w[p*9*n], float*n
		if flip {
			src, tap = &w[(p*9+8)*n], -tap
		}
		code.repack(&dst[p*winogradMost*n], float*n, src, tap, n)
	}
}

func winogradPanelAVX2(dw []float32, tap int, u []float32, n int) {
	winogradWeightGrad4(&dw[0], float*tap, &u[0], float*n, n)
}

func winogradPanelAVX512(dw []float32, tap int, u []float32, n int) {
	winogradWeightGrad4Wide(&dw[0], float*tap, &u[0], float*n, n)
}
