package train

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"weft/data"
	"weft/kernel"
	"weft/nn"
	"weft/supernet"
	"weft/tensor"
)

// Trainer is a run in progress.
type Trainer struct {
	Config Config
	Net    *supernet.Supernet
	Set    *data.Set
	Recipe Recipe
	Total  int // steps of the run
	Step   int // steps done
	Spent  Cost
	// Observe, if set, is called with every line of metrics.
	Observe func(Metrics)
	// Every says how many steps a line of metrics covers; 0 means 20.
	Every int
	// Probe, if positive, evaluates every so many steps from one epoch before the first switch
	// between phases to one epoch after the last.
	Probe int
	// Random is how many random subnets are evaluated beside the smallest, the middle and the
	// largest one; they are the same throughout.
	Random int

	steps    int // an epoch
	pool     *kernel.Pool
	exec     *nn.Exec
	velocity []float32
	cover    []float32 // of aggregation: weights of the subnets that own a coordinate
	average  []float32 // of the weights, or the slow ones of lookahead; nil without
	teacher  *nn.Exec  // frozen; nil without
	sizes    []int
	spaces   map[int]*supernet.Space // by the images' side
	rows     nn.Rows
	dlogits  []float32
	labels   []float32 // targets made of labels
	soft     []float32 // targets made by a teacher
	target   []float32 // sum of both
	since    tally     // the last line of metrics
	trial    tally     // the run was last held against guessing
}

// New prepares a run on a data set, at step 0.
func New(c Config, set *data.Set, pool *kernel.Pool) (*Trainer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	space, err := c.space(set)
	if err != nil {
		return nil, err
	}
	if err := c.fits(space, set); err != nil {
		return nil, err
	}
	t := &Trainer{Config: c, Set: set, pool: pool, steps: set.Train.N() / c.Batch}
	t.Total = c.Epochs * t.steps
	if t.Recipe, err = NewRecipe(&t.Config, space, t.Total); err != nil {
		return nil, err
	}
	t.Net = supernet.New(space, set.Mean, set.Std, rand.New(rand.NewPCG(c.Seed, 0)))
	if err := t.initialise(); err != nil {
		return nil, err
	}
	t.spaces = map[int]*supernet.Space{space.Input.H: space}
	t.sizes, _ = c.sizes()
	for _, n := range t.sizes {
		if t.spaces[n] == nil {
			if t.spaces[n], err = space.At(n); err != nil {
				return nil, fmt.Errorf("images of %d pixels: %w", n, err)
			}
		}
	}
	t.allocate()
	return t, nil
}

// fits reports why a set cannot be trained on.
func (c *Config) fits(space *supernet.Space, set *data.Set) error {
	in := space.Input
	switch {
	case in.H != set.H || in.W != set.W:
		return fmt.Errorf("space %s takes images of %dx%d pixels, %s has %dx%d", c.Space, in.H, in.W, set.Name, set.H, set.W)
	case c.Cutout >= min(set.H, set.W):
		return fmt.Errorf("a square of %d pixels blanks all of an image of %dx%d", c.Cutout, set.H, set.W)
	case c.Pad >= min(set.H, set.W):
		return fmt.Errorf("images of %dx%d pixels cannot be shifted by %d", set.H, set.W, c.Pad)
	case c.Pixels != "" && set.H != set.W:
		return fmt.Errorf("images of %dx%d pixels are not square, so they cannot be scaled to others", set.H, set.W)
	case set.Train.N() < c.Batch:
		return fmt.Errorf("%s has %d training images, fewer than a batch of %d; choose a smaller --batch", set.Name, set.Train.N(), c.Batch)
	}
	return checkLabels(set)
}

// checkLabels reports a label that is no class, and a class that no training image has.
func checkLabels(set *data.Set) error {
	images := make([]int, set.Classes)
	for i, l := range set.Train.Labels {
		if l < 0 || int(l) >= set.Classes {
			return fmt.Errorf("training image %d of %s has label %d of %d classes; mend the set", i, set.Name, l, set.Classes)
		}
		images[l]++
	}
	for class, n := range images {
		if n == 0 {
			return fmt.Errorf("%s has no training image of class %q; add some, or remove the class", set.Name, set.ClassNames[class])
		}
	}
	return nil
}

func (t *Trainer) allocate() {
	space := t.Net.Space
	n := len(t.Net.W.Data)
	t.exec = nn.NewExec(t.Net.W, t.pool, true)
	t.velocity = tensor.Floats(n)
	if t.Config.Aggregate != "" && t.Config.Aggregate != Aggregates[0] {
		t.cover = tensor.Floats(n)
	}
	if t.Config.EMA > 0 || t.Config.Lookahead > 0 {
		t.average = tensor.Floats(n)
		copy(t.average, t.Net.W.Data)
	}
	pitch := (space.Classes + 7) &^ 7
	t.rows = nn.Rows{N: t.Config.Batch, Classes: space.Classes, Pitch: pitch}
	for _, v := range []*[]float32{&t.dlogits, &t.labels, &t.soft, &t.target} {
		*v = make([]float32, t.Config.Batch*pitch)
	}
}

// Run trains until the last step, the end of ctx or an error, and calls save after every
// epoch and when ctx ends. A run that stopped goes on where save left it.
func (t *Trainer) Run(ctx context.Context, save func() error) error {
	loader, err := data.NewLoader(t.Set, t.Set.Train, data.LoaderConfig{
		Batch: t.Config.Batch, Augment: *t.Config.augment(), Pixels: t.pixels(),
		Seed: t.Config.Seed, Epoch: t.Step / t.steps, Step: t.Step % t.steps,
	})
	if err != nil {
		return err
	}
	defer loader.Close()
	every := t.Every
	if every == 0 {
		every = 20
	}
	t.since.begin(t)
	for t.Step < t.Total {
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), save())
		}
		if err := t.timedStep(loader); err != nil {
			return err
		}
		epochEnd := t.Step%t.steps == 0
		if t.Step%every == 0 || epochEnd {
			if err := t.report(epochEnd); err != nil {
				return err
			}
		}
		if t.probing() && !epochEnd {
			if err := t.probe(); err != nil {
				return err
			}
		}
		if epochEnd {
			if err := save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// pixels returns how large the images of a batch are, or nil if they are as in the set.
func (t *Trainer) pixels() func(epoch, step int) int {
	if len(t.sizes) == 0 {
		return nil
	}
	return func(epoch, step int) int {
		at := epoch*t.steps + step
		if t.Config.Progressive {
			return t.sizes[min(at*len(t.sizes)/t.Total, len(t.sizes)-1)]
		}
		return t.sizes[rand.New(rand.NewPCG(t.Config.Seed^0x512e5, uint64(at))).IntN(len(t.sizes))]
	}
}

// timedStep trains on the next batch and adds to Spent what it took; evaluations and
// checkpoints do not count.
func (t *Trainer) timedStep(loader *data.Loader) error {
	start, flops := time.Now(), t.flops()
	b, err := loader.Next()
	if err != nil {
		return err
	}
	defer b.Release()
	if err := t.step(b); err != nil {
		return err
	}
	t.Spent.Seconds += time.Since(start).Seconds()
	t.Spent.Flops += float64(t.flops() - flops)
	return nil
}

// flops returns what the executors have counted so far.
func (t *Trainer) flops() int64 {
	n := t.exec.Flops
	if t.teacher != nil {
		n += t.teacher.Flops
	}
	return n
}
