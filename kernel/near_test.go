package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// madeUpNear returns a base and a normalisation such as other subnets have: scales some times larger or smaller,
// shifts some units away. Every fifth channel is dead, with neither scale nor unit.
func madeUpNear(rng *rand.Rand, c int) (base *Base, scale, shift []float32) {
	v := make([][]float32, 5)
	for k := range v {
		v[k] = make([]float32, c)
	}
	for i := range c {
		unit := rng.NormFloat64()
		if i%5 == 4 {
			unit = 0
		}
		v[0][i], v[1][i], v[2][i] = float32(unit*math.Exp(rng.NormFloat64())), float32(rng.NormFloat64()), float32(unit)
		v[3][i] = v[0][i] * float32(math.Exp(rng.Float64()-0.5))
		v[4][i] = v[1][i] + float32(unit)*(2*rng.Float32()-1)
	}
	return NewBase(v[0], v[1], v[2]), v[3], v[4]
}

// TestNear: every tier widens to the same bits, as near to what was encoded as was said.
func TestNear(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []int{0, 1, 7, 8, 33, 200, 2048} {
		base, scale, shift := madeUpNear(rng, c)
		n, worst := NewNear(base, scale, shift)
		if worst > 1.0/200 || c > 8 && worst == 0 {
			t.Errorf("%d channels: an error of %v", c, worst)
		}
		var first []float32
		for _, tier := range Tiers() {
			restore := UseTier(tier)
			got := make([]float32, 2*c+1)
			got[2*c] = 42
			n.Widen(got)
			restore()
			if first == nil {
				first = got
			}
			for i := range c {
				ds := math.Abs(float64(got[i]-scale[i])) - (worst+1e-6)*math.Abs(float64(scale[i]))
				dh := math.Abs(float64(got[c+i]-shift[i])) - (worst+1e-6)*math.Abs(float64(base.values[2*c+i])) - 1e-6
				if ds > 0 || dh > 0 || got[i] != first[i] || got[c+i] != first[c+i] {
					t.Fatalf("%s: %v and %v became %v and %v, in another tier %v and %v", tier, scale[i], shift[i], got[i], got[c+i], first[i], first[c+i])
				}
			}
			if got[2*c] != 42 {
				t.Fatalf("%s: wrote past %d channels", tier, c)
			}
		}
	}
}

// TestNearCannot: what no code stands for has an infinite error.
func TestNearCannot(t *testing.T) {
	base := NewBase([]float32{1, 2}, []float32{0, 0}, []float32{1, 0})
	nan := float32(math.NaN())
	for _, v := range [][4]float32{{1, -2, 0, 0}, {nan, 2, 0, 0}, {1, 2, nan, 0}, {1, 2, 0, 1}, {0, 2, 0, 0}, {float32(math.Inf(1)), 2, 0, 0}} {
		if _, worst := NewNear(base, v[:2], v[2:]); !math.IsInf(worst, 1) {
			t.Errorf("%v has an error of %v", v, worst)
		}
	}
	n, worst := NewNear(base, []float32{1, 2}, []float32{0.5, 0})
	if got := make([]float32, 4); worst > 1e-6 {
		t.Error(worst)
	} else if n.Widen(got); got[0] != 1 || got[1] != 2 || got[2] != 0.5 || got[3] != 0 {
		t.Error(got)
	}
}

func BenchmarkWiden(b *testing.B) {
	base, scale, shift := madeUpNear(rand.New(rand.NewPCG(1, 2)), 1024)
	n, _ := NewNear(base, scale, shift)
	half := NewHalf(scale)
	dst := make([]float32, 2048)
	b.Run("near", func(b *testing.B) {
		for b.Loop() {
			n.Widen(dst)
		}
	})
	b.Run("half", func(b *testing.B) {
		for b.Loop() {
			half.Widen(dst)
			half.Widen(dst)
		}
	})
}
