package supernet

import (
	"fmt"

	"weft/kernel"
	"weft/nn"
	"weft/tensor"
)

// Plan is a subnet ready to run: a flat list of kernel calls that point into the shared
// weights, with its folded normalisations. It owns no weights and holds no state, so any
// number of workers may run it at once; choosing another subnet is choosing another Plan.
type Plan struct {
	Arch    Arch
	MACs    int // of one image
	Classes int
	Input   tensor.Shape

	mean, std []float32
	steps     []call
	slots     []int // floats an image of each slot of the arena
	scratch   int   // floats an image for squeeze-and-excite
	logits    int   // slot of the logits
	pitch     int   // row length of the logits
}

// call is one kernel call; slots index Plan.slots.
type call struct {
	kind         nn.Kind
	in, out, res int // slots, res -1 without
	conv         kernel.Conv
	dw           kernel.Depthwise
	second       kernel.Conv // squeeze-and-excite: back to the channels
	gather       *kernel.Gather
	inC, outC    int
	inPix, rows  int // pixels read and rows written, an image
	chunk        int // rows a chunk
}

// Plan compiles an architecture. It fails when the table has no statistics for one of
// its normalisation layers.
func (t *Table) Plan(a Arch) (*Plan, error) {
	g, err := t.net.Space.Lower(a)
	if err != nil {
		return nil, err
	}
	p := &Plan{
		Arch: a, MACs: g.MACs(), Classes: g.Values[g.Output()].C, Input: g.Values[0],
		mean: t.net.Mean, std: t.net.Std, pitch: g.Pitch(),
	}
	slots := p.assign(g)
	keys := g.NormKeys()
	for i := range g.Ops {
		s, err := t.step(g, i, keys[i], slots)
		if err != nil {
			return nil, fmt.Errorf("subnet %s: %w", t.net.Space.Format(a), err)
		}
		if s.kind == nn.SE {
			p.scratch = max(p.scratch, 2*s.inC+g.Ops[i].Hidden)
		}
		p.steps = append(p.steps, s)
	}
	p.logits = slots[g.Output()]
	return p, nil
}

// assign gives every value a slot of the arena: one is free again after the last
// operation that reads its value. Values larger than a free slot widen it.
func (p *Plan) assign(g *nn.Graph) []int {
	last := make([]int, len(g.Values))
	for i := range g.Ops {
		last[g.Ops[i].In] = i
		if r := g.Ops[i].Res; r >= 0 {
			last[r] = i
		}
	}
	last[g.Output()] = len(g.Ops)
	slots := make([]int, len(g.Values))
	var free []int
	take := func(size int) int {
		if len(free) == 0 {
			p.slots = append(p.slots, size)
			return len(p.slots) - 1
		}
		best := 0
		for i, s := range free {
			d, e := p.slots[s]-size, p.slots[free[best]]-size
			if e < 0 && d > e || d >= 0 && d < e {
				best = i
			}
		}
		s := free[best]
		free = append(free[:best], free[best+1:]...)
		p.slots[s] = max(p.slots[s], size)
		return s
	}
	slots[0] = take(align(g.Values[0].Size()))
	for i := range g.Ops {
		op := &g.Ops[i]
		v := g.Values[op.Out]
		slots[op.Out] = take(align(v.Pixels() * pitch(v.C)))
		for v, l := range last {
			if l == i && (v == op.In || v == op.Res) {
				free = append(free, slots[v])
			}
		}
	}
	return slots
}

func (t *Table) step(g *nn.Graph, i int, key nn.NormKey, slots []int) (call, error) {
	op := &g.Ops[i]
	in, out := g.Values[op.In], g.Values[op.Out]
	s := call{
		kind: op.Kind, in: slots[op.In], out: slots[op.Out], res: -1, inC: in.C, outC: out.C,
		inPix: in.Pixels(), rows: out.Pixels(),
	}
	s.chunk = planChunk(g.OpMACs(op) / out.Pixels())
	if op.Res >= 0 {
		s.res = slots[op.Res]
	}
	var norm Affine
	if key != 0 {
		var ok bool
		if norm, ok = t.affine(op.Layer, key); !ok {
			return s, fmt.Errorf("no statistics for layer %s; calibrate it first", g.Layers[op.Layer].Name)
		}
	}
	w := t.net.W
	switch op.Kind {
	case nn.Conv:
		l := &g.Layers[op.Layer]
		s.conv = kernel.Conv{
			G: &t.windows.Get(in.H, in.W, op.K, op.Stride, false).Fwd, W: w.Of(w.Data, op.Layer, nn.Weight),
			Cin: in.C, Cout: out.C, XPitch: in.C, YPitch: out.C, Taps: l.Taps(), InMax: l.In,
			Scale: norm.Scale, Shift: norm.Shift, Act: op.Act,
		}
	case nn.Depthwise:
		l := &g.Layers[op.Layer]
		s.dw = kernel.Depthwise{
			G: &t.windows.Get(in.H, in.W, op.K, op.Stride, true).Fwd, W: t.kernel(op.Layer, op.K),
			C: out.C, CMax: l.Out, Scale: norm.Scale, Shift: norm.Shift, Act: op.Act,
		}
	case nn.FC:
		s.conv = denseConv(w, op.Layer, nn.Weight, nn.Bias, in.Size(), pitch(out.C), g.Layers[op.Layer].In, kernel.Linear)
	case nn.SE:
		l := &g.Layers[op.Layer]
		s.conv = denseConv(w, op.Layer, nn.Weight, nn.Bias, in.C, op.Hidden, l.In, kernel.ReLU)
		s.second = denseConv(w, op.Layer, nn.Weight2, nn.Bias2, op.Hidden, in.C, l.Hidden, kernel.HSigmoid)
	case nn.Add:
		s.conv.Act = op.Act
	case nn.MaxPool, nn.AvgPool:
		s.gather = &t.windows.Get(in.H, in.W, op.K, op.Stride, false).Fwd
	}
	return s, nil
}

// planChunk is how many rows one thread claims at a time: about 20 µs of work.
func planChunk(macsPerRow int) int {
	return min(max(1_000_000/max(macsPerRow, 1)/48*48, 48), 1<<20)
}

func denseConv(w *nn.Weights, layer int, r, b nn.Role, cin, cout, inMax int, act kernel.Act) kernel.Conv {
	return kernel.Conv{
		G: kernel.IdentityGather(1), W: w.Of(w.Data, layer, r), Cin: cin, Cout: cout,
		XPitch: cin, YPitch: cout, Taps: 1, InMax: inMax, Shift: w.Of(w.Data, layer, b), Act: act,
	}
}

// pitch is the row length of a value with c channels: whole vectors of 8.
func pitch(c int) int { return (c + 7) &^ 7 }

// align rounds up to whole cache lines of floats.
func align(n int) int { return (n + 15) &^ 15 }
