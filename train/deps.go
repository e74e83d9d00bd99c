package train

import "weft/supernet"

// depsRecipe is DepS (Annavajjala et al., ECCV 2024): the largest subnet alone for about
// half of the run (FM-Warmup), then joint steps in which the smaller ones' effective rate
// climbs from 0 to the largest's (ε-Shrinking) while they learn from its probabilities
// (IKD-Warmup):
//
//	g = ∇CE(z_max, y) + Σ_s β(t)·∇CE(softmax z_max, z_s),   s: the smallest and random ones
//
// β is Schedule.Beta. Subnets are drawn uniformly throughout; ε is no probability.
var depsRecipe = recipe{
	name:  "deps",
	about: "the largest subnet alone first; the smaller ones then join with a rising learning rate and learn from the largest",
	uses:  "warmup ramp nets coupled sort aggregate temperature hard",
	defaults: func(c *Config) {
		c.Warmup, c.Ramp, c.Sort = 0.5, 0.05, true
	},
	build: func(c *Config, space *supernet.Space, steps int) (Recipe, error) {
		return deps{c, space, NewSchedule(c, steps)}, nil
	},
}

type deps struct {
	c     *Config
	space *supernet.Space
	Schedule
}

func (d deps) Phases() []Phase {
	return []Phase{{"alone", d.Ramp}, {"ramp", d.Joint}, {"joint", d.Total}}
}

func (d deps) Step(t int) Step {
	s := Step{Rate: d.Rate(t), Sort: d.c.Sort && t == d.Ramp, Tasks: []Task{onLabels(d.space.Max(), 1)}}
	if beta := d.Beta(t); beta > 0 {
		for _, a := range d.c.sandwich(d.space, t) {
			if d.c.Hard {
				s.Tasks = append(s.Tasks, onLabels(a, beta))
			} else {
				s.Tasks = append(s.Tasks, onSoft(a, beta))
			}
		}
	}
	return s
}
