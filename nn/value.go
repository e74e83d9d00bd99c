package nn

import (
	"slices"

	"weft/kernel"
)

// schedule says, for each value of a graph, whether it is kept and when it is first and
// last needed, and for each operation, what its backward pass completes.
type schedule struct {
	values []valueUse
	ops    []opUse
}

type valueUse struct {
	producer int  // operation, -1 for the input
	kept     bool // stored in full: read more than once, or not computed by parts
	// first is the operation whose forward pass finishes the value, last the one whose
	// backward pass completes its gradient. Both look through operations without a pass
	// of their own.
	first, last int
}

type opUse struct {
	// freshIn and freshRes tell that this is the first gradient that In, Res gets.
	freshIn, freshRes bool
	settles           []int // values whose gradients are complete after the operation's pass, in order
}

// lazy reports whether the operation has no pass of its own: those that read its output
// compute it.
func (k Kind) lazy() bool { return k == SE || k == Add }

func newSchedule(g *Graph) schedule {
	s := schedule{values: make([]valueUse, len(g.Values)), ops: make([]opUse, len(g.Ops))}
	uses := make([]int, len(g.Values))
	for v := range s.values {
		s.values[v] = valueUse{producer: -1, first: len(g.Ops), last: len(g.Ops)}
	}
	for i := range slices.Backward(g.Ops) {
		op := &g.Ops[i]
		out := &s.values[op.Out]
		out.producer = i
		out.kept = uses[op.Out] > 1 || op.Out == g.Output()
		first, last := i, i
		if op.Kind.lazy() {
			first, last = out.first, out.last
		}
		if op.Kind != Conv && op.Kind != Depthwise && !op.Kind.lazy() {
			out.kept, out.first = true, -1
		}
		in := &s.values[op.In]
		in.first, in.last = min(in.first, first), min(in.last, last)
		uses[op.In]++
		if op.Kind == FC {
			uses[op.In]++ // reads it in full
		}
		if op.Res >= 0 { // read when the output is finished
			res := &s.values[op.Res]
			res.first, res.last = min(res.first, out.first), min(res.last, last)
			uses[op.Res]++
		}
	}
	s.values[0].kept, s.values[0].first = true, -1
	s.gradients(g)
	return s
}

// gradients finds out in which order gradients are given.
func (s *schedule) gradients(g *Graph) {
	given := make([]bool, len(g.Values))
	given[g.Output()] = true
	give := func(v int) bool {
		was := given[v]
		given[v] = true
		return !was
	}
	for i := range slices.Backward(g.Ops) {
		op, use := &g.Ops[i], &s.ops[i]
		if op.Kind.lazy() || !given[op.Out] {
			continue
		}
		if op.Res >= 0 {
			use.freshRes = give(op.Res)
		}
		use.freshIn = give(op.In)
		for j := i - 1; j >= 0; j-- {
			v := g.Ops[j].Out
			if s.values[v].last != i || !given[v] {
				continue
			}
			use.settles = append(use.settles, v)
			if p := &g.Ops[j]; p.Kind.lazy() {
				s.ops[j].freshIn = give(p.In)
				if p.Res >= 0 {
					s.ops[j].freshRes = give(p.Res)
				}
			}
		}
	}
}

// read returns the images of a group of value v. A value that is not kept is computed in
// the group's memory; a kept one is stored by its first reader.
func (e *Exec) read(v int, g group) []float32 {
	size, use := e.size(v), &e.sched.values[v]
	for _, k := range g.known {
		if k.value == v {
			return k.y
		}
	}
	var y []float32
	if use.kept {
		y = e.vals[v][g.lo*size : g.hi*size]
		if e.now > use.first {
			return y
		}
	} else {
		y = g.Take((g.hi - g.lo) * size)
	}
	e.readTo(v, y, g)
	return y
}

// readTo computes the images of a group of value v, which is not kept, into y.
func (e *Exec) readTo(v int, y []float32, g group) {
	e.finish(v, y, g)
	g.known = append(g.known, known{v, y})
}

// finish computes the images of a group of value v from what its producer left.
func (e *Exec) finish(v int, y []float32, g group) {
	i := e.sched.values[v].producer
	op, st := &e.g.Ops[i], &e.state[i]
	s := e.g.Values[v]
	rows := (g.hi - g.lo) * s.Pixels()
	switch op.Kind {
	case SE:
		e.excite(op, st, y, g)
	case Add:
		a, b := e.read(op.In, g), e.read(op.Res, g)
		kernel.ScaleShift(y, a, b, rows, s.C, constant(s.C, 1), constant(s.C, 0), op.Act)
	default:
		var res []float32
		if op.Res >= 0 {
			res = e.read(op.Res, g)
		}
		size := e.size(v)
		kernel.ScaleShift(y, st.raw[g.lo*size:g.hi*size], res, rows, s.C, st.scale, st.shift, op.Act)
	}
}

// whole returns value v of all images.
func (e *Exec) whole(v int) []float32 {
	if use := &e.sched.values[v]; e.now <= use.first && use.producer >= 0 {
		e.sweep(e.cut(&e.g.Ops[use.producer]), func(g group) { e.read(v, g) })
	}
	return e.vals[v]
}

func constant(n int, v float32) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = v
	}
	return s
}
