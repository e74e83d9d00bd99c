package main

import "github.com/mmcloughlin/avo/reg"

// nearFile: normalisations of 8 bits a value.
func nearFile(a *asm) {
	a.function("nearBase", "writes base · (at0 + step0·code)⁴ for n scales and base + unit · (at1 + step1·code) for n shifts,\n"+
		"n a multiple of 8 and above 0. base has scales, shifts and units, and the others scales and shifts, pitch apart.",
		"dst, base *float32, codes *uint8, n, pitch int, at0, step0, at1, step1 float32")
	dst, base, codes, n, pitch := a.load("dst"), a.load("base"), a.load("codes"), a.load("n"), a.load("pitch")
	shiftCodes, shifts, shiftBase, units := a.GP64(), a.GP64(), a.GP64(), a.GP64()
	a.LEAQ(idx(codes, pitch, 1, 0), shiftCodes)
	a.LEAQ(idx(dst, pitch, 4, 0), shifts)
	a.LEAQ(idx(base, pitch, 4, 0), shiftBase)
	a.LEAQ(idx(base, pitch, 8, 0), units)
	var k [4]reg.VecVirtual
	for i, name := range []string{"at0", "step0", "at1", "step1"} {
		k[i] = a.YMM()
		a.VBROADCASTSS(a.arg(name), k[i])
	}
	off := a.GP64()
	a.XORQ(off, off)
	a.SHRQ(imm(3), n)
	decode := func(from reg.Register, at, step reg.VecVirtual) reg.VecVirtual {
		x := a.YMM()
		a.VPMOVZXBD(idx(from, off, 1, 0), x)
		a.VCVTDQ2PS(x, x)
		a.VMULPS(step, x, x)
		a.VADDPS(at, x, x)
		return x
	}
	a.splitLoop(n, 1, func(int) {
		x := decode(codes, k[0], k[1])
		a.VMULPS(x, x, x)
		a.VMULPS(x, x, x)
		a.VMULPS(idx(base, off, 4, 0), x, x)
		a.VMOVUPS(x, idx(dst, off, 4, 0))
		y := decode(shiftCodes, k[2], k[3])
		a.VMULPS(idx(units, off, 4, 0), y, y)
		a.VADDPS(idx(shiftBase, off, 4, 0), y, y)
		a.VMOVUPS(y, idx(shifts, off, 4, 0))
		a.ADDQ(imm(8), off)
	})
	a.end()
}
