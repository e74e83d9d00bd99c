package supernet

import (
	"fmt"

	"weft/tensor"
)

// Plan is a subnet ready to run: a flat list of operations that point into the shared
// weights, with its folded normalisations. It owns no weights and holds no state, so any
// number of workers may run it at once; choosing another subnet is choosing another Plan.
// What an operation computes is described once a table, whichever plans use it.
type Plan struct {
	Arch    Arch
	MACs    int // of one image
	Classes int
	Input   tensor.Shape

	int8 *plan8 // of an int8 plan, which has nothing of what follows

	first    *op // normalisation of the pixels
	steps    []call
	input    place // of the normalised pixels
	logits   place
	segments []segment
	tiles    int // lines a thread for Winograd's algorithm
	widened  int // and for compact normalisations
}

// call is one operation of a plan: what to compute, on what, and with which
// normalisation.
type call struct {
	op           *op
	norm         *norm
	in, out, res place
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
		steps: make([]call, len(g.Ops)),
	}
	p.first = t.pixels(p.Input)
	keys := g.NormKeys()
	for i := range g.Ops {
		s := &p.steps[i]
		s.op = t.op(g, i)
		if s.op.wino != nil {
			p.tiles = max(p.tiles, lines(s.op.wino.Scratch()))
		}
		if keys[i] == 0 {
			continue
		}
		layer := g.Ops[i].Layer
		if s.norm = t.norm(layer, keys[i]); s.norm == nil {
			return nil, fmt.Errorf("subnet %s: no statistics for layer %s; calibrate it first",
				t.net.Space.Format(a), g.Layers[layer].Name)
		}
		p.widened = max(p.widened, lines(s.norm.buffer()))
	}
	p.arrange(g, groups(g))
	t.plans += p.bytes()
	return p, nil
}
