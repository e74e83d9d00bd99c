package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gradInputs are the numbers of inputs that one block of a weight gradient takes for
// AVX-512: 24 accumulators are what 32 registers hold beside the operands in whole eights.
var gradInputs = []int{24, 16, 8, 4, 2, 1}

func convGrad512File(a *asm) {
	convGrad512(a, "convGradIndirectWide", "is convGradIndirect with blocks of 24, 16, 8, 4, 2 or 1 inputs.",
		"x, dy, dw *float32, inputs, outputs, rows, pitch, ypitch, images, image int, in *int32, tap int, zero *float32",
		gradIndirect)
	convGrad512(a, "convGradListedWide", "is convGradListed with blocks of 24, 16, 8, 4, 2 or 1 inputs.",
		"x, dy, dw *float32, inputs, outputs, rows, pitch, ypitch, images, image, yimage int, in, out *int32",
		gradListed)
	convGrad512(a, "convGradLinearWide", "is convGradLinear with blocks of 24, 16, 8, 4, 2 or 1 inputs.",
		"x, dy, dw *float32, inputs, outputs, rows, pitch, ypitch int",
		gradLinear)
}

// convGrad512 emits one body for every number of inputs.
func convGrad512(a *asm, name, doc, params string, accumulate func(*asm, accumulator)) {
	a.function(name, doc, params)
	done := a.label("done")
	for _, width := range []int{64, 32} {
		next := a.label("outputs")
		a.CMPQ(a.arg("outputs"), imm(width/4))
		a.JNE(operand.LabelRef(next))
		for _, inputs := range gradInputs {
			other := a.label("inputs")
			a.CMPQ(a.arg("inputs"), imm(inputs))
			a.JNE(operand.LabelRef(other))
			b := a.newBlock(inputs, []int{width}, 4)
			accumulate(a, accumulator{b.split, func(s int, x, dy reg.Register) {
				b.outer(a, s,
					func(i int) operand.Mem { return at(x, 4*i) },
					func(int) operand.Mem { return at(dy, 0) })
			}})
			b.fold(a)
			dw := a.load("dw")
			for i := range inputs {
				r := b.acc[i][0]
				a.VADDPS(at(dw, 64*i), r, r)
				a.VMOVUPS(r, at(dw, 64*i))
			}
			a.JMP(operand.LabelRef(done))
			a.Label(other)
		}
		a.Label(next)
	}
	a.Label(done)
	a.end()
}
