package search

import "weft/nn"

// Memory is what a subnet takes that is served alone, in bytes of float32: its parameters and, for an image, the most that
// operations leave for later ones, such as the input of a block for its shortcut, and read and write at a time.
func Memory(g *nn.Graph) int {
	last := make([]int, len(g.Values)) // operation that reads a value
	for i := range g.Ops {
		op := &g.Ops[i]
		last[op.In] = i
		if op.Res >= 0 {
			last[op.Res] = i
		}
	}
	last[g.Output()] = len(g.Ops)
	live, most := g.Values[0].Size(), 0
	for i := range g.Ops {
		op := &g.Ops[i]
		if op.Out != op.In {
			live += g.Values[op.Out].Size()
		}
		most = max(most, live)
		for _, v := range []int{op.In, op.Res} {
			if v >= 0 && v != op.Out && last[v] == i {
				live -= g.Values[v].Size()
				last[v] = -1 // read as both
			}
		}
	}
	return 4 * (g.Params() + most)
}
