package main

// halfFile: numbers of 16 bits.
func halfFile(a *asm) {
	a.function("widen", "converts n numbers of half precision, n a multiple of 8 and above 0, and multiplies them by factor.",
		"dst *float32, src *uint16, n int, factor float32")
	dst, src, n, factor := a.load("dst"), a.load("src"), a.load("n"), a.YMM()
	a.VBROADCASTSS(a.arg("factor"), factor)
	off := a.GP64()
	a.XORQ(off, off)
	a.SHRQ(imm(3), n)
	a.splitLoop(n, 4, func(int) {
		x := a.YMM()
		a.VCVTPH2PS(idx(src, off, 1, 0), x)
		a.VMULPS(factor, x, x)
		a.VMOVUPS(x, idx(dst, off, 2, 0))
		a.ADDQ(imm(16), off)
	})
	a.end()
}
