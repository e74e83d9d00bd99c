package train

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"weft/data"
)

// Choices of Optimiser.Curve and Sandwich.Aggregate; the first is the default.
var (
	Curves     = []string{"cosine", "linear", "exponential"}
	Aggregates = []string{"sum", "avg", "avg-sqrt"}
)

// maxEpochs keeps the number of steps an int.
const maxEpochs = 1_000_000

// Validate reports the first field that makes no sense, or that the recipe has no use for.
func (c *Config) Validate() error {
	i := indexOf(c.Recipe)
	switch {
	case i < 0:
		return fmt.Errorf("unknown recipe %q: choose one of %s", c.Recipe, strings.Join(Recipes(), ", "))
	case c.Epochs < 1 || c.Epochs > maxEpochs || c.Batch < 2:
		return fmt.Errorf("%d epochs of batches of %d images: 1 to %d epochs and at least 2 images are needed", c.Epochs, c.Batch, maxEpochs)
	case c.Size < 0:
		return fmt.Errorf("images cannot be scaled to %d pixels a side", c.Size)
	case c.Val < 0:
		return fmt.Errorf("%d validation images cannot be held out", c.Val)
	case !(c.Smoothing >= 0 && c.Smoothing < 1):
		return fmt.Errorf("label smoothing %g is not in [0, 1)", c.Smoothing)
	}
	if err := c.checkUse(&recipes[i]); err != nil {
		return err
	}
	for _, check := range []func() error{c.checkRate, c.checkUpdate, c.checkSandwich, c.checkSizes, c.augment().Validate} {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

func (c *Config) checkRate() error {
	switch {
	case !(c.LR > 0) || c.LR > 100:
		return fmt.Errorf("learning rate %g is not between 0 and 100", c.LR)
	case c.Curve != "" && !slices.Contains(Curves, c.Curve):
		return fmt.Errorf("unknown schedule %q: choose one of %s", c.Curve, strings.Join(Curves, ", "))
	case !(c.RateWarm >= 0 && c.RateWarm < 1):
		return fmt.Errorf("the rate cannot rise for %g of the run: a share in [0, 1)", c.RateWarm)
	case !(c.RateStart >= 0 && c.RateStart <= 1) || !(c.RateFloor >= 0 && c.RateFloor < 1):
		return fmt.Errorf("rate from %g and down to %g of the peak: both are shares of it", c.RateStart, c.RateFloor)
	case c.RateStart > 0 && c.RateWarm == 0:
		return fmt.Errorf("a rate that does not rise cannot begin at %g of its peak: say for what share of the run it rises", c.RateStart)
	case !(c.ShiftRate >= 0 && c.ShiftRate <= 1000):
		return fmt.Errorf("the rate of shifts cannot be %g times the others': 0 (as the others) to 1000", c.ShiftRate)
	}
	return nil
}

func (c *Config) checkUpdate() error {
	switch {
	case !(c.Momentum >= 0 && c.Momentum < 1):
		return fmt.Errorf("momentum %g is not in [0, 1)", c.Momentum)
	case !(c.Decay >= 0 && c.Decay < 1):
		return fmt.Errorf("weight decay %g is not in [0, 1)", c.Decay)
	case !(c.ClipNorm >= 0 && c.ClipNorm <= math.MaxFloat32) || !(c.ClipValue >= 0 && c.ClipValue <= math.MaxFloat32):
		return fmt.Errorf("gradients cannot be clipped at norm %g and value %g: a number above 0, or 0 for no clipping", c.ClipNorm, c.ClipValue)
	case !(c.EMA >= 0 && c.EMA < 1) || !(c.Lookahead >= 0 && c.Lookahead < 1):
		return fmt.Errorf("moving average %g and lookahead %g: both are in [0, 1)", c.EMA, c.Lookahead)
	case c.EMA > 0 && c.Lookahead > 0:
		return fmt.Errorf("a moving average and lookahead both average weights: choose one")
	}
	return nil
}

func (c *Config) checkSandwich() error {
	switch {
	case !(c.Warmup >= 0 && c.Warmup <= 1) || !(c.Ramp >= 0 && c.Ramp <= c.Warmup):
		return fmt.Errorf("warm-up share %g and ramp share %g: both are shares of the run, and the ramp is the end of the warm-up, so not longer", c.Warmup, c.Ramp)
	case c.Nets < 2 || c.Nets > 64:
		return fmt.Errorf("%d subnets a step: 2 (the largest and the smallest) to 64", c.Nets)
	case c.Aggregate != "" && !slices.Contains(Aggregates, c.Aggregate):
		return fmt.Errorf("unknown aggregation %q: choose one of %s", c.Aggregate, strings.Join(Aggregates, ", "))
	case !(c.Temperature >= 0 && c.Temperature <= 100):
		return fmt.Errorf("temperature %g is not between 0 and 100", c.Temperature)
	case c.Candidates < 0 || c.Candidates > 64:
		return fmt.Errorf("%d candidates: 1 to 64", c.Candidates)
	}
	return nil
}

func (c *Config) checkSizes() error {
	sizes, err := c.sizes()
	switch {
	case err != nil:
		return err
	case c.Progressive && len(sizes) < 2:
		return fmt.Errorf("rising image sizes need at least two of them: name them as in 20,24,28")
	}
	return nil
}

// sizes returns the sides of images to train with, none if they are those of the set.
func (c *Config) sizes() ([]int, error) {
	if c.Pixels == "" {
		return nil, nil
	}
	var sizes []int
	for f := range strings.SplitSeq(c.Pixels, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(f))
		if err != nil || n < 4 || n > 1024 || len(sizes) > 0 && n <= sizes[len(sizes)-1] {
			return nil, fmt.Errorf("image sizes %q: name rising numbers of pixels from 4 to 1024, as in 20,24,28", c.Pixels)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

// checkUse reports a field that is set although the recipe does not read it.
func (c *Config) checkUse(r *recipe) error {
	def := Defaults(c.Recipe, c.Space, c.Data)
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"warmup", c.Warmup != def.Warmup},
		{"ramp", c.Ramp != def.Ramp},
		{"nets", c.Nets != def.Nets},
		{"coupled", c.Coupled != def.Coupled},
		{"sort", c.Sort != def.Sort},
		{"aggregate", c.Aggregate != "" && c.Aggregate != Aggregates[0]},
		{"temperature", c.Temperature != 0 && c.Temperature != 1},
		{"hard", c.Hard},
		{"worst", c.Worst},
		{"candidates", c.Candidates != def.Candidates},
		{"subnet", c.Subnet != ""},
	} {
		if f.set && !slices.Contains(strings.Fields(r.uses), f.name) {
			return fmt.Errorf("recipe %s has no use for %s: leave it out, or choose one of %s", c.Recipe, f.name, strings.Join(usersOf(f.name), ", "))
		}
	}
	if c.Hard && c.Temperature != 0 && c.Temperature != 1 {
		return fmt.Errorf("labels have no temperature: choose hard labels or a temperature")
	}
	return nil
}

// augment is the run's data augmentation.
func (c *Config) augment() *data.Augment {
	return &data.Augment{
		Pad: c.Pad, Reflect: c.Reflect, Flip: c.Flip, Alternate: c.Alternate, Cutout: c.Cutout, Erase: c.Erase,
		Ops: c.Ops, Magnitude: c.Magnitude, MixUp: c.MixUp, CutMix: c.CutMix,
	}
}

// Calibration returns batches of augmented training images for SubnetNorm: n images in
// batches of up to 200 (OFA: 2000 images). Images are not mixed, as those that a subnet is
// asked about are not.
func (c *Config) Calibration(set *data.Set, n int) ([][]float32, error) {
	a := *c.augment()
	a.MixUp, a.CutMix = 0, 0
	return data.Sample(set, set.Train, n, 200, a, c.Seed^0xca11b)
}
