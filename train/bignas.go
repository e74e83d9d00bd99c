package train

import (
	"weft/nn"
	"weft/supernet"
)

// bignasRecipe is BigNAS (Yu et al., ECCV 2020): every step trains the largest subnet on the
// labels and the smallest and random ones on its probabilities (sandwich rule, in-place
// distillation). The last normalisation of each residual block starts at 0 and the rate
// falls exponentially to 5 % of its peak. Its weight decay, which is to act on the largest
// subnet alone, needs nothing: one update decays the shared weights once. There is no
// dropout here.
var bignasRecipe = recipe{
	name:  "bignas",
	about: "every step trains the largest, the smallest and random subnets; the smaller ones learn from the largest",
	uses:  "nets coupled aggregate temperature",
	defaults: func(c *Config) {
		c.Curve, c.RateFloor, c.ZeroGamma = "exponential", 0.05, true
	},
	build: func(c *Config, space *supernet.Space, steps int) (Recipe, error) {
		return joint{c, space, NewCurve(c, steps), onSoft}, nil
	},
}

// naiveRecipe trains the same subnets as BigNAS, all on the labels: joint training without
// any of the tricks, to compare with.
var naiveRecipe = recipe{
	name:  "naive",
	about: "every step trains the largest, the smallest and random subnets on the labels",
	uses:  "nets coupled aggregate",
	build: func(c *Config, space *supernet.Space, steps int) (Recipe, error) {
		return joint{c, space, NewCurve(c, steps), onLabels}, nil
	},
}

// alphanetRecipe is AlphaNet (Wang et al., ICML 2021): the sandwich rule with an adaptive
// α-divergence from the largest subnet's probabilities, orders −1 and 1 with ratios clipped
// at 5, gradients clipped at 1, the last normalisation of each residual block 0 to begin with,
// and a rate that rises for 5 of 360 epochs to 0.1 for 256 images: at the rates of the other
// recipes all subnets agree on guessing.
var alphanetRecipe = recipe{
	name:  "alphanet",
	about: "like bignas, but the smaller ones follow the largest by the α-divergence",
	uses:  "nets coupled aggregate",
	defaults: func(c *Config) {
		c.LR, c.ClipValue, c.RateWarm, c.ZeroGamma = 0.05, 1, 0.014, true
	},
	build: func(c *Config, space *supernet.Space, steps int) (Recipe, error) {
		follow := func(a supernet.Arch, weight float64) Task {
			return Task{Arch: a, Soft: 1, Weight: weight, Alpha: &nn.Alpha{Min: -1, Max: 1, Clip: 5}}
		}
		return joint{c, space, NewCurve(c, steps), follow}, nil
	},
}

// joint is the sandwich rule from the first step on.
type joint struct {
	c     *Config
	space *supernet.Space
	Curve
	learn func(a supernet.Arch, weight float64) Task // of the subnets beside the largest
}

func (j joint) Phases() []Phase { return []Phase{{"joint", j.Total}} }

func (j joint) Step(t int) Step {
	s := Step{Rate: j.Rate(t), Tasks: []Task{onLabels(j.space.Max(), 1)}}
	for _, a := range j.c.sandwich(j.space, t) {
		s.Tasks = append(s.Tasks, j.learn(a, 1))
	}
	return s
}
