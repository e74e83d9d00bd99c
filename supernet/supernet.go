package supernet

import (
	"math"
	"math/rand/v2"

	"weft/nn"
)

// Supernet is a space with one set of weights at the maximum size.
type Supernet struct {
	Space *Space
	W     *nn.Weights
	// Mean and Std normalise pixel/255 per channel before the first layer.
	Mean, Std []float32
}

// New returns a supernet with freshly drawn weights.
func New(s *Space, mean, std []float32, rng *rand.Rand) *Supernet {
	w := nn.NewWeights(s.Layers())
	w.Init(rng)
	return &Supernet{Space: s, W: w, Mean: mean, Std: std}
}

// Stats are the statistics of one normalisation layer for one key: mean and biased
// variance per channel in use.
type Stats struct{ Mean, Var []float32 }

// Norms is SubnetNorm's table: what each normalisation layer has to use in each subnet.
// A layer's statistics depend only on what comes before it, so subnets with an equal
// prefix of their configuration share entries (nn.NormKey).
type Norms map[nn.NormKey]Stats

// Add measures the statistics of a subnet that the table lacks: it runs the graph with
// batch statistics over batches of normalised training images and averages each batch's
// mean and biased variance, as OFA does. It returns how many entries it added; none
// means that nothing was run.
func (t Norms) Add(e *nn.Exec, g *nn.Graph, batches [][]float32) int {
	keys := g.NormKeys()
	var missing []int
	for i, k := range keys {
		if _, ok := t[k]; k != 0 && !ok {
			missing = append(missing, i)
		}
	}
	if len(missing) == 0 {
		return 0
	}
	sums := make([][2][]float64, len(keys))
	total := 0
	for _, x := range batches {
		n := len(x) / g.Values[0].Size()
		e.Forward(g, x, n)
		total += n
		for _, i := range missing {
			mean, variance := e.Stats(i)
			for k, v := range [2][]float32{mean, variance} {
				if sums[i][k] == nil {
					sums[i][k] = make([]float64, len(v))
				}
				for c := range v {
					sums[i][k][c] += float64(n) * float64(v[c])
				}
			}
		}
	}
	if total == 0 {
		panic("supernet: no images to measure statistics on")
	}
	for _, i := range missing {
		t[keys[i]] = Stats{Mean: average(sums[i][0], total), Var: average(sums[i][1], total)}
	}
	return len(missing)
}

func average(sum []float64, n int) []float32 {
	out := make([]float32, len(sum))
	for c, v := range sum {
		out[c] = float32(v / float64(n))
	}
	return out
}

// Affine is a normalisation folded to y = x·Scale + Shift.
type Affine struct{ Scale, Shift []float32 }

// fold combines statistics with a layer's shared scale and shift:
// Scale = γ/√(σ²+ε), Shift = β − μ·Scale.
func (s *Supernet) fold(layer int, st Stats) Affine {
	gamma, beta := s.W.Of(s.W.Data, layer, nn.Gamma), s.W.Of(s.W.Data, layer, nn.Beta)
	c := len(st.Mean)
	a := Affine{Scale: make([]float32, c), Shift: make([]float32, c)}
	for i := range c {
		a.Scale[i] = gamma[i] / float32(math.Sqrt(float64(st.Var[i])+nn.Eps))
		a.Shift[i] = beta[i] - st.Mean[i]*a.Scale[i]
	}
	return a
}
