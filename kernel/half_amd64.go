//go:build !purego

package kernel

func widenAVX2(dst []float32, src []uint16, factor float32) {
	for len(src) >= 8 {
		n := min(flatLen, len(src)&^7)
		widen(&dst[0], &src[0], n, factor)
		dst, src = dst[n:], src[n:]
	}
	widenGeneric(dst, src, factor)
}
