package train

import (
	"fmt"
	"math"

	"weft/supernet"
)

// ofaRecipe is progressive shrinking (Cai et al., ICLR 2020): the full network alone, then
// its kernels, depths, expansions and widths are opened one after the other, the largest
// choices first. Every subnet learns from the labels and from the frozen full network,
//
//	L = CE_smooth(y, z) + 1·CE(softmax z_teacher, z),
//
// which runs with batch statistics, as in the published code. Each phase has an optimiser
// and a rate of its own. Channels inside blocks are sorted where expansions or widths are
// opened, outputs of stages where widths are; those of subnets that are trained already stay
// in their places among themselves.
//
// Lengths and rates are in proportion to the published ones (180 epochs at 2.6 for the full
// network, then those below). Widths follow the rule of expansions: the paper's network has
// one width only.
var ofaRecipe = recipe{
	name:  "ofa",
	about: "the full network, then elastic kernels, depths, expansions and widths in phases; a frozen teacher",
	uses:  "warmup nets sort aggregate",
	defaults: func(c *Config) {
		c.Warmup, c.Sort = 0.3, true // 180 of 605 epochs
	},
	build: func(c *Config, space *supernet.Space, steps int) (Recipe, error) {
		return newShrinking(c, space, steps, ofaPhases(c, space))
	},
}

// compofaRecipe is CompOFA (Sahni et al., ICLR 2021): the full network, then subnets whose
// depth and expansion go together, at once and with the frozen teacher. Its two phases
// differ in the rate alone.
var compofaRecipe = recipe{
	name:  "compofa",
	about: "the full network, then subnets whose depth and expansion go together; a frozen teacher",
	uses:  "warmup nets sort aggregate",
	defaults: func(c *Config) {
		c.Warmup, c.Sort, c.Coupled = 0.55, true, true // 180 of 330 epochs
	},
	build: func(c *Config, space *supernet.Space, steps int) (Recipe, error) {
		first, last := brief("coupled 1", c.Nets), long("coupled 2", c.Nets, 0.24)
		first.sort = true
		return newShrinking(c, space, steps, []shrink{first, last})
	},
}

// shrink is a phase of progressive shrinking.
type shrink struct {
	name   string
	epochs float64 // of the published recipe
	rate   float64 // peak, of the published recipe
	warm   float64 // share of the phase in which the rate rises
	nets   int     // a step
	open   supernet.Open
	sort   bool // channels inside blocks
	widths bool // outputs of stages
	keep   []supernet.Arch

	begin int // step
	curve Curve
}

// brief is a phase that opens the second of several choices, long one that opens the last.
func brief(name string, nets int) shrink {
	return shrink{name: name, epochs: 25, rate: 0.08, nets: nets}
}

func long(name string, nets int, rate float64) shrink {
	return shrink{name: name, epochs: 125, rate: rate, warm: 5.0 / 125, nets: nets}
}

// ofaPhases returns the phases after the full network's for what the space offers.
func ofaPhases(c *Config, space *supernet.Space) []shrink {
	var phases []shrink
	open := supernet.Open{Depth: 1, Expansion: 1, Kernel: 1, Width: 1}
	add := func(s shrink) {
		s.open = open
		phases = append(phases, s)
	}
	if len(space.Kernels) > 1 {
		open.Kernel = 0
		add(long("kernel", 1, 0.96))
	}
	depths := 1
	for i := range space.Stages {
		depths = max(depths, len(space.Stages[i].Depths))
	}
	for _, d := range []struct {
		name    string
		choices int
		nets    int
		open    *int
	}{
		{"depth", depths, 2, &open.Depth},
		{"expansion", len(space.Expansions), c.Nets, &open.Expansion},
		{"width", len(space.Widths), c.Nets, &open.Width},
	} {
		for n := 2; n <= d.choices; n++ {
			*d.open = n
			s := brief(fmt.Sprintf("%s %d", d.name, n-1), d.nets)
			if n == d.choices {
				s = long(s.name, d.nets, 0.24)
			}
			switch d.name {
			case "expansion":
				s.sort, s.keep = true, trained(space, n-1, 1)
			case "width":
				s.sort, s.widths, s.keep = true, true, trained(space, len(space.Expansions), n-1)
			}
			add(s)
		}
	}
	return phases
}

// trained returns the subnets that are the largest but for their expansions, which are each
// of the largest few in turn, and likewise for their widths.
func trained(space *supernet.Space, expansions, widths int) []supernet.Arch {
	var archs []supernet.Arch
	for e := range expansions {
		for w := range widths {
			a := space.Max()
			for b := range a.Expand {
				a.Expand[b] = max(a.Expand[b], uint8(e)) - uint8(e)
			}
			for b := range a.Width {
				a.Width[b] = max(a.Width[b], uint8(w)) - uint8(w)
			}
			archs = append(archs, a)
		}
	}
	return archs
}

// newShrinking fits the phases into the steps that the full network leaves.
func newShrinking(c *Config, space *supernet.Space, steps int, phases []shrink) (Recipe, error) {
	total, sum := 0.0, 0.0
	for i := range phases {
		total += phases[i].epochs
	}
	full := int(math.Round(c.Warmup * float64(steps)))
	if len(phases) == 0 {
		full = steps
	}
	if full == 0 {
		return nil, fmt.Errorf("recipe %s has no teacher without a phase of the full network; choose a longer --warmup", c.Recipe)
	}
	s := shrinking{c: c, space: space, phases: phases, steps: steps}
	for i := range phases {
		p := &phases[i]
		p.begin = full + int(math.Round(sum/total*float64(steps-full)))
		sum += p.epochs
		end := full + int(math.Round(sum/total*float64(steps-full)))
		if end == p.begin {
			return nil, fmt.Errorf("%d steps are too few for the phases of recipe %s; train for more epochs, or with a shorter --warmup", steps, c.Recipe)
		}
		p.curve = Curve{
			Shape: c.Curve, Peak: c.LR * p.rate / 2.6, Total: end - p.begin, Floor: c.RateFloor,
			Warm: int(math.Round(p.warm * float64(end-p.begin))), Start: 1.0 / 32,
		}
	}
	s.full = NewCurve(c, full)
	return s, nil
}

type shrinking struct {
	c      *Config
	space  *supernet.Space
	full   Curve
	phases []shrink
	steps  int
}

func (s shrinking) Phases() []Phase {
	all := []Phase{{"full", s.full.Total}}
	for i := range s.phases {
		p := &s.phases[i]
		all = append(all, Phase{p.name, p.begin + p.curve.Total})
	}
	return all
}

func (s shrinking) Step(t int) Step {
	if t < s.full.Total {
		return Step{Rate: s.full.Rate(t), Tasks: []Task{onLabels(s.space.Max(), 1)}}
	}
	i := len(s.phases) - 1
	for t < s.phases[i].begin {
		i--
	}
	p := &s.phases[i]
	first := t == p.begin
	step := Step{Rate: p.curve.Rate(t - p.begin), Restart: first, Freeze: first && i == 0, Keep: p.keep}
	if first && s.c.Sort {
		step.Sort, step.SortWidths = p.sort, p.widths
	}
	rng := s.c.draws(t)
	how := s.c.Sampling()
	how.Open = p.open
	for range p.nets {
		step.Tasks = append(step.Tasks, Task{Arch: s.space.Sample(rng, how), Labels: 1, Soft: 1, Weight: 1})
	}
	return step
}
