package supernet

import (
	"iter"
	"math/big"
	"math/rand/v2"
	"slices"
)

// Sampling says how Sample draws.
type Sampling struct {
	// ElasticKernel draws kernels too; otherwise they stay at the largest, as CompOFA and
	// DepS train.
	ElasticKernel bool
	// Coupled draws one level a stage and takes depth, expansions and width from it
	// (CompOFA: depths 2, 3, 4 go with expansions 3, 4, 6).
	Coupled bool
	// Open limits draws to the largest choices, as progressive shrinking opens them one after
	// the other.
	Open Open
}

// Open says how many of the choices of each kind, the largest ones, are open; 0 means all.
type Open struct{ Depth, Expansion, Kernel, Width int }

// shut returns how many of n choices, the smallest, are not open.
func (o Open) shut(d dim, n int) int {
	open := [dims]int{depthDim: o.Depth, expandDim: o.Expansion, kernelDim: o.Kernel, widthDim: o.Width}[d]
	if open == 0 {
		return 0
	}
	return max(n-open, 0)
}

// Sample draws a subnet: every choice uniformly and by itself, unless how says otherwise.
// Subnets are not equally likely, since those of few blocks have fewer choices to share
// their part among (as in OFA and DepS).
func (s *Space) Sample(rng *rand.Rand, how Sampling) Arch {
	var a Arch
	stage, level, levels := -2, 0, 0
	for c := range s.choices(&a) {
		if how.Coupled && c.stage != stage {
			stage, levels = c.stage, s.levels(c.stage)
			level = rng.IntN(levels)
		}
		shut := how.Open.shut(c.dim, c.n)
		switch {
		case !c.live:
		case c.dim == kernelDim && !how.ElasticKernel:
			*c.index = uint8(c.n - 1)
		case c.dim == kernelDim || !how.Coupled:
			*c.index = uint8(shut + rng.IntN(c.n-shut))
		default:
			*c.index = max(atLevel(level, levels, c.n), uint8(shut))
		}
	}
	return a
}

// Conform returns the subnet nearest to a that Sample may draw in this way, whatever is Open: with the largest kernels unless
// they are elastic and, where choices are coupled, with the level that the longest list of choices has in a stage for all of
// them. What Sample draws stays as it is.
func (s *Space) Conform(a Arch, how Sampling) Arch {
	var level map[int]int // by stage
	if how.Coupled {
		level = map[int]int{}
		for c := range s.choices(&a) {
			if _, ok := level[c.stage]; !ok && c.dim != kernelDim && c.n == s.levels(c.stage) {
				level[c.stage] = int(*c.index)
			}
		}
	}
	for c := range s.choices(&a) {
		switch {
		case !c.live:
			*c.index = 0
		case c.dim == kernelDim && !how.ElasticKernel:
			*c.index = uint8(c.n - 1)
		case c.dim != kernelDim && how.Coupled:
			*c.index = atLevel(level[c.stage], s.levels(c.stage), c.n)
		}
	}
	return a
}

// levels returns how many levels coupled choices of a stage have: as many as the longest of
// its lists.
func (s *Space) levels(stage int) int {
	n := len(s.Widths)
	if stage < 0 {
		return max(n, len(stemDepths))
	}
	return max(n, len(s.Expansions), len(s.Stages[stage].Depths))
}

// atLevel spreads the indices of n choices over levels; both ends map to both ends, and in
// between the smaller choice is taken.
func atLevel(level, levels, n int) uint8 {
	if levels == 1 {
		return 0
	}
	return uint8(level * (n - 1) / (levels - 1))
}

// Uniform returns the subnets that have the same choices in every stage and block, at the
// largest kernel, by rising MACs: the (depth, expansion) pairs that OFA's and DepS' curves
// are drawn through, for every width. Where stages offer different numbers of depths, depth
// is a level (see Sampling).
func (s *Space) Uniform() []Arch {
	if s.Family == Fixed {
		return []Arch{{}}
	}
	depths := 0
	for m := range s.Stages {
		depths = max(depths, len(s.Stages[m].Depths))
	}
	type sized struct {
		arch Arch
		macs int
	}
	var all []sized
	for w := range s.Widths {
		for d := range depths {
			for e := range s.Expansions {
				a := s.same(d, depths, e, w)
				all = append(all, sized{a, s.lower(a).MACs()})
			}
		}
	}
	slices.SortStableFunc(all, func(x, y sized) int { return x.macs - y.macs })
	archs := make([]Arch, len(all))
	for i := range all {
		archs[i] = all[i].arch
	}
	return archs
}

// same returns the subnet with level d of depths, expansion e and width w everywhere.
func (s *Space) same(d, depths, e, w int) Arch {
	var a Arch
	for c := range s.choices(&a) {
		switch {
		case !c.live:
		case c.dim == depthDim:
			*c.index = atLevel(d, depths, c.n)
		case c.dim == expandDim:
			*c.index = uint8(e)
		case c.dim == widthDim:
			*c.index = uint8(w)
		default:
			*c.index = uint8(c.n - 1)
		}
	}
	return a
}

// Size returns how many subnets the space has.
func (s *Space) Size() *big.Int {
	perBlock := big.NewInt(int64(len(s.Expansions) * len(s.Kernels)))
	widths := big.NewInt(int64(len(s.Widths)))
	size := big.NewInt(1)
	if s.Family == Bottleneck {
		size.Mul(size, big.NewInt(int64(len(stemDepths)*len(s.Widths)*len(s.Widths))))
	}
	for m := range s.Stages {
		stage := new(big.Int)
		for _, d := range s.Stages[m].Depths {
			stage.Add(stage, new(big.Int).Exp(perBlock, big.NewInt(int64(d)), nil))
		}
		size.Mul(size, stage.Mul(stage, widths))
	}
	return size
}

// All yields every subnet once, the smallest first and the largest last. It is for spaces
// whose Size is small.
func (s *Space) All() iter.Seq[Arch] {
	return func(yield func(Arch) bool) {
		var a Arch
		for yield(a) && s.next(&a) {
		}
	}
}

// next steps to the following subnet like an odometer, its last choice fastest, and reports
// whether there was one.
func (s *Space) next(a *Arch) bool {
	var live []choice
	for c := range s.choices(a) {
		if c.live {
			live = append(live, c)
		}
	}
	for _, c := range slices.Backward(live) {
		if int(*c.index)+1 < c.n {
			*c.index++
			return true
		}
		*c.index = 0
	}
	return false
}
