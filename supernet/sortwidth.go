package supernet

import "weft/nn"

// SortWidths reorders the outputs of stages by falling importance, so that a subnet of
// smaller widths keeps the channels that matter most. The function that the largest subnet
// computes is unchanged. Importance of a channel is the L1 norm of all weights that read it
// (OFA, sorting for the width multiplier). Kept subnets and other vectors are as for
// SortChannels, which sorts the channels inside blocks.
func (s *Supernet) SortWidths(kept []Arch, others ...[]float32) error {
	g, err := s.Space.Lower(s.Space.Max())
	if err != nil {
		return err
	}
	thin := s.Space.Max()
	thin.Width = [MaxSlots]uint8{}
	narrow, err := s.Space.Lower(thin)
	if err != nil {
		return err
	}
	edges, err := s.edges(kept)
	if err != nil {
		return err
	}
	vecs := append([][]float32{s.W.Data}, others...)
	same := alike(g)
	done := map[int]bool{same[0]: true, same[g.Output()]: true}
	for i := range g.Ops {
		out := g.Ops[i].Out
		if class := same[out]; g.Ops[i].Kind == nn.Conv && !done[class] && middle(g, i) == nil && narrow.Values[out].C < g.Values[out].C {
			done[class] = true
			s.sortStream(g, same, class, edges[edge{g.Ops[i].Layer, false}], vecs)
		}
	}
	return nil
}

// alike gives values that must keep their channels in one order a common number: those
// that residuals add up and those on either side of an operation by channels.
func alike(g *nn.Graph) []int {
	same := make([]int, len(g.Values))
	for v := range same {
		same[v] = v
	}
	join := func(a, b int) {
		from, to := same[a], same[b]
		for v := range same {
			if same[v] == from {
				same[v] = to
			}
		}
	}
	for i := range g.Ops {
		op := &g.Ops[i]
		if op.Kind != nn.Conv && op.Kind != nn.FC {
			join(op.In, op.Out)
		}
		if op.Res >= 0 {
			join(op.Res, op.Out)
		}
	}
	return same
}

// sortStream reorders the channels of a class of values.
func (s *Supernet) sortStream(g *nn.Graph, same []int, class int, edges []int, vecs [][]float32) {
	var norms []float64
	for i := range g.Ops {
		if op := &g.Ops[i]; same[op.In] == class && (op.Kind == nn.Conv || op.Kind == nn.FC) {
			n := s.inputNorms(op.Layer, nn.Weight)
			if norms == nil {
				norms = make([]float64, len(n))
			}
			for c := range n {
				norms[c] += n[c]
			}
		}
	}
	order := byImportance(norms, edges)
	for i := range g.Ops {
		op := &g.Ops[i]
		in, out := same[op.In] == class, same[op.Out] == class
		switch op.Kind {
		case nn.Conv, nn.FC:
			if in {
				s.permute(op.Layer, nn.Weight, 1, order, vecs)
			}
			if out {
				s.permuteOutputs(op.Layer, order, vecs)
			}
		case nn.Depthwise:
			if in {
				s.permuteOutputs(op.Layer, order, vecs)
			}
		case nn.SE:
			if in {
				s.permuteExcite(op.Layer, order, vecs)
			}
		}
	}
}
