//go:build !purego

package kernel

func widenAVX2(dst []float32, src []uint16, factor float32) {
	n := min(flatLen, len(src)) &^ 7
	if n > 0 {
		widen(&dst[0], &src[0], n, factor)
	}
	if n < len(src) {
		widenGeneric(dst[n:], src[n:], factor)
	}
}
