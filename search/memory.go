package search

import "weft/nn"

// Memory is what a subnet takes that is served alone, in bytes of float32: its parameters and, for an image, the most that
// operations leave for later ones, such as the input of a block for its shortcut, and read and write at a time.
func Memory(g *nn.Graph) int {
	written, read := make([]int, len(g.Values)), make([]int, len(g.Values)) // by which operation, read last by which
	for i := range g.Ops {
		op := &g.Ops[i]
		written[op.Out], read[op.Out] = i, i
		read[op.In] = i
		if op.Res >= 0 {
			read[op.Res] = i
		}
	}
	change := make([]int, len(g.Ops)+1) // of what is there, as an operation begins
	for v := range g.Values {
		size := g.Values[v].Size()
		change[written[v]] += size
		change[read[v]+1] -= size
	}
	live, most := 0, 0
	for _, c := range change {
		live += c
		most = max(most, live)
	}
	return 4 * (g.Params() + most)
}
