package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/data"
	"weft/supernet"
	"weft/train"
)

// settings are the flags that a run remembers. Those that are not given take the values of the file named by --config,
// or else the defaults of the recipe, space and data set.
type settings struct {
	train.Config
	file string
}

// defaultSettings returns the settings of a run without flags.
func defaultSettings(recipe, space, data string) settings {
	s := settings{Config: train.Defaults(recipe, space, data)}
	s.Val = 0 // as many as the set is large
	return s
}

func (s *settings) flags(f *pflag.FlagSet) {
	s.subjectFlags(f)
	s.rateFlags(f)
	s.subnetFlags(f)
	s.imageFlags(f)
}

// subjectFlags say what is trained on what.
func (s *settings) subjectFlags(f *pflag.FlagSet) {
	f.StringVar(&s.file, "config", "", "JSON file of settings, such as the config.json of another run; flags override it")
	f.StringVar(&s.Recipe, "recipe", s.Recipe, "how to train: "+strings.Join(train.Recipes(), ", "))
	f.StringVar(&s.Space, "space", s.Space, "what may vary: "+strings.Join(supernet.Names(), ", ")+", or a file such as 'weft spaces NAME' prints")
	f.StringVar(&s.Data, "data", s.Data, "data set: "+strings.Join(data.Names(), ", ")+" or a folder of images a class")
	f.IntVar(&s.Epochs, "epochs", s.Epochs, "passes over the training images")
	f.IntVar(&s.Batch, "batch", s.Batch, "images a step")
	f.Uint64Var(&s.Seed, "seed", s.Seed, "seed of weights, order, augmentation and sampling")
	f.IntVar(&s.Val, "val", s.Val, "training images held out for validation (default 5000, at most a tenth)")
}

// rateFlags say how weights begin and move.
func (s *settings) rateFlags(f *pflag.FlagSet) {
	f.Float64Var(&s.LR, "lr", s.LR, "peak of the learning rate (alphanet: 0.05)")
	f.StringVar(&s.Curve, "schedule", s.Curve, "how the rate falls: "+strings.Join(train.Curves, ", ")+" (default cosine; bignas: exponential)")
	f.Float64Var(&s.RateWarm, "lr-warmup", s.RateWarm, "share of the run in which the rate rises to its peak (alphanet, attentivenas: 0.014); ofa, compofa: of the full network's phase")
	f.Float64Var(&s.RateStart, "lr-start", s.RateStart, "share of the peak at which the rate begins to rise")
	f.Float64Var(&s.RateFloor, "lr-floor", s.RateFloor, "share of the peak below which the rate does not fall (bignas: 0.05)")
	f.Float64Var(&s.ShiftRate, "lr-shift", s.ShiftRate, "multiply the rate of normalisation's shifts (0: 1)")
	f.Float64Var(&s.Momentum, "momentum", s.Momentum, "Nesterov momentum")
	f.Float64Var(&s.Decay, "decay", s.Decay, "weight decay")
	f.BoolVar(&s.DecayAll, "decay-all", s.DecayAll, "decay biases and normalisation too")
	f.Float64Var(&s.ClipNorm, "clip-norm", s.ClipNorm, "shorten gradients to this norm (0: do not)")
	f.Float64Var(&s.ClipValue, "clip", s.ClipValue, "bring each value of the gradient into ± this (0: do not; alphanet, attentivenas: 1)")
	f.Float64Var(&s.EMA, "ema", s.EMA, "end with a moving average of the weights that keeps this part a step, such as 0.999 (0: none)")
	f.Float64Var(&s.Lookahead, "lookahead", s.Lookahead, "pull weights back to slow ones that keep this part a step, such as 0.95 (0: none)")
	f.BoolVar(&s.ZeroGamma, "zero-gamma", s.ZeroGamma, "start the last normalisation of each residual block at 0 (bignas, attentivenas, alphanet: true)")
	f.BoolVar(&s.Whiten, "whiten", s.Whiten, "start the stem with the principal components of patches of the images")
}

// subnetFlags say what each step trains.
func (s *settings) subnetFlags(f *pflag.FlagSet) {
	f.Float64Var(&s.Warmup, "warmup", s.Warmup, "deps: share of the run before the joint phase; ofa (0.3) and compofa (0.55): of the full network alone")
	f.Float64Var(&s.Ramp, "ramp", s.Ramp, "deps: share of the run that the ramp of the smaller subnets' rate takes, the end of the warm-up")
	f.IntVar(&s.Nets, "nets", s.Nets, "subnets a joint step")
	f.BoolVar(&s.Coupled, "coupled", s.Coupled, "draw depth and expansion together (compofa always does)")
	f.BoolVar(&s.Sort, "sort", s.Sort, "deps, ofa, compofa: order channels by importance when narrower subnets join")
	f.StringVar(&s.Aggregate, "aggregate", s.Aggregate, "how gradients of subnets become one: "+strings.Join(train.Aggregates, ", ")+" (default sum)")
	f.Float64Var(&s.Temperature, "temperature", s.Temperature, "of the soft labels that subnets learn from (0: 1)")
	f.BoolVar(&s.Hard, "hard", s.Hard, "deps: smaller subnets learn from the labels instead of the largest")
	f.BoolVar(&s.Worst, "worst", s.Worst, "attentivenas: train the worst candidate, not the best")
	f.IntVar(&s.Candidates, "candidates", s.Candidates, "attentivenas: subnets to choose from (3)")
	f.StringVar(&s.Subnet, "subnet", s.Subnet, "single: the subnet to train: max (the default), min, or its text form")
}

