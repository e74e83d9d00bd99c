package optimum_test

import (
	"math/rand/v2"
	"testing"

	"weft/optimum"
	"weft/sched"
)

// TestPlan: what a beam search finds can be carried out and is no better than
// the optimum; where all have the same time, it is nearly as good.
func TestPlan(t *testing.T) {
	rounds := 1000
	if testing.Short() {
		rounds = 200
	}
	var found, best float64
	for seed := range rounds {
		plain := seed%2 == 0
		in := instance(t, rand.New(rand.NewPCG(uint64(seed), 5)), 12, plain)
		s, err := optimum.Plan(in, 16)
		if err != nil {
			t.Fatal(err)
		}
		if err := verify(in, s); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		exact, err := optimum.Exact(in, 0)
		if err != nil {
			t.Fatal(err)
		}
		if s.Value > exact.Value+1e-9 || exact.Value > s.Bound+1e-9 {
			t.Fatalf("seed %d: %v <= %v <= %v does not hold", seed, s.Value, exact.Value, s.Bound)
		}
		if plain {
			found, best = found+s.Value, best+exact.Value
		}
	}
	t.Logf("plan / optimum = %.4f", found/best)
	if found < 0.995*best {
		t.Errorf("plan / optimum = %.4f", found/best)
	}
}

// TestBoundIsTight closes in on the optimum of bursty traces from both sides.
func TestBoundIsTight(t *testing.T) {
	for _, variant := range []float64{500, 2950, 5550} {
		for _, cv2 := range []float64{2, 8} {
			in := optimum.Instance{Profile: six(t), Workers: 8, Requests: sched.OpenLoop(bursty(1500, variant, cv2, 1500, 1), slo)}
			s, err := optimum.Plan(in, 8)
			if err != nil {
				t.Fatal(err)
			}
			if err := verify(in, s); err != nil {
				t.Error(err)
			}
			t.Logf("1500+%v, CV² %v: the optimum is between %.2f and %.2f", variant, cv2, s.Value, s.Bound)
			if s.Value < 0.995*s.Bound {
				t.Errorf("1500+%v, CV² %v: plan %v, bound %v", variant, cv2, s.Value, s.Bound)
			}
		}
	}
}
