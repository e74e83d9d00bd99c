package main

import "github.com/mmcloughlin/avo/operand"

// peakFile: what the processor can do at most.
func peakFile(a *asm) {
	a.function("fma", "runs n rounds of twelve independent fused multiply-adds on eight floats each.", "n int")
	n := a.load("n")
	t := a.newTile(12, 1, 1)
	x := a.YMM()
	a.VXORPS(x, x, x)
	loop := a.label("loop")
	a.Label(loop)
	for _, r := range t.acc {
		a.VFMADD231PS(x, x, r[0])
	}
	a.DECQ(n)
	a.JNZ(operand.LabelRef(loop))
	a.end()
}
