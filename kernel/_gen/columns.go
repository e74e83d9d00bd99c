package main

import (
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// mostVecs is how many vectors of channels one pass over the rows handles.
const mostVecs = 4

// Numbers of the activations, as in the Go type Act.
const (
	linear = iota
	relu
	hswish
	hsigmoid
)

// Predicates of VCMPPS, ordered and quiet: false for a NaN.
const (
	lessThan     = 0x11
	lessEqual    = 0x12
	greaterEqual = 0x1d
	greater      = 0x1e
)

func columnsFile(a *asm) {
	moments(a)
	scaleShift(a)
	normGrad(a)
	affine2(a)
	channelSum(a)
}

const columnsDoc = "of vecs·8 channels (up to 32) on rows that stand pitch bytes apart."

// columns emits body for every number of vectors of the parameter vecs and ends the
// function.
func columns(a *asm, body func(vecs int)) {
	done := a.label("done")
	labels := make([]string, mostVecs+1)
	n := a.load("vecs")
	for v := 1; v <= mostVecs; v++ {
		labels[v] = a.label("vecs")
		if v < mostVecs {
			a.CMPQ(n, imm(v))
			a.JEQ(operand.LabelRef(labels[v]))
		}
	}
	for v := mostVecs; v >= 1; v-- {
		a.Label(labels[v])
		body(v)
		a.JMP(operand.LabelRef(done))
	}
	a.Label(done)
	a.end()
}

// eachRow emits a loop over the parameter rows, split rows at a time as long as there are
// as many; body gets the copy of the accumulators and the byte offset of the row.
func (a *asm) eachRow(split int, body func(s int, off reg.Register)) {
	n, off, pitch := a.load("rows"), a.GP64(), a.load("pitch")
	a.XORQ(off, off)
	step := func(s int) {
		body(s, off)
		a.ADDQ(pitch, off)
	}
	a.splitLoop(n, split, step)
}

// splitLoop runs step n times, with arguments 0..split-1 in turn while that many are
// left, then with 0.
func (a *asm) splitLoop(n reg.Register, split int, step func(s int)) {
	main, rest, one, done := a.label("main"), a.label("rest"), a.label("one"), a.label("rows")
	if split > 1 {
		a.SUBQ(imm(split), n)
		a.JLT(operand.LabelRef(rest))
		a.Label(main)
		for s := range split {
			step(s)
		}
		a.SUBQ(imm(split), n)
		a.JGE(operand.LabelRef(main))
		a.Label(rest)
		a.ADDQ(imm(split), n)
		a.JZ(operand.LabelRef(done))
	}
	a.Label(one)
	step(0)
	a.DECQ(n)
	a.JNZ(operand.LabelRef(one))
	a.Label(done)
}

// vectors loads vecs vectors of a parameter.
func (a *asm) vectors(name string, vecs int) []reg.VecVirtual {
	p := a.load(name)
	r := make([]reg.VecVirtual, vecs)
	for v := range r {
		r[v] = a.YMM()
		a.VMOVUPS(at(p, 32*v), r[v])
	}
	return r
}

// addTo adds the vectors of a row of accumulators to a parameter.
func (t *tile) addTo(a *asm, row int, name string) {
	p := a.load(name)
	for v, r := range t.acc[row] {
		a.VADDPS(at(p, 32*v), r, r)
		a.VMOVUPS(r, at(p, 32*v))
	}
}

func moments(a *asm) {
	a.function("moments", "adds sums of x−pivot and (x−pivot)² "+columnsDoc,
		"x *float32, rows, vecs, pitch int, pivot, sum, sumsq *float32")
	columns(a, func(vecs int) {
		t := a.newTile(2, vecs, 4)
		x, pivot := a.load("x"), a.load("pivot")
		a.eachRow(t.split, func(s int, off reg.Register) {
			for v := range vecs {
				d := a.YMM()
				a.VMOVUPS(idx(x, off, 1, 32*v), d)
				a.VSUBPS(at(pivot, 32*v), d, d)
				a.VADDPS(d, t.acc[2*s][v], t.acc[2*s][v])
				a.VFMADD231PS(d, d, t.acc[2*s+1][v])
			}
		})
		t.fold(a)
		t.addTo(a, 0, "sum")
		t.addTo(a, 1, "sumsq")
	})
}

func channelSum(a *asm) {
	a.function("channelSum", "adds sums of x and, unless dot is nil, of x·y "+columnsDoc,
		"x, y *float32, rows, vecs, pitch int, sum, dot *float32")
	columns(a, func(vecs int) {
		plain, done := a.label("plain"), a.label("summed")
		x := a.load("x")
		a.skipZero("dot", plain)
		t := a.newTile(2, vecs, 4)
		y := a.load("y")
		a.eachRow(t.split, func(s int, off reg.Register) {
			for v := range vecs {
				d := a.YMM()
				a.VMOVUPS(idx(x, off, 1, 32*v), d)
				a.VADDPS(d, t.acc[2*s][v], t.acc[2*s][v])
				a.VFMADD231PS(idx(y, off, 1, 32*v), d, t.acc[2*s+1][v])
			}
		})
		t.fold(a)
		t.addTo(a, 0, "sum")
		t.addTo(a, 1, "dot")
		a.JMP(operand.LabelRef(done))
		a.Label(plain)
		t = a.newTile(1, vecs, 4)
		a.eachRow(t.split, func(s int, off reg.Register) {
			for v := range vecs {
				a.VADDPS(idx(x, off, 1, 32*v), t.acc[s][v], t.acc[s][v])
			}
		})
		t.fold(a)
		t.addTo(a, 0, "sum")
		a.Label(done)
	})
}

// eachAct emits body for every activation and jumps to the one that the parameter act
// names.
func (a *asm) eachAct(body func(act int)) {
	done := a.label("acted")
	r := a.load("act")
	var labels [hsigmoid + 1]string
	for act := range labels {
		labels[act] = a.label("act")
		if act != linear {
			a.CMPQ(r, imm(act))
			a.JEQ(operand.LabelRef(labels[act]))
		}
	}
	for act := range labels {
		a.Label(labels[act])
		body(act)
		a.JMP(operand.LabelRef(done))
	}
	a.Label(done)
}

func scaleShift(a *asm) {
	a.function("scaleShift", "computes y = act(x·scale + shift + res), res may be nil, "+columnsDoc,
		"y, x, res *float32, rows, vecs, pitch int, scale, shift *float32, act int")
	columns(a, func(vecs int) {
		noRes, done := a.label("nores"), a.label("scaled")
		y, x := a.load("y"), a.load("x")
		scale, shift := a.vectors("scale", vecs), a.vectors("shift", vecs)
		loops := func(res reg.Register) {
			a.eachAct(func(act int) {
				zero, six := a.YMM(), a.YMM()
				a.VXORPS(zero, zero, zero)
				a.VMOVUPS(a.splat(6), six)
				a.eachRow(1, func(_ int, off reg.Register) {
					for v := range vecs {
						z := a.YMM()
						a.VMOVUPS(idx(x, off, 1, 32*v), z)
						a.VFMADD213PS(shift[v], scale[v], z)
						if res != nil {
							a.VADDPS(idx(res, off, 1, 32*v), z, z)
						}
						a.apply(act, z, zero, six)
						a.VMOVUPS(z, idx(y, off, 1, 32*v))
					}
				})
			})
		}
		loops(a.skipZero("res", noRes))
		a.JMP(operand.LabelRef(done))
		a.Label(noRes)
		loops(nil)
		a.Label(done)
	})
}

// apply computes z = act(z).
func (a *asm) apply(act int, z, zero, six reg.VecVirtual) {
	switch act {
	case relu:
		a.VMAXPS(zero, z, z)
	case hswish:
		s := a.YMM()
		a.hardSigmoid(z, s, zero, six)
		a.VMULPS(s, z, z)
	case hsigmoid:
		a.hardSigmoid(z, z, zero, six)
	}
}

func affine2(a *asm) {
	a.function("affine2", "computes out = a·u + b·v + d "+columnsDoc,
		"out, u, v *float32, rows, vecs, pitch int, a, b, d *float32")
	columns(a, func(vecs int) {
		out, u, v := a.load("out"), a.load("u"), a.load("v")
		ka, kb, kd := a.vectors("a", vecs), a.vectors("b", vecs), a.vectors("d", vecs)
		a.eachRow(1, func(_ int, off reg.Register) {
			for i := range vecs {
				z := a.YMM()
				a.VMOVUPS(idx(u, off, 1, 32*i), z)
				a.VFMADD213PS(kd[i], ka[i], z)
				a.VFMADD231PS(idx(v, off, 1, 32*i), kb[i], z)
				a.VMOVUPS(z, idx(out, off, 1, 32*i))
			}
		})
	})
}

func normGrad(a *asm) {
	a.function("normGrad", "overwrites dy by dz = dy·act′ and adds sums of dz and dz·(x−mean) "+columnsDoc,
		"dy, y, x *float32, rows, vecs, pitch int, scale, shift, mean *float32, act int, sumDZ, sumDZX *float32")
	columns(a, func(vecs int) {
		dy, y, x, mean := a.load("dy"), a.load("y"), a.load("x"), a.load("mean")
		scale, shift := a.load("scale"), a.load("shift")
		a.eachAct(func(act int) {
			t := a.newTile(2, vecs, 2)
			a.eachRow(t.split, func(s int, off reg.Register) {
				for v := range vecs {
					dz, d := a.YMM(), a.YMM()
					a.VMOVUPS(idx(x, off, 1, 32*v), d)
					switch act {
					case linear:
						a.VMOVUPS(idx(dy, off, 1, 32*v), dz)
					case relu:
						a.VXORPS(dz, dz, dz)
						a.VCMPPS(operand.U8(lessThan), idx(y, off, 1, 32*v), dz, dz)
						a.VANDPS(a.splat(1), dz, dz)
					default:
						z := a.YMM()
						a.VMOVUPS(at(shift, 32*v), z)
						a.VFMADD231PS(at(scale, 32*v), d, z)
						a.hardGradient(act, z, dz)
					}
					if act != linear {
						a.VMULPS(idx(dy, off, 1, 32*v), dz, dz)
						a.VMOVUPS(dz, idx(dy, off, 1, 32*v))
					}
					a.VSUBPS(at(mean, 32*v), d, d)
					a.VADDPS(dz, t.acc[2*s][v], t.acc[2*s][v])
					a.VFMADD231PS(d, dz, t.acc[2*s+1][v])
				}
			})
			t.fold(a)
			t.addTo(a, 0, "sumDZ")
			t.addTo(a, 1, "sumDZX")
		})
	})
}

// hardGradient computes the derivative g of h-swish or h-sigmoid at z.
func (a *asm) hardGradient(act int, z, g reg.VecVirtual) {
	above, below := a.YMM(), a.YMM()
	if act == hsigmoid {
		a.VCMPPS(operand.U8(greater), a.splat(-3), z, above)
		a.VCMPPS(operand.U8(lessThan), a.splat(3), z, below)
		a.VANDPS(above, below, g)
		a.VANDPS(a.splat(1.0/6), g, g)
		return
	}
	a.VCMPPS(operand.U8(greaterEqual), a.splat(3), z, above)
	a.VCMPPS(operand.U8(lessEqual), a.splat(-3), z, below)
	a.VADDPS(z, z, g)
	a.VADDPS(a.splat(3), g, g)
	a.VMULPS(a.splat(1.0/6), g, g)
	a.VBLENDVPS(above, a.splat(1), g, g)
	a.VANDNPS(g, below, g)
}
