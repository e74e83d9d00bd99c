package supernet

import "fmt"

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
	return s.fill(func(n int) int { return n - 1 }, func(n int) int { return n - 1 }, func(n int) int { return n - 1 })
}

// Min returns the smallest subnet.
func (s *Space) Min() Arch { return Arch{} }

// Contains reports whether a is one of the space's subnets, in canonical form.
func (s *Space) Contains(a Arch) bool {
	for i, v := range a.Depth {
		if !within(v, i < s.depthSlots(), func() int { return len(s.depths(i)) }) {
			return false
		}
	}
	for i, v := range a.Width {
		if !within(v, i < s.widthSlots(), func() int { return len(s.Widths) }) {
			return false
		}
	}
	return a == s.canonical(a) && s.blocksContain(a)
}

func within(v uint8, used bool, choices func() int) bool {
	return v == 0 || used && int(v) < choices()
}

func (s *Space) blocksContain(a Arch) bool {
	for b := range MaxBlocks {
		if int(a.Expand[b]) >= len(s.Expansions) || int(a.Kernel[b]) >= len(s.Kernels) {
			return false
		}
	}
	return true
}

// canonical returns a with the choices of blocks that do not run set to zero. The depths of
// a are choices of the space.
func (s *Space) canonical(a Arch) Arch {
	runs := [MaxBlocks]bool{}
	for m := range s.Stages {
		for i := range s.depth(a, m) {
			runs[s.block(m, i)] = true
		}
	}
	for b, run := range runs {
		if !run {
			a.Expand[b], a.Kernel[b] = 0, 0
		}
	}
	return a
}

// fill returns the Arch with the same choices everywhere: depth, expand and width map the
// number of choices to an index. The kernel is the largest.
func (s *Space) fill(depth, expand, width func(n int) int) Arch {
	var a Arch
	for i := range s.depthSlots() {
		a.Depth[i] = uint8(depth(len(s.depths(i))))
	}
	for i := range s.widthSlots() {
		a.Width[i] = uint8(width(len(s.Widths)))
	}
	for b := range MaxBlocks {
		a.Expand[b] = uint8(expand(len(s.Expansions)))
		a.Kernel[b] = uint8(len(s.Kernels) - 1)
	}
	return s.canonical(a)
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

func (s *Space) depthSlots() int { return s.stemDepthSlots() + len(s.Stages) }
func (s *Space) widthSlots() int { return s.stemWidthSlots() + len(s.Stages) }

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
	return MakeDivisible(float64(width) * s.Widths[a.Width[slot]])
}

// outputs returns the output channels of stage m of a.
func (s *Space) outputs(a Arch, m int) int {
	return s.channels(a, s.stemWidthSlots()+m, s.Stages[m].Width)
}

// notIn explains why a is not a subnet of the space.
func (s *Space) notIn(a Arch) error {
	return fmt.Errorf("architecture %v is not in space %q", a, s.Name)
}
