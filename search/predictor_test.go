package search

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weft/safetensors"
	"weft/supernet"
)

// sample judges random subnets of the made-up problem, with noise as of so many validation images.
func sample(t *testing.T, p *Problem, n int, seed uint64, noise float64) []Result {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	var results []Result
	for range n {
		a := p.Space.Sample(rng, supernet.Sampling{})
		g, err := p.Space.Lower(a)
		if err != nil {
			t.Fatal(err)
		}
		r := Result{Arch: a, MACs: g.MACs(), Params: g.Params()}
		if err := p.Judge(&r, g); err != nil {
			t.Fatal(err)
		}
		r.Accuracy += noise * rng.NormFloat64()
		results = append(results, r)
	}
	return results
}

func predictor(t *testing.T, p *Problem, n int, noise float64) *Predictor {
	t.Helper()
	m, err := TrainPredictor(t.Context(), p.Space, sample(t, p, n, 1, noise))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The predictor can express what the made-up accuracies depend on; what it says of subnets left
// out must agree with what others show.
func TestPredictorLearns(t *testing.T) {
	p, _ := madeUp(t, 3)
	m := predictor(t, p, 300, 0.004)
	m.Test(sample(t, p, 200, 2, 0))
	fit := m.Fit()
	if fit.Tau < 0.93 || fit.RMSE > 0.012 || fit.Held != 200 || fit.Pairs == 0 {
		t.Errorf("%+v", fit)
	}
	// Of the measured subnets that were left out, the noise of measuring comes on top.
	if want := math.Hypot(fit.RMSE, 0.004); fit.LeftOut < 0.8*want || fit.LeftOut > 1.3*want {
		t.Errorf("%.5f on subnets left out: want about %.5f", fit.LeftOut, want)
	}
}

func TestPredictorFile(t *testing.T) {
	p, _ := madeUp(t, 3)
	m := predictor(t, p, 60, 0)
	m.From("made-up", "abc")
	path := filepath.Join(t.TempDir(), "p.safetensors")
	if err := m.Write(path); err != nil {
		t.Fatal(err)
	}
	back, err := ReadPredictor(path)
	if err != nil {
		t.Fatal(err)
	}
	if back.Fit() != m.Fit() {
		t.Errorf("%+v became %+v", m.Fit(), back.Fit())
	}
	for _, r := range sample(t, p, 20, 4, 0) {
		if a, b := m.Predict(r.Arch), back.Predict(r.Arch); a != b {
			t.Fatalf("predicts %v, read back %v", a, b)
		}
	}
	if err := (&safetensors.File{}).WriteFile(path); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPredictor(path); err == nil || !strings.Contains(err.Error(), "is not a predictor") {
		t.Errorf("a file of something else: %v", err)
	}
}

func TestTooFewSamples(t *testing.T) {
	p, _ := madeUp(t, 3)
	if _, err := TrainPredictor(t.Context(), p.Space, sample(t, p, 19, 1, 0)); err == nil || !strings.Contains(err.Error(), "at least 20") {
		t.Errorf("%v", err)
	}
}

func FuzzReadPredictor(f *testing.F) {
	path := filepath.Join(f.TempDir(), "p")
	s, err := supernet.Find("resnet-28s", 10, 1)
	if err != nil {
		f.Fatal(err)
	}
	var all []Result
	rng := rand.New(rand.NewPCG(1, 1))
	for range 30 {
		all = append(all, Result{Arch: s.Sample(rng, supernet.Sampling{}), Accuracy: rng.Float64()})
	}
	m, err := TrainPredictor(f.Context(), s, all)
	if err != nil {
		f.Fatal(err)
	}
	if err := m.Write(path); err != nil {
		f.Fatal(err)
	}
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := safetensors.Decode(b)
		if err != nil {
			return
		}
		if m, err := decodePredictor(file); err == nil {
			m.Predict(m.space.Max())
		}
	})
}
