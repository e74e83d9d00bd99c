package supernet

import (
	"math"
	"math/rand/v2"
	"testing"
)

var varied = []string{"resnet-28", "mbv3-28-k35", "ofa-resnet50d"}

// Children lie in the space, and keep or take what they should.
func TestMutateAndCross(t *testing.T) {
	for _, name := range varied {
		s := find(t, name, 10, 3)
		rng := rand.New(rand.NewPCG(1, 2))
		for range 300 {
			a, b := s.Sample(rng, Sampling{ElasticKernel: true}), s.Sample(rng, Sampling{ElasticKernel: true})
			if got := s.Mutate(rng, a, 0); got != a {
				t.Fatalf("%s: mutated with probability 0, %s became %s", name, s.Format(a), s.Format(got))
			}
			if got := s.Cross(rng, a, a); got != a {
				t.Fatalf("%s: crossed with itself, %s became %s", name, s.Format(a), s.Format(got))
			}
			for _, child := range []Arch{s.Mutate(rng, a, 0.3), s.Mutate(rng, a, 1), s.Cross(rng, a, b)} {
				if err := s.check(child); err != nil {
					t.Fatal(err)
				}
			}
			child := s.Cross(rng, a, b)
			va, vb := s.values(a), s.values(b)
			for i, v := range s.values(child) {
				ofA, ofB := va[i] != nil && v != nil && *va[i] == *v, vb[i] != nil && v != nil && *vb[i] == *v
				if v != nil && !ofA && !ofB {
					t.Fatalf("%s: choice %d of %s is neither that of %s nor of %s", name, i, s.Format(child), s.Format(a), s.Format(b))
				}
			}
		}
	}
}

// Of choices with several values, Mutate changes p·(n−1)/n.
func TestMutationRate(t *testing.T) {
	s := find(t, "resnet-28", 10, 1)
	rng := rand.New(rand.NewPCG(3, 4))
	const p = 0.2
	changed, expected := 0.0, 0.0
	for range 5000 {
		a := s.Max()
		child := s.Mutate(rng, a, p)
		i := 0
		now := s.values(child)
		for c := range s.choices(&a) {
			if now[i] != nil {
				expected += p * float64(c.n-1) / float64(c.n)
				if *now[i] != *c.index {
					changed++
				}
			}
			i++
		}
	}
	if off := math.Abs(changed/expected - 1); off > 0.03 {
		t.Errorf("%g choices changed: want %g", changed, expected)
	}
}