// imageFlags say how images and labels are varied.
func (s *settings) imageFlags(f *pflag.FlagSet) {
	f.Float64Var(&s.Smoothing, "smoothing", s.Smoothing, "label smoothing")
	f.IntVar(&s.Pad, "pad", s.Pad, "shift images by up to so many pixels (cifar10: 4)")
	f.BoolVar(&s.Reflect, "reflect", s.Reflect, "fill what a shift lays bare with the mirrored image, not the mean pixel")
	f.BoolVar(&s.Flip, "flip", s.Flip, "mirror every other image (mnist: false)")
	f.BoolVar(&s.Alternate, "flip-epochs", s.Alternate, "mirror each image in every other epoch instead of by chance")
	f.IntVar(&s.Cutout, "cutout", s.Cutout, "blank a square of so many pixels a side")
	f.Float64Var(&s.Erase, "erase", s.Erase, "probability of random erasing")
	f.IntVar(&s.Ops, "randaugment", s.Ops, "operations of RandAugment an image")
	f.Float64Var(&s.Magnitude, "magnitude", s.Magnitude, "of RandAugment, up to 10")
	f.Float64Var(&s.MixUp, "mixup", s.MixUp, "mix images two by two with this α (0: do not)")
	f.Float64Var(&s.CutMix, "cutmix", s.CutMix, "paste rectangles of other images with this α (0: do not)")
	f.StringVar(&s.Pixels, "pixels", s.Pixels, "train on images scaled to these sides, one drawn for each step, such as 20,24,28")
	f.BoolVar(&s.Progressive, "pixels-rising", s.Progressive, "use the sizes of --pixels one after the other")
}

// runFlags names the flags that a run remembers.
func runFlags() []string {
	var s settings
	f := pflag.NewFlagSet("", pflag.ContinueOnError)
	s.flags(f)
	var names []string
	f.VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
	return names
}

// settle fills in what the flags leave open.
func (s *settings) settle(cmd *cobra.Command) error {
	full, err := s.base(cmd.Flags())
	if err != nil {
		return err
	}
	merged := pflag.NewFlagSet("", pflag.ContinueOnError)
	full.flags(merged)
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if merged.Lookup(f.Name) != nil {
			err = errors.Join(err, merged.Set(f.Name, f.Value.String()))
		}
	})
	if err == nil && (cmd.Flags().Changed("space") || full.Definition == "") {
		err = full.define()
	}
	*s = full
	return err
}

// define reads the file that the space is described in, unless it has a name that is known.
func (s *settings) define() error {
	s.Definition = ""
	if slices.Contains(supernet.Names(), s.Space) {
		return nil
	}
	b, err := os.ReadFile(s.Space)
	if errors.Is(err, os.ErrNotExist) {
		return usagef("--space %s is neither a file nor one of %s", s.Space, strings.Join(supernet.Names(), ", "))
	}
	if err != nil {
		return err
	}
	var named struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(b, &named); err != nil {
		return fmt.Errorf("%s: %w; 'weft spaces NAME' prints a description to begin with", s.Space, err)
	}
	s.Space = named.Name
	return s.Definition.UnmarshalJSON(b)
}

// base returns the settings that the flags change: those of the file, or the defaults.
func (s *settings) base(given *pflag.FlagSet) (settings, error) {
	full := defaultSettings(s.Recipe, s.Space, s.Data)
	if s.file == "" {
		return full, nil
	}
	b, err := os.ReadFile(s.file)
	if err != nil {
		return full, err
	}
	about, err := train.ParseSubject(b, train.Subject{Recipe: s.Recipe, Space: s.Space, Data: s.Data})
	if err != nil {
		return full, fmt.Errorf("%s: %w", s.file, err)
	}
	if given.Changed("recipe") && s.Recipe != about.Recipe {
		return full, usagef("--recipe %s, but %s is for %s; leave one of them out", s.Recipe, s.file, about.Recipe)
	}
	if given.Changed("space") {
		about.Space = s.Space
	}
	if given.Changed("data") {
		about.Data = s.Data
	}
	full = defaultSettings(about.Recipe, about.Space, about.Data)
	if full.Config, err = train.ParseConfig(b, full.Config); err != nil {
		return full, fmt.Errorf("%s: %w", s.file, err)
	}
	return full, nil
}
