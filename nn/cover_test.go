package nn

import "testing"

// TestCover: what a graph covers is where its gradient is not zero.
func TestCover(t *testing.T) {
	const n = 8
	e, g, x, labels := setup(t, small(), 2, n)
	z := e.Forward(g, x, n)
	dz := make([]float32, len(z))
	labelLoss(dz, z, labels, g.Pitch(), 0)
	e.ZeroGrad()
	e.Backward(dz)
	cover := make([]float32, len(e.W.Data))
	e.W.Cover(cover, g, 0.5)
	e.W.Cover(cover, g, 0.25)
	covered, zero := 0, 0
	for i, v := range e.Grad {
		if cover[i] != 0 && cover[i] != 0.75 {
			t.Fatalf("weight %d is covered by %v", i, cover[i])
		}
		if v != 0 && cover[i] == 0 {
			t.Fatalf("weight %d has gradient %v and is not covered", i, v)
		}
		if cover[i] != 0 {
			covered++
			if v == 0 {
				zero++
			}
		}
	}
	if covered < g.Params()*9/10 || zero > covered/10 {
		t.Errorf("%d weights are covered, %d of them without gradient; the graph has %d", covered, zero, g.Params())
	}
}
