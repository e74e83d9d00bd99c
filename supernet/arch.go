package supernet

import (
	"fmt"
	"iter"
	"slices"
)

// Arch is one point of a Space: the index of each choice in the list that the Space offers,
// so that the zero Arch is the smallest. Entries that do not matter (of blocks beyond their
// stage's depth, of stages that the Space lacks) are zero; equal subnets are equal values,
// unless two choices of the Space round to the same number of channels.
type Arch struct {
	Depth  [MaxSlots]uint8  // per stage; in Bottleneck entry 0 is the stem's
	Width  [MaxSlots]uint8  // per stage; in Bottleneck entries 0 and 1 are the stem's
	Expand [MaxBlocks]uint8 // per block, counted through all stages at their largest depth
	Kernel [MaxBlocks]uint8
}

// Max returns the largest subnet.
func (s *Space) Max() Arch {
	var a Arch
	for c := range s.choices(&a) {
		*c.index = uint8(c.n - 1)
	}
	return a
}

// Min returns the smallest subnet.
func (s *Space) Min() Arch { return Arch{} }

// Contains reports whether a is one of the space's subnets, in canonical form.
func (s *Space) Contains(a Arch) bool { return s.check(a) == nil }

// check explains why a is not a subnet of the space.
func (s *Space) check(a Arch) error {
	set := 0
	for c := range s.choices(&a) {
		switch v := int(*c.index); {
		case v >= c.n:
			return fmt.Errorf("architecture is not in space %q: choice %d of %s in stage %d, which offers %d", s.Name, v, c.dim, c.stage+1, c.n)
		case v > 0 && !c.live:
			return fmt.Errorf("architecture is not in space %q: it sets the %s of a block that stage %d skips", s.Name, c.dim, c.stage+1)
		case v > 0:
			set++
		}
	}
	for _, v := range slices.Concat(a.Depth[:], a.Width[:], a.Expand[:], a.Kernel[:]) {
		if v > 0 {
			set--
		}
	}
	if set != 0 {
		return fmt.Errorf("architecture is not in space %q: it sets more stages or blocks than the space has", s.Name)
	}
	return nil
}

// dim is one of the things that vary.
type dim uint8

const (
	depthDim dim = iota
	expandDim
	kernelDim
	widthDim
	dims
)

func (d dim) String() string {
	return [...]string{"depth", "expansion", "kernel", "width"}[d]
}

// choice is one entry of an Arch with the number of values that it may take.
type choice struct {
	dim   dim
	stage int // -1 is the stem
	slot  int // entry of Depth or Width, or of Expand or Kernel
	n     int
	index *uint8
	live  bool // false if it belongs to a block that does not run
}

// choices yields every choice of the space, stage by stage, as places in a. Those of a
// stage's blocks follow its depth, and a may be changed on the way: whether a block runs is
// read when it is reached.
func (s *Space) choices(a *Arch) iter.Seq[choice] {
	return func(yield func(choice) bool) {
		depth := func(stage, slot int) bool {
			return yield(choice{depthDim, stage, slot, len(s.depths(slot)), &a.Depth[slot], true})
		}
		width := func(stage, slot int) bool {
			return yield(choice{widthDim, stage, slot, len(s.Widths), &a.Width[slot], true})
		}
		if s.Family == Bottleneck && !(depth(-1, 0) && width(-1, 0) && width(-1, 1)) {
			return
		}
		for m := range s.Stages {
			if !depth(m, s.stemDepthSlots()+m) || !width(m, s.stemWidthSlots()+m) {
				return
			}
			runs := s.depth(*a, m)
			for i := range s.maxDepth(m) {
				b := s.block(m, i)
				if !yield(choice{expandDim, m, b, len(s.Expansions), &a.Expand[b], i < runs}) ||
					!yield(choice{kernelDim, m, b, len(s.Kernels), &a.Kernel[b], i < runs}) {
					return
				}
			}
		}
	}
}

// stemDepths are the choices of Bottleneck's stem: its middle convolution runs or not.
var stemDepths = []int{0, 1}

// stemDepthSlots and stemWidthSlots count the leading entries of Depth and Width that
// belong to the stem.
func (s *Space) stemDepthSlots() int {
	if s.Family == Bottleneck {
		return 1
	}
	return 0
}

func (s *Space) stemWidthSlots() int {
	if s.Family == Bottleneck {
		return 2
	}
	return 0
}

// depths returns the choices of a depth slot.
func (s *Space) depths(slot int) []int {
	slot -= s.stemDepthSlots()
	if slot < 0 {
		return stemDepths
	}
	return s.Stages[slot].Depths
}

// depth returns how many blocks stage m of a runs.
func (s *Space) depth(a Arch, m int) int {
	return s.Stages[m].Depths[a.Depth[s.stemDepthSlots()+m]]
}

func (s *Space) maxDepth(m int) int {
	d := s.Stages[m].Depths
	return d[len(d)-1]
}

// block returns the entry of Expand and Kernel of block i of stage m.
func (s *Space) block(m, i int) int {
	for j := range m {
		i += s.maxDepth(j)
	}
	return i
}

// channels scales a width by the multiplier that a chose in a width slot.
func (s *Space) channels(a Arch, slot, width int) int {
	return widen(width, s.Widths[a.Width[slot]])
}

// widen multiplies channels by a width multiplier.
func widen(channels int, width float64) int { return MakeDivisible(float64(channels) * width) }

// outputs returns the output channels of stage m of a.
func (s *Space) outputs(a Arch, m int) int {
	return s.channels(a, s.stemWidthSlots()+m, s.Stages[m].Width)
}
