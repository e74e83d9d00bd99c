package supernet

import "math/rand/v2"

// Mutate draws every choice of a anew with probability p, the new value uniformly. A block
// that begins to run gets choices of its own.
func (s *Space) Mutate(rng *rand.Rand, a Arch, p float64) Arch {
	return s.breed(func(_ int, old *uint8, n int) uint8 {
		if old == nil || rng.Float64() < p {
			return uint8(rng.IntN(n))
		}
		return *old
	}, a)
}

// Cross takes every choice from one of two parents, with equal chances. A block that runs in
// one of them only has its choices from there.
func (s *Space) Cross(rng *rand.Rand, a, b Arch) Arch {
	second := s.values(b)
	return s.breed(func(i int, old *uint8, n int) uint8 {
		other := second[i]
		switch {
		case old == nil && other == nil:
			return uint8(rng.IntN(n))
		case old == nil || other != nil && rng.IntN(2) == 1:
			return *other
		}
		return *old
	}, a)
}

// breed makes an Arch choice by choice; next gets the number of the choice, its value in the
// parent, nil for a block that does not run there, and how many values there are.
func (s *Space) breed(next func(i int, old *uint8, n int) uint8, parent Arch) Arch {
	first := s.values(parent)
	var child Arch
	i := 0
	for c := range s.choices(&child) {
		if c.live {
			*c.index = next(i, first[i], c.n)
		}
		i++
	}
	return child
}

// values returns the choices of a in the order of choices, nil for those of blocks that do
// not run.
func (s *Space) values(a Arch) []*uint8 {
	var values []*uint8
	for c := range s.choices(&a) {
		if c.live {
			v := *c.index
			values = append(values, &v)
		} else {
			values = append(values, nil)
		}
	}
	return values
}
