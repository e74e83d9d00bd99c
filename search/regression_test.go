package search

import (
	"math"
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"weft/supernet"
)

// oracle is the predictor's regression at given weights of pairs and ridge, solved by elimination.
type oracle struct {
	codes        [][]float64
	accuracies   []float64
	one, two     float64 // what kernels of single places and of pairs are divided by
	bias         float64
	pairs, ridge float64
}

func newOracle(p *Problem, sample []Result, pairs, ridge float64) *oracle {
	o := &oracle{pairs: pairs, ridge: ridge}
	for _, r := range sample {
		code := encoded(p, r.Arch)
		o.codes, o.accuracies = append(o.codes, code), append(o.accuracies, r.Accuracy)
		g := floats.Dot(code, code)
		o.one += g / float64(len(sample))
		o.two += g * g / float64(len(sample))
		o.bias += math.Log(r.Accuracy/(1-r.Accuracy)) / float64(len(sample))
	}
	return o
}

func encoded(p *Problem, a supernet.Arch) []float64 {
	code := make([]float32, p.Space.EncodeLen())
	p.Space.Encode(code, a)
	wide := make([]float64, len(code))
	for i, v := range code {
		wide[i] = float64(v)
	}
	return wide
}

func (o *oracle) kernel(a, b []float64) float64 {
	g := floats.Dot(a, b)
	return g/o.one + o.pairs*g*g/o.two
}

// predict tells a subnet's accuracy from those of the sample but one.
func (o *oracle) predict(t *testing.T, code []float64, without int) float64 {
	t.Helper()
	var rest []int
	for i := range o.codes {
		if i != without {
			rest = append(rest, i)
		}
	}
	k, y := mat.NewDense(len(rest), len(rest), nil), mat.NewVecDense(len(rest), nil)
	for r, i := range rest {
		for c, j := range rest {
			k.Set(r, c, o.kernel(o.codes[i], o.codes[j]))
		}
		k.Set(r, r, k.At(r, r)+o.ridge)
		y.SetVec(r, math.Log(o.accuracies[i]/(1-o.accuracies[i]))-o.bias)
	}
	var alpha mat.VecDense
	if err := alpha.SolveVec(k, y); err != nil {
		t.Fatal(err)
	}
	sum := o.bias
	for r, i := range rest {
		sum += alpha.AtVec(r) * o.kernel(o.codes[i], code)
	}
	return expit(sum)
}

func (o *oracle) leftOut(t *testing.T) float64 {
	t.Helper()
	sum := 0.0
	for i, code := range o.codes {
		d := o.predict(t, code, i) - o.accuracies[i]
		sum += d * d
	}
	return math.Sqrt(sum / float64(len(o.codes)))
}

// The closed form for what is left out, against leaving out; and no other weight of pairs or ridge beside it does better.
func TestLeavingOut(t *testing.T) {
	p, _ := madeUp(t, 3)
	for seed := range uint64(4) {
		all := sample(t, p, 25, seed, 0.01)
		m, err := TrainPredictor(t.Context(), p.Space, all)
		if err != nil {
			t.Fatal(err)
		}
		fit := m.Fit()
		if want := newOracle(p, all, fit.Pairs, fit.Ridge).leftOut(t); !(math.Abs(fit.LeftOut/want-1) < 1e-6) {
			t.Errorf("%.8f by the closed form, %.8f by leaving out", fit.LeftOut, want)
		}
		for _, pairs := range []float64{0, 0.03, 0.3, 3} {
			for _, times := range []float64{0.5, 1, 2} {
				if r := fit.Ridge * times; r >= 1e-4 && r < 20 {
					if other := newOracle(p, all, pairs, r).leftOut(t); other < fit.LeftOut*(1-1e-6) {
						t.Errorf("pairs %v, ridge %v leave %.6f: the chosen %+v is worse", pairs, r, other, fit)
					}
				}
			}
		}
	}
}

// What the weights of places and pairs foretell of any subnet, against the regression that they stand for.
func TestPredictionsAreTheRegressions(t *testing.T) {
	p, _ := madeUp(t, 3)
	all := sample(t, p, 40, 3, 0.01)
	m, err := TrainPredictor(t.Context(), p.Space, all)
	if err != nil {
		t.Fatal(err)
	}
	fit := m.Fit()
	if fit.Pairs == 0 {
		t.Errorf("pairs do not count in %+v", fit)
	}
	o := newOracle(p, all, fit.Pairs, fit.Ridge)
	for _, r := range sample(t, p, 40, 4, 0) {
		if got, want := m.Predict(r.Arch), o.predict(t, encoded(p, r.Arch), -1); !(math.Abs(got-want) < 1e-5) {
			t.Fatalf("%s: %v by the weights, %v by the regression", p.Space.Format(r.Arch), got, want)
		}
	}
}

// Accuracies drawn at random can not be foretold: the judgement must say so, though it is easy to rank those that the
// predictor was made from. What is returned is made from all of them.
func TestJudgementIsOfOthers(t *testing.T) {
	p, _ := madeUp(t, 3)
	const n, splits = 50, 24
	rng := rand.New(rand.NewPCG(7, 7))
	tau, known := 0.0, 0.0
	for seed := range uint64(splits) {
		all := sample(t, p, n, seed, 0)
		for i := range all {
			all[i].Accuracy = 0.2 + 0.6*rng.Float64()
		}
		m, err := TrainAndTest(t.Context(), p.Space, all, seed)
		if err != nil {
			t.Fatal(err)
		}
		fit := m.Fit()
		if fit.Samples != n || fit.Held != n/5 {
			t.Fatalf("%+v: want %d samples, a fifth of them held out", fit, n)
		}
		tau += fit.Tau / splits
		m.Test(all)
		known += m.Fit().Tau / splits
		whole, err := TrainPredictor(t.Context(), p.Space, all)
		if err != nil {
			t.Fatal(err)
		}
		if a, b := m.Predict(all[0].Arch), whole.Predict(all[0].Arch); math.Abs(a-b) > 1e-4 {
			t.Fatalf("foretells %v, made from all %v", a, b)
		}
	}
	if math.Abs(tau) > 0.15 || known < 0.3 {
		t.Errorf("mean τ of random accuracies is %.3f on subnets held out, %.3f on known ones", tau, known)
	}
}
