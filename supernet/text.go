package supernet

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Format writes a, a subnet of the space, as short text that Parse reads back and that may be part of a file name,
// such as
//
//	d2-1-2_e25.100-50-100_w50-100-100
//
// Its parts are d (blocks of each stage), e (expansion of each block that runs), k (kernel
// of each block that runs) and w (width of each stage); a part that the space does not vary
// is left out, except d. Stages are joined by "-" and the blocks of a stage by "."; blocks
// that are all equal, and then stages that are all equal, are written once. Expansions and
// widths are percentages unless the space has whole ones only. In family Bottleneck d
// begins with the stem's (0 or 1) and w with two of the stem's.
func (s *Space) Format(a Arch) string {
	if s.Family == Fixed {
		return fixedArch
	}
	var parts []string
	for d := range dims {
		if d != depthDim && !s.varies(d) {
			continue
		}
		labels := s.labels(d)
		var stages []string
		for _, group := range s.groups(&a, d) {
			var blocks []string
			for _, c := range group {
				blocks = append(blocks, labels(c)[*c.index])
			}
			stages = append(stages, strings.Join(once(blocks), "."))
		}
		parts = append(parts, letters[d:d+1]+strings.Join(once(stages), "-"))
	}
	return strings.Join(parts, "_")
}

// Parse reads what Format writes. Every stage and block may be spelled out where Format
// would write equal ones once, and a part that the space does not vary may be given.
func (s *Space) Parse(text string) (Arch, error) {
	var a Arch
	if s.Family == Fixed {
		if text != fixedArch {
			return a, fmt.Errorf("architecture %q: space %s holds one network, called %s", text, s.Name, fixedArch)
		}
		return a, nil
	}
	rest := strings.Split(text, "_")
	for d := range dims {
		switch {
		case len(rest) > 0 && strings.HasPrefix(rest[0], letters[d:d+1]):
			if err := s.assign(&a, d, rest[0][1:]); err != nil {
				return Arch{}, fmt.Errorf("architecture %q: %w", text, err)
			}
			rest = rest[1:]
		case d == depthDim || s.varies(d):
			return Arch{}, fmt.Errorf("architecture %q: lacks %s (%c...); the largest of space %s is %s",
				text, d, letters[d], s.Name, s.Format(s.Max()))
		}
	}
	if len(rest) > 0 {
		return Arch{}, fmt.Errorf("architecture %q: part %q is none of d, e, k and w in this order", text, rest[0])
	}
	return a, nil
}

const letters = "dekw" // by dim

// assign sets the choices of one dimension from the text after its letter.
func (s *Space) assign(a *Arch, d dim, text string) error {
	groups, labels := s.groups(a, d), s.labels(d)
	stages := strings.Split(text, "-")
	if len(stages) != 1 && len(stages) != len(groups) {
		return fmt.Errorf("%s of %d stages: must be of 1 (for all) or %d, joined by \"-\"", d, len(stages), len(groups))
	}
	for i, group := range groups {
		blocks := strings.Split(stages[min(i, len(stages)-1)], ".")
		if len(blocks) != 1 && len(blocks) != len(group) {
			return fmt.Errorf("%s of %d blocks in stage %d: must be of 1 (for all) or %d, joined by \".\"",
				d, len(blocks), group[0].stage+1, len(group))
		}
		for j, c := range group {
			block := blocks[min(j, len(blocks)-1)]
			k := slices.Index(labels(c), block)
			if k < 0 {
				return fmt.Errorf("%s %q in stage %d: must be one of %s",
					d, block, c.stage+1, strings.Join(labels(c), ", "))
			}
			*c.index = uint8(k)
		}
	}
	return nil
}

// groups returns the choices of one dimension that matter: a group for each depth or width,
// and a group of blocks for each stage.
func (s *Space) groups(a *Arch, d dim) [][]choice {
	var groups [][]choice
	for c := range s.choices(a) {
		if c.dim != d || !c.live {
			continue
		}
		perBlock := d == expandDim || d == kernelDim
		if n := len(groups); perBlock && n > 0 && groups[n-1][0].stage == c.stage {
			groups[n-1] = append(groups[n-1], c)
		} else {
			groups = append(groups, []choice{c})
		}
	}
	return groups
}

// varies reports whether there is anything to choose in a dimension.
func (s *Space) varies(d dim) bool {
	var a Arch
	for c := range s.choices(&a) {
		if c.dim == d && c.n > 1 {
			return true
		}
	}
	return false
}

// labels returns a function from choices of dimension d to the texts of their values.
func (s *Space) labels(d dim) func(choice) []string {
	var same []string
	switch d {
	case depthDim:
		return func(c choice) []string { return integers(s.depths(c.slot)) }
	case expandDim:
		same = ratios(s.Expansions)
	case kernelDim:
		same = integers(s.Kernels)
	case widthDim:
		same = ratios(s.Widths)
	}
	return func(choice) []string { return same }
}

func integers(v []int) []string {
	t := make([]string, len(v))
	for i, n := range v {
		t[i] = strconv.Itoa(n)
	}
	return t
}

// ratios writes whole numbers as they are, and as percentages if one is not whole.
func ratios(v []float64) []string {
	scale := 1.0
	for _, x := range v {
		if x != math.Trunc(x) {
			scale = 100
		}
	}
	n := make([]int, len(v))
	for i, x := range v {
		n[i] = int(math.Round(x * scale))
	}
	return integers(n)
}

// once returns the first of equal texts, or all of them if they differ.
func once(t []string) []string {
	for _, x := range t {
		if x != t[0] {
			return t
		}
	}
	return t[:1]
}
