package search

import "weft/nn"

// Memory is what a subnet takes that is served alone: its parameters and, for an image, the
// inputs and the output of the operation that has most of them at a time, in float32.
func Memory(g *nn.Graph) int {
	most := 0
	for i := range g.Ops {
		op := &g.Ops[i]
		n := g.Values[op.In].Size() + g.Values[op.Out].Size()
		if op.Res >= 0 {
			n += g.Values[op.Res].Size()
		}
		most = max(most, n)
	}
	return 4 * (g.Params() + most)
}
