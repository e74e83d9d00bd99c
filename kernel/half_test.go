package kernel

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestHalf: every tier widens to the same bits, near enough to what was rounded, whatever the magnitude.
func TestHalf(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, size := range []float64{1e-30, 1e-3, 1, 70000, 1e30} {
		for _, n := range []int{0, 1, 7, 8, 33, 200} {
			v := make([]float32, n)
			top := 0.0
			for i := range v {
				v[i] = float32(size * rng.NormFloat64() * math.Exp2(-20*rng.Float64()))
				top = max(top, math.Abs(float64(v[i])))
			}
			h := NewHalf(v)
			var first []float32
			for _, tier := range Tiers() {
				restore := UseTier(tier)
				got := make([]float32, n+1)
				got[n] = 42
				h.Widen(got)
				restore()
				if first == nil {
					first = got
				}
				for i := range v {
					if d := math.Abs(float64(got[i] - v[i])); d > math.Abs(float64(v[i]))/2048+top*0x1p-40 || got[i] != first[i] {
						t.Fatalf("%s: %v became %v, in plain Go or another tier %v", tier, v[i], got[i], first[i])
					}
				}
				if got[n] != 42 {
					t.Fatalf("%s: wrote past %d values", tier, n)
				}
			}
		}
	}
}
