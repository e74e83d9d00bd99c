package search

import (
	"math"
	"testing"
	"time"
)

// Each limit by itself: kept where it is just met, and broken in parts of its bound.
func TestEachLimit(t *testing.T) {
	at := Result{MACs: 100, Params: 200, Memory: 400, Latency: 800, Accuracy: 0.5}
	for name, c := range map[string]struct {
		limit Limits
		to    func(r *Result, times float64)
	}{
		"MACs":    {Limits{MACs: 100}, func(r *Result, times float64) { r.MACs = int(100 * times) }},
		"Params":  {Limits{Params: 200}, func(r *Result, times float64) { r.Params = int(200 * times) }},
		"Memory":  {Limits{Memory: 400}, func(r *Result, times float64) { r.Memory = int(400 * times) }},
		"Latency": {Limits{Latency: 800}, func(r *Result, times float64) { r.Latency = time.Duration(800 * times) }},
		// An accuracy is short where a cost is beyond.
		"Accuracy": {Limits{Accuracy: 0.5}, func(r *Result, times float64) { r.Accuracy = 0.5 * (2 - times) }},
	} {
		t.Run(name, func(t *testing.T) {
			all := Limits{100, 200, 400, 800, 0.5}
			for times, want := range map[float64]float64{0.5: 0, 1: 0, 1.25: 0.25, 1.5: 0.5, 2: 1} {
				r := at
				c.to(&r, times)
				if got := c.limit.excess(&r); math.Abs(got-want) > 1e-12 {
					t.Errorf("at %v times the limit the excess is %v: want %v", times, got, want)
				}
				if kept := len(Within([]Result{at, r, at}, c.limit)) == 3; kept != (want == 0) {
					t.Errorf("at %v times the limit it is kept: %v", times, kept)
				}
				if got := all.excess(&r); math.Abs(got-want) > 1e-12 {
					t.Errorf("beside limits just met the excess is %v: want %v", got, want)
				}
				if got := (&Limits{}).excess(&r); got != 0 {
					t.Errorf("without limits the excess is %v", got)
				}
			}
		})
	}
	// Those that are broken add up.
	r := Result{MACs: 150, Params: 300, Memory: 600, Latency: 1200, Accuracy: 0.25}
	if got := (&Limits{100, 200, 400, 800, 0.5}).excess(&r); math.Abs(got-2.5) > 1e-12 {
		t.Errorf("five limits broken by half come to %v", got)
	}
}

func TestCosts(t *testing.T) {
	r := Result{MACs: 2, Params: 3, Memory: 5, Latency: 7 * time.Second, Accuracy: 11}
	want := map[string]float64{"macs": 2, "params": 3, "memory": 5, "latency": 7}
	for name, cost := range Costs {
		if got := cost(&r); got != want[name] {
			t.Errorf("%s of %+v is %v", name, r, got)
		}
	}
	if len(Costs) != len(want) || ByMACs(&r) != 2 {
		t.Errorf("%d costs: want %v", len(Costs), want)
	}
}
