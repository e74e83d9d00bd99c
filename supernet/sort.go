package supernet

import (
	"cmp"
	"math"
	"slices"

	"weft/kernel"
	"weft/nn"
)

// SortChannels reorders the middle channels of every block by falling importance, so
// that a narrower subnet keeps the channels that matter most. The function that the
// largest subnet computes is unchanged. Importance of a channel is the L1 norm of the
// weights that read it in the block's next dense convolution; that of a
// squeeze-and-excite's hidden channel, of the weights back to the channels (OFA, sorting
// for elastic width). Vectors of the same layout, such as the momentum, follow.
//
// Channels that only wider subnets than one of kept have stay behind those that it has, so
// that subnets which are trained already keep their channels (OFA's buckets). Where only
// the largest subnet is trained yet, as at DepS' switch, nothing need be kept.
func (s *Supernet) SortChannels(kept []Arch, others ...[]float32) error {
	g, err := s.Space.Lower(s.Space.Max())
	if err != nil {
		return err
	}
	edges, err := s.edges(kept)
	if err != nil {
		return err
	}
	vecs := append([][]float32{s.W.Data}, others...)
	for i := range g.Ops {
		if chain := middle(g, i); chain != nil {
			s.sortChain(g, chain, edges, vecs)
		}
		if op := &g.Ops[i]; op.Kind == nn.SE {
			order := byImportance(s.inputNorms(op.Layer, nn.Weight2), edges[edge{op.Layer, true}])
			s.permute(op.Layer, nn.Weight, 0, order, vecs)
			s.permute(op.Layer, nn.Bias, 0, order, vecs)
			s.permute(op.Layer, nn.Weight2, 1, order, vecs)
		}
	}
	return nil
}

// middle returns the operations from i, which makes a block's middle channels, over
// those that work channel by channel, to the dense convolution that reads them; nil when
// anything else reads the channels as well, for then their order is not the block's own.
func middle(g *nn.Graph, i int) []int {
	op := &g.Ops[i]
	if op.Kind != nn.Conv || op.Res >= 0 || op.Act == kernel.Linear {
		return nil
	}
	chain := []int{i}
	for {
		next := -1
		v := g.Ops[chain[len(chain)-1]].Out
		for j := range g.Ops {
			o := &g.Ops[j]
			if o.Res == v || o.In == v && next >= 0 {
				return nil
			}
			if o.In == v {
				next = j
			}
		}
		if next < 0 {
			return nil
		}
		chain = append(chain, next)
		switch g.Ops[next].Kind {
		case nn.Conv:
			return chain
		case nn.Depthwise, nn.SE:
		default:
			return nil
		}
	}
}

func (s *Supernet) sortChain(g *nn.Graph, chain []int, edges map[edge][]int, vecs [][]float32) {
	last := g.Ops[chain[len(chain)-1]].Layer
	order := byImportance(s.inputNorms(last, nn.Weight), edges[edge{g.Ops[chain[0]].Layer, false}])
	for _, i := range chain[:len(chain)-1] {
		layer := g.Ops[i].Layer
		if g.Ops[i].Kind == nn.SE {
			s.permuteExcite(layer, order, vecs)
		} else {
			s.permuteOutputs(layer, order, vecs)
		}
	}
	s.permute(last, nn.Weight, 1, order, vecs)
}

// permuteOutputs reorders the channels that a convolution writes.
func (s *Supernet) permuteOutputs(layer int, order []int, vecs [][]float32) {
	for _, r := range []nn.Role{nn.Weight, nn.Gamma, nn.Beta} {
		s.permute(layer, r, 0, order, vecs)
	}
}

// permuteExcite reorders the channels that a squeeze-and-excite scales.
func (s *Supernet) permuteExcite(layer int, order []int, vecs [][]float32) {
	s.permute(layer, nn.Weight, 1, order, vecs)
	s.permute(layer, nn.Weight2, 0, order, vecs)
	s.permute(layer, nn.Bias2, 0, order, vecs)
}

// inputNorms sums |w| over everything but the input channel.
func (s *Supernet) inputNorms(layer int, r nn.Role) []float64 {
	i := s.W.Find(layer, r)
	shape := s.W.Params[i].Shape
	norms := make([]float64, shape[len(shape)-1])
	for j, v := range s.W.Canonical(s.W.Data, i) {
		norms[j%len(norms)] += math.Abs(float64(v))
	}
	return norms
}

// edge names the outputs of a layer, or the hidden channels of a squeeze-and-excite.
type edge struct {
	layer  int
	hidden bool
}

// edges lists how many channels each layer has in the subnets.
func (s *Supernet) edges(subnets []Arch) (map[edge][]int, error) {
	all := map[edge][]int{}
	for _, a := range subnets {
		g, err := s.Space.Lower(a)
		if err != nil {
			return nil, err
		}
		for i := range g.Ops {
			if op := &g.Ops[i]; op.Layer >= 0 {
				outputs, hidden := edge{op.Layer, false}, edge{op.Layer, true}
				all[outputs] = append(all[outputs], g.Values[op.Out].C)
				all[hidden] = append(all[hidden], op.Hidden)
			}
		}
	}
	return all, nil
}

// byImportance orders channels by falling norm, within the buckets that the edges make.
func byImportance(norms []float64, edges []int) []int {
	order, bucket := make([]int, len(norms)), make([]int, len(norms))
	for i := range order {
		order[i] = i
		for _, e := range edges {
			if i >= e {
				bucket[i]++
			}
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(bucket[a], bucket[b]), cmp.Compare(norms[b], norms[a]))
	})
	return order
}

// permute reorders outputs (side 0) or inputs (side 1) of a parameter: place i takes
// what was at order[i].
func (s *Supernet) permute(layer int, r nn.Role, side int, order []int, vecs [][]float32) {
	p := s.W.Find(layer, r)
	if p < 0 {
		return
	}
	n := len(order)
	for _, vec := range vecs {
		old := s.W.Canonical(vec, p)
		vals := make([]float32, len(old))
		inner := len(old) / n
		for i, from := range order {
			if side == 0 {
				copy(vals[i*inner:(i+1)*inner], old[from*inner:])
				continue
			}
			for o := range inner {
				vals[o*n+i] = old[o*n+from]
			}
		}
		s.W.SetCanonical(vec, p, vals)
	}
}
