package train

import (
	"math/rand/v2"

	"weft/supernet"
)

// attentiveRecipe is AttentiveNAS (Wang et al., CVPR 2021): the sandwich rule, but each
// random subnet is the best (BestUp, of three: the published configuration) or the worst
// (WorstUp) of a few candidates of about equal cost, judged by their loss on the batch.
// Costs fall into buckets; which bucket is drawn follows from how often random subnets fall
// into it. Gradients are clipped at 1, the rate rises for 5 of 360 epochs, and the last
// normalisation of each residual block starts at 0.
//
// The published code draws candidates by tables of how often each choice occurs in a bucket;
// here they are drawn uniformly. Both draw again, up to a hundred times, until one falls
// into the bucket, and take the last one anyway.
var attentiveRecipe = recipe{
	name:  "attentivenas",
	about: "like bignas, but each random subnet is the best or worst of a few candidates of equal cost",
	uses:  "nets coupled aggregate temperature worst candidates",
	defaults: func(c *Config) {
		c.ClipValue, c.RateWarm, c.Candidates, c.ZeroGamma = 1, 0.014, 3, true
	},
	build: func(c *Config, space *supernet.Space, steps int) (Recipe, error) {
		a := attentive{c: c, space: space, Curve: NewCurve(c, steps)}
		least, most := a.macs(space.Min()), a.macs(space.Max())
		a.bucket = max((most-least)/buckets, 1)
		return a, nil
	},
}

// buckets is how many parts the range of costs is cut into; the paper's are 25 M
// multiply-accumulates wide, about a fiftieth of its range.
const buckets = 50

type attentive struct {
	c     *Config
	space *supernet.Space
	Curve
	bucket int // width in multiply-accumulates
}

func (a attentive) Phases() []Phase { return []Phase{{"joint", a.Total}} }

func (a attentive) Step(t int) Step {
	s := Step{Rate: a.Rate(t), Tasks: []Task{onLabels(a.space.Max(), 1), onSoft(a.space.Min(), 1)}}
	rng := a.c.draws(t)
	for len(s.Tasks) < a.c.Nets {
		task := onSoft(supernet.Arch{}, 1)
		task.Choose, task.Worst = a.candidates(rng), a.c.Worst
		s.Tasks = append(s.Tasks, task)
	}
	return s
}

// candidates draws subnets from the bucket of a random one.
func (a attentive) candidates(rng *rand.Rand) []supernet.Arch {
	const tries = 100
	how := a.c.Sampling()
	bucket := a.macs(a.space.Sample(rng, how)) / a.bucket
	archs := make([]supernet.Arch, max(a.c.Candidates, 1))
	for i := range archs {
		for range tries {
			archs[i] = a.space.Sample(rng, how)
			if a.macs(archs[i])/a.bucket == bucket {
				break
			}
		}
	}
	return archs
}

// macs returns the cost of a subnet of the space.
func (a attentive) macs(arch supernet.Arch) int {
	g, err := a.space.Lower(arch)
	if err != nil {
		panic(err) // the space itself gave it
	}
	return g.MACs()
}
