package train

import "weft/supernet"

// singleRecipe trains one subnet alone on the labels, the reference for what the supernet
// makes of it.
var singleRecipe = recipe{
	name:  "single",
	about: "one subnet alone, the largest unless another is named, as the reference",
	uses:  "subnet",
	build: func(c *Config, space *supernet.Space, steps int) (Recipe, error) {
		a, err := c.Trained(space)
		return single{a, NewCurve(c, steps)}, err
	},
}

// Alone reports whether one subnet is trained, and the others are not.
func (c *Config) Alone() bool { return c.Recipe == singleRecipe.name }

// Trained returns the subnet that is trained alone.
func (c *Config) Trained(space *supernet.Space) (supernet.Arch, error) {
	switch c.Subnet {
	case "", "max":
		return space.Max(), nil
	case "min":
		return space.Min(), nil
	}
	return space.Parse(c.Subnet)
}

type single struct {
	arch supernet.Arch
	Curve
}

func (s single) Phases() []Phase { return []Phase{{"alone", s.Total}} }

func (s single) Step(t int) Step {
	return Step{Rate: s.Rate(t), Tasks: []Task{onLabels(s.arch, 1)}}
}
