package search

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"weft/safetensors"
	"weft/supernet"
)

// Predictor foretells the accuracy of any subnet of a space from that of a sample. It is a
// ridge regression on the one-hot encoding (supernet.Space.Encode) and on its pairs, of the
// log-odds of being right,
//
//	ln(p/(1−p)) = b + Σ_i w_i·x_i + Σ_ij W_ij·x_i·x_j,
//
// solved in its dual form, so that a thousand subnets take seconds whatever the space. How much
// pairs count, and the ridge, are those with the least error on subnets left out one at a
// time, for which there is a closed form. OFA's predictor, an MLP on the same encoding,
// comes without the code that trains it.
type Predictor struct {
	space  *supernet.Space
	fit    Fit
	bias   float64
	linear []float32 // [places]
	pairs  []float32 // [places][places]
	code   []float32 // scratch
	ones   []int
}

// Fit says how well a predictor does and what it was made from.
type Fit struct {
	Samples int     `json:"samples"`
	Data    string  `json:"data"`             // the set that accuracies were measured on
	Digest  string  `json:"digest,omitempty"` // of the weights
	Pairs   float64 `json:"pairs"`            // weight of pairs against single places
	Ridge   float64 `json:"ridge"`
	LeftOut float64 `json:"rmse_left_out"` // of accuracies, on subnets left out one at a time
	// RMSE and Tau judge the predictor on Held other subnets, measured like the sample: the
	// root of the mean squared error, and Kendall's τ.
	Held int     `json:"held_out,omitempty"`
	RMSE float64 `json:"rmse,omitempty"`
	Tau  float64 `json:"tau,omitempty"`
}

// minSamples is how many subnets a predictor is made from at least.
const minSamples = 20

// LeastSamples is how many TrainAndTest needs, a fifth of which are held out.
const LeastSamples = minSamples * 5 / 4

func logit(p float64) float64 {
	const end = 1e-4 // of 0 and 1, whose log-odds are infinite
	p = min(max(p, end), 1-end)
	return math.Log(p / (1 - p))
}

func expit(v float64) float64 { return 1 / (1 + math.Exp(-v)) }

// TrainPredictor makes a predictor from measured subnets, in time that grows with the cube of their number.
func TrainPredictor(ctx context.Context, space *supernet.Space, sample []Result) (*Predictor, error) {
	n, places := len(sample), space.EncodeLen()
	if n < minSamples {
		return nil, fmt.Errorf("%d measured subnets are too few to predict others from: measure at least %d", n, minSamples)
	}
	x := mat.NewDense(n, places, nil)
	y := mat.NewVecDense(n, nil)
	code := make([]float32, places)
	for i := range sample {
		space.Encode(code, sample[i].Arch)
		for j, v := range code {
			x.Set(i, j, float64(v))
		}
		y.SetVec(i, logit(sample[i].Accuracy))
	}
	p := &Predictor{space: space, code: code, fit: Fit{Samples: n, LeftOut: math.Inf(1)}}
	p.bias = stat.Mean(y.RawVector().Data, nil)
	for i := range n {
		y.SetVec(i, y.AtVec(i)-p.bias)
	}
	var gram mat.Dense
	gram.Mul(x, x.T())
	var dual *mat.VecDense
	for _, pairs := range []float64{0, 0.03, 0.3, 3} {
		k := mixed(&gram, pairs)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		alpha, ridge, rmse, err := p.solve(k, y, sample)
		if err != nil {
			return nil, err
		}
		if rmse < p.fit.LeftOut {
			dual, p.fit.Pairs, p.fit.Ridge, p.fit.LeftOut = alpha, pairs, ridge, rmse
		}
	}
	p.primal(x, dual, &gram)
	return p, nil
}

// mixed is the kernel of single places and pairs, each scaled to a mean diagonal of 1.
func mixed(gram *mat.Dense, pairs float64) *mat.SymDense {
	n, _ := gram.Dims()
	one, two := scales(gram)
	k := mat.NewSymDense(n, nil)
	for i := range n {
		for j := i; j < n; j++ {
			g := gram.At(i, j)
			k.SetSym(i, j, g/one+pairs*g*g/two)
		}
	}
	return k
}

