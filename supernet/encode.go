package supernet

import "slices"

// EncodeLen returns the length of the encoding of an Arch: the sum, over every depth, width,
// expansion and kernel of which the space offers more than one, of how many it offers. It is
// 75 for ofa-mbv3: five stages of 3 depths and of 4 blocks with 3 expansions each.
func (s *Space) EncodeLen() int {
	var a Arch
	n := 0
	for c := range s.choices(&a) {
		if c.n > 1 {
			n += c.n
		}
	}
	return n
}

// Encode writes the one-hot encoding of a into the first EncodeLen values of dst, for
// predictors: stage by stage its depth and width, then the expansion and kernel of each of
// its blocks. Blocks that do not run are all zeros (as in OFA's predictor, which leaves
// depths to be seen from them). Architectures of one network have one encoding, that of their
// Canonical form.
func (s *Space) Encode(dst []float32, a Arch) {
	a = s.Canonical(a)
	at := 0
	for c := range s.choices(&a) {
		if c.n == 1 {
			continue
		}
		clear(dst[at : at+c.n])
		if c.live {
			dst[at+int(*c.index)] = 1
		}
		at += c.n
	}
}

// Canonical returns the architecture of the same network with the smallest choices: two
// widths, or two expansions of a block, may round to the same channels.
func (s *Space) Canonical(a Arch) Arch {
	for c := range s.choices(&a) {
		switch {
		case *c.index == 0 || !c.live:
		case c.dim == widthDim:
			*c.index = uint8(smallest(s.Widths, int(*c.index), widen, s.scaled(c.slot)...))
		case c.dim == expandDim:
			first := c.slot == s.block(c.stage, 0)
			*c.index = uint8(smallest(s.Expansions, int(*c.index), expand, s.expanded(a, c.stage, first)))
		}
	}
	return a
}

// smallest returns the first of the factors up to number i that gives all channels what that one gives them.
func smallest(factors []float64, i int, times func(channels int, factor float64) int, channels ...int) int {
	for k, f := range factors[:i] {
		if !slices.ContainsFunc(channels, func(n int) bool { return times(n, f) != times(n, factors[i]) }) {
			return k
		}
	}
	return i
}

// scaled returns the widths that a width slot multiplies.
func (s *Space) scaled(slot int) []int {
	m := slot - s.stemWidthSlots()
	if m < 0 {
		return []int{s.Stem.Width}
	}
	widths := []int{s.Stages[m].Width}
	if m == 0 && s.Family != Bottleneck {
		widths = append(widths, s.Stem.Width)
	}
	if s.Family == MBV3 {
		if m == 0 {
			widths = append(widths, s.Stem.Block)
		}
		if m == len(s.Stages)-1 {
			widths = append(widths, s.Head.Width, s.Head.Mix)
		}
	}
	return widths
}

// expanded returns the channels that expansions of a block of stage m multiply; first is whether it is the stage's first.
func (s *Space) expanded(a Arch, m int, first bool) int {
	switch {
	case s.Family != MBV3 || !first:
		return s.outputs(a, m)
	case m == 0:
		return s.channels(a, 0, s.Stem.Block)
	}
	return s.outputs(a, m-1)
}
