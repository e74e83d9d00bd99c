//go:build !purego

package kernel

// downTerms are the terms of the 3×3 sums of a tile of stride 2: the position of the inputs,
// that of the weights, and whether the sum goes on. downBegin says where those of each sum
// begin.
var downTerms, downBegin = func() (terms [25][3]int, begin [9]int) {
	n := 0
	for sum := range begin {
		begin[sum] = n
		for p := range terms {
			if i, j := p/5, p%5; 3*downSum[i]+downSum[j] == sum {
				terms[n] = [3]int{p, 4*downWeight[i] + downWeight[j], 1}
				n++
			}
		}
		terms[n-1][2] = 0
	}
	return terms, begin
}()

// sums does what products does for stride 2.
func (w *Winograd) sums(b *winogradBlock, co int) {
	n := min(b.winogradCode.outputs, w.Cout-co)
	groups := (b.tiles + b.rows - 1) / b.rows
	all := len(downBegin)
	size := max(1, winogradCall/(4*b.tiles*w.Cin*n)) // sums a call
	for p := 0; p < all; p += size {
		b.winogradCode.sums(b.v, float*b.vStride, float*w.Cin,
			&w.U[PackedIndex(16, w.InMax, co, 0, 0)], float*w.InMax*Panel, float*16*w.InMax*Panel,
			ahead(b.m, p*b.mStride), float*b.mStride, float*b.winogradCode.outputs,
			&downTerms[downBegin[p]][0], min(size, all-p), groups, b.tiles/groups, b.tiles%groups, n)
	}
}