// scales are the mean diagonals of the Gram matrix and of its elements' squares.
func scales(gram *mat.Dense) (one, two float64) {
	n, _ := gram.Dims()
	for i := range n {
		g := gram.At(i, i)
		one += g / float64(n)
		two += g * g / float64(n)
	}
	return max(one, 1e-12), max(two, 1e-12)
}

// solve finds the ridge with the least error of accuracies on subnets left out one at a time,
// (α_i / [(K+λ)⁻¹]_ii for the log-odds), and its dual solution α = (K+λ)⁻¹·y.
func (p *Predictor) solve(k *mat.SymDense, y *mat.VecDense, sample []Result) (best *mat.VecDense, ridge, rmse float64, err error) {
	var e mat.EigenSym
	if !e.Factorize(k, true) {
		return nil, 0, 0, errors.New("the regression of the predictor has no solution: measure other subnets")
	}
	n := y.Len()
	var u mat.Dense
	e.VectorsTo(&u)
	values := e.Values(nil)
	rotated := mat.NewVecDense(n, nil)
	rotated.MulVec(u.T(), y)
	rmse = math.Inf(1)
	for l := 1e-4; l < 20; l *= 2 {
		shrunk := mat.NewVecDense(n, nil)
		for i, v := range values {
			shrunk.SetVec(i, rotated.AtVec(i)/(max(v, 0)+l))
		}
		alpha := mat.NewVecDense(n, nil)
		alpha.MulVec(&u, shrunk)
		sum := 0.0
		for i := range n {
			inverse := 0.0
			for j, v := range values {
				inverse += u.At(i, j) * u.At(i, j) / (max(v, 0) + l)
			}
			foretold := expit(p.bias + y.AtVec(i) - alpha.AtVec(i)/inverse)
			sum += (foretold - sample[i].Accuracy) * (foretold - sample[i].Accuracy)
		}
		if r := math.Sqrt(sum / float64(n)); r < rmse {
			best, ridge, rmse = alpha, l, r
		}
	}
	return best, ridge, rmse, nil
}

// primal turns the dual solution into weights of places and of pairs of them.
func (p *Predictor) primal(x *mat.Dense, dual *mat.VecDense, gram *mat.Dense) {
	n, places := x.Dims()
	one, two := scales(gram)
	p.linear, p.pairs = make([]float32, places), make([]float32, places*places)
	var linear mat.VecDense
	linear.MulVec(x.T(), dual)
	weighted := mat.DenseCopyOf(x)
	for i := range n {
		for j := range places {
			weighted.Set(i, j, dual.AtVec(i)*x.At(i, j))
		}
	}
	var pairs mat.Dense
	pairs.Mul(x.T(), weighted)
	for i := range places {
		p.linear[i] = float32(linear.AtVec(i) / one)
		for j := range places {
			p.pairs[i*places+j] = float32(p.fit.Pairs * pairs.At(i, j) / two)
		}
	}
}

// Predict returns the accuracy that the subnet is foretold to have. It is not safe for
// concurrent use.
func (p *Predictor) Predict(a supernet.Arch) float64 {
	p.space.Encode(p.code, a)
	p.ones = p.ones[:0]
	for i, v := range p.code {
		if v != 0 {
			p.ones = append(p.ones, i)
		}
	}
	sum := p.bias
	for _, i := range p.ones {
		sum += float64(p.linear[i])
		row := p.pairs[i*len(p.code):][:len(p.code)]
		for _, j := range p.ones {
			sum += float64(row[j])
		}
	}
	return expit(sum)
}

// Test judges the predictor on subnets that it was not made from.
func (p *Predictor) Test(held []Result) {
	var foretold, measured []float64
	sum := 0.0
	for i := range held {
		v := p.Predict(held[i].Arch)
		foretold, measured = append(foretold, v), append(measured, held[i].Accuracy)
		sum += (v - held[i].Accuracy) * (v - held[i].Accuracy)
	}
	p.fit.Held = len(held)
	p.fit.RMSE, p.fit.Tau = math.Sqrt(sum/float64(max(len(held), 1))), KendallTau(foretold, measured)
}

// Fit returns how well the predictor does.
func (p *Predictor) Fit() Fit { return p.fit }

// From notes what the accuracies were measured on.
func (p *Predictor) From(data, digest string) { p.fit.Data, p.fit.Digest = data, digest }

