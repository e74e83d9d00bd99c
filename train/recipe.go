package train

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"weft/nn"
	"weft/supernet"
)

// A Recipe says what every step of a run trains. It has no state: what it says of a step
// depends on the configuration and the number of the step alone, so that a resumed run
// goes on as it would have.
type Recipe interface {
	// Phases returns the parts of the run, one after the other.
	Phases() []Phase
	// Step returns what step t does.
	Step(t int) Step
}

// Phase is a part of a run, up to the step End, which is not part of it.
type Phase struct {
	Name string
	End  int
}

// Step is what one update of the weights is made of.
type Step struct {
	Rate  float64 // learning rate
	Tasks []Task  // gradients to add up, in order
	// Sort orders the channels inside blocks by importance before the step, SortWidths the
	// outputs of stages; the subnets in Keep keep theirs.
	Sort, SortWidths bool
	Keep             []supernet.Arch
	// Freeze makes the weights before the step the teacher of later ones; Restart clears the
	// momentum.
	Freeze, Restart bool
}

// Task is what one subnet learns in a step.
type Task struct {
	Arch supernet.Arch
	// Choose, if set, has the loss on the labels decide which of these subnets it is, the one
	// with the least or, with Worst, with the greatest.
	Choose []supernet.Arch
	Worst  bool
	// Labels and Soft weigh the targets: labels, and the teacher's probabilities for the same
	// batch. The teacher is the frozen one; without one it is the first task of the step.
	Labels, Soft float64
	Alpha        *nn.Alpha // α-divergence from the target instead of cross-entropy
	Weight       float64   // of the gradient (β)
}

// recipe is how a named one is made.
type recipe struct {
	name     string
	about    string
	uses     string // fields of Sandwich that it reads
	defaults func(*Config)
	build    func(*Config, *supernet.Space, int) (Recipe, error)
}

var recipes = []recipe{depsRecipe, ofaRecipe, compofaRecipe, bignasRecipe, attentiveRecipe, alphanetRecipe, naiveRecipe, singleRecipe}

// Recipes lists the names that Config.Recipe takes.
func Recipes() []string {
	names := make([]string, len(recipes))
	for i := range recipes {
		names[i] = recipes[i].name
	}
	return names
}

// About says in a sentence what a recipe does.
func About(name string) string {
	if i := indexOf(name); i >= 0 {
		return recipes[i].about
	}
	return ""
}

func indexOf(name string) int {
	return slices.IndexFunc(recipes, func(r recipe) bool { return r.name == name })
}

// usersOf lists the recipes that read a field of Sandwich.
func usersOf(field string) []string {
	var names []string
	for i := range recipes {
		if slices.Contains(strings.Fields(recipes[i].uses), field) {
			names = append(names, recipes[i].name)
		}
	}
	return names
}

// NewRecipe returns the configured recipe for a run of so many steps.
func NewRecipe(c *Config, space *supernet.Space, steps int) (Recipe, error) {
	i := indexOf(c.Recipe)
	if i < 0 {
		return nil, fmt.Errorf("unknown recipe %q: choose one of %s", c.Recipe, strings.Join(Recipes(), ", "))
	}
	return recipes[i].build(c, space, steps)
}

// draws is the random source of the subnets of step t.
func (c *Config) draws(t int) *rand.Rand {
	return rand.New(rand.NewPCG(c.Seed^0x5ab1e, uint64(t)))
}

// sandwich draws the subnets of a joint step beside the largest: the smallest and random
// ones (BigNAS). Kernels vary where the space lets them; DepS' own spaces fix them at the
// largest.
func (c *Config) sandwich(space *supernet.Space, t int) []supernet.Arch {
	archs := []supernet.Arch{space.Min()}
	rng := c.draws(t)
	for len(archs) < c.Nets-1 {
		archs = append(archs, space.Sample(rng, c.Sampling()))
	}
	return archs
}

// onLabels is the task of a subnet that learns from the labels alone.
func onLabels(a supernet.Arch, weight float64) Task { return Task{Arch: a, Labels: 1, Weight: weight} }

// onSoft is the task of a subnet that learns from the teacher alone.
func onSoft(a supernet.Arch, weight float64) Task { return Task{Arch: a, Soft: 1, Weight: weight} }