// predictorMetadata is the key under which a file describes its predictor.
const predictorMetadata = "weft.predictor"

// description is that description.
type description struct {
	Space *supernet.Space `json:"space"`
	Bias  float64         `json:"bias"`
	Fit   Fit             `json:"fit"`
}

// Write writes the predictor to a file, whole or not at all.
func (p *Predictor) Write(path string) error {
	meta, err := json.Marshal(description{p.space, p.bias, p.fit})
	if err != nil {
		return err
	}
	n := len(p.linear)
	f := safetensors.File{
		Metadata: map[string]string{predictorMetadata: string(meta)},
		Tensors: []safetensors.Tensor{
			safetensors.NewF32("linear", []int{n}, p.linear),
			safetensors.NewF32("pairs", []int{n, n}, p.pairs),
		},
	}
	if err := f.WriteFile(path); err != nil {
		return fmt.Errorf("write the predictor: %w", err)
	}
	return nil
}

// ReadPredictor reads a file that Write wrote.
func ReadPredictor(path string) (*Predictor, error) {
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return nil, err
	}
	p, err := decodePredictor(f)
	if err != nil {
		return nil, fmt.Errorf("%s is not a predictor: %w", path, err)
	}
	return p, nil
}

func decodePredictor(f *safetensors.File) (*Predictor, error) {
	var d struct {
		Space json.RawMessage `json:"space"`
		Bias  float64         `json:"bias"`
		Fit   Fit             `json:"fit"`
	}
	if err := json.Unmarshal([]byte(f.Metadata[predictorMetadata]), &d); err != nil {
		return nil, fmt.Errorf("its metadata lack %s: %w", predictorMetadata, err)
	}
	space, err := supernet.Decode(d.Space)
	if err != nil {
		return nil, err
	}
	n := space.EncodeLen()
	p := &Predictor{space: space, bias: d.Bias, fit: d.Fit, code: make([]float32, n)}
	byName := f.ByName()
	for _, t := range []struct {
		name string
		to   *[]float32
		size int
	}{{"linear", &p.linear, n}, {"pairs", &p.pairs, n * n}} {
		tensor := byName[t.name]
		if tensor == nil {
			return nil, fmt.Errorf("tensor %s is missing", t.name)
		}
		if *t.to, err = tensor.F32(); err != nil {
			return nil, err
		}
		if len(*t.to) != t.size {
			return nil, fmt.Errorf("tensor %s has %d values instead of the %d of space %s", t.name, len(*t.to), t.size, space.Name)
		}
		if slices.ContainsFunc(*t.to, func(v float32) bool { return v-v != 0 }) {
			return nil, fmt.Errorf("tensor %s has a value that is not finite", t.name)
		}
	}
	return p, nil
}

// TrainAndTest makes a predictor from four fifths of the measured subnets, judges it on the rest,
// chosen by the seed, and returns the one made from all of them with that judgement.
func TrainAndTest(ctx context.Context, space *supernet.Space, sample []Result, seed uint64) (*Predictor, error) {
	all := slices.Clone(sample)
	rng := rand.New(rand.NewPCG(seed, 0x4e1d))
	rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	held := len(all) / 5
	if len(all)-held < minSamples {
		return nil, fmt.Errorf("%d measured subnets are too few to predict others from: measure at least %d", len(all), LeastSamples)
	}
	judged, err := TrainPredictor(ctx, space, all[held:])
	if err != nil {
		return nil, err
	}
	judged.Test(all[:held])
	p, err := TrainPredictor(ctx, space, all)
	if err != nil {
		return nil, err
	}
	p.fit.Held, p.fit.RMSE, p.fit.Tau = judged.fit.Held, judged.fit.RMSE, judged.fit.Tau
	return p, nil
}

// Fits reports why the predictor can not be used for the weights of that digest.
func (p *Predictor) Fits(space *supernet.Space, digest string) error {
	switch {
	case space.Name != p.space.Name || space.EncodeLen() != p.space.EncodeLen():
		return fmt.Errorf("the predictor is for space %s, not for %s: make one for this run", p.space.Name, space.Name)
	case digest != p.fit.Digest:
		return errors.New("the predictor was made for other weights: make one for this run")
	}
	return nil
}
