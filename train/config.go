// Package train answers: how does a supernet learn? It holds the training loop and the
// recipes, which differ in the subnets that each step trains, in what they learn from and
// in how much each counts.
package train

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"weft/supernet"
)

// Config says how to train; it is stored with the run. Defaults returns a complete one.
type Config struct {
	Recipe    string  `json:"recipe"`     // deps or max
	Space     string  `json:"space"`      // name of a supernet.Space
	Data      string  `json:"data"`       // name of a data set
	Epochs    int     `json:"epochs"`     // passes over the training images, E
	Batch     int     `json:"batch"`      // images a step
	LR        float64 `json:"lr"`         // learning rate at the start, η0
	Momentum  float64 `json:"momentum"`   // Nesterov
	Decay     float64 `json:"decay"`      // of weights, not of biases nor normalisation
	Smoothing float64 `json:"smoothing"`  // of the largest subnet's labels
	Warmup    float64 `json:"warmup"`     // share of the steps before the joint phase, Tw/E
	Ramp      float64 `json:"ramp"`       // share of the steps that the ε ramp takes, Ts/E; 0: none
	Nets      int     `json:"nets"`       // subnets in a joint step: largest, smallest, random ones
	Coupled   bool    `json:"coupled"`    // draw depth and expansion together (CompOFA)
	Sort      bool    `json:"sort"`       // order channels by importance at the switch
	Pad       int     `json:"pad"`        // shift images by up to so many pixels
	Flip      bool    `json:"flip"`       // mirror every other image
	Seed      uint64  `json:"seed"`       // of weights, order, augmentation and sampling
	Val       int     `json:"val_images"` // training images held out for validation
}

// Defaults returns the configuration of a recipe on a space, tuned on the validation
// images of Fashion-MNIST; ImageNet-scale values are in the paper.
func Defaults(recipe, space, dataset string) Config {
	c := Config{
		Recipe: recipe, Space: space, Data: dataset, Epochs: 30, Batch: 128, LR: 0.4,
		Momentum: 0.9, Decay: 5e-4, Smoothing: 0.1, Warmup: 0.5, Ramp: 0.05, Nets: 4,
		Sort: true, Pad: 1, Flip: true, Seed: 1, Val: 5000,
	}
	if dataset == "mnist" {
		c.Flip = false // a mirrored digit is none
	}
	if strings.HasPrefix(dataset, "cifar") {
		c.Pad = 4
	}
	return c
}

// Recipes lists the names that Config.Recipe takes.
func Recipes() []string { return []string{"deps", "max"} }

// Validate reports the first field that makes no sense.
func (c *Config) Validate() error {
	switch {
	case !slices.Contains(Recipes(), c.Recipe):
		return fmt.Errorf("unknown recipe %q: choose one of %s", c.Recipe, strings.Join(Recipes(), ", "))
	case c.Epochs < 1 || c.Batch < 2:
		return fmt.Errorf("%d epochs of batches of %d images: at least 1 epoch and 2 images are needed", c.Epochs, c.Batch)
	case !(c.LR > 0) || c.LR > 100:
		return fmt.Errorf("learning rate %g is not between 0 and 100", c.LR)
	case !(c.Momentum >= 0 && c.Momentum < 1):
		return fmt.Errorf("momentum %g is not in [0, 1)", c.Momentum)
	case !(c.Decay >= 0 && c.Decay < 1) || !(c.Smoothing >= 0 && c.Smoothing < 1):
		return fmt.Errorf("weight decay %g and label smoothing %g: both are in [0, 1)", c.Decay, c.Smoothing)
	case !(c.Warmup >= 0 && c.Warmup <= 1) || !(c.Ramp >= 0 && c.Ramp <= c.Warmup):
		return fmt.Errorf("warm-up share %g and ramp share %g: both are shares of the run and the ramp lies within the warm-up", c.Warmup, c.Ramp)
	case c.Pad < 0:
		return fmt.Errorf("images cannot be shifted by %d pixels", c.Pad)
	case c.Nets < 2:
		return fmt.Errorf("%d subnets a step: the largest and the smallest make at least 2", c.Nets)
	}
	return nil
}

// Schedule is DepS' schedule in steps: the largest subnet alone before Ramp, subnets with
// a rising multiplier from Ramp to Joint, with multiplier 1 from then on.
type Schedule struct {
	LR                 float64
	Ramp, Joint, Total int
}

// NewSchedule cuts a run of so many steps as the configuration says.
func NewSchedule(c *Config, total int) Schedule {
	s := Schedule{LR: c.LR, Total: total, Ramp: total, Joint: total}
	if c.Recipe == "deps" {
		s.Joint = int(math.Round(c.Warmup * float64(total)))
		s.Ramp = s.Joint - int(math.Round(c.Ramp*float64(total)))
	}
	return s
}

// Rate is the learning rate of step t: η(t) = ½·η0·(1 + cos(π·(t+1)/T)). DepS' tables hold
// this cosine once an epoch (its file lrs.py); here it falls with every step and meets
// theirs at the end of each epoch, since short runs would waste their last epoch at 0.
func (s Schedule) Rate(t int) float64 {
	return 0.5 * s.LR * (1 + math.Cos(math.Pi*float64(t+1)/float64(s.Total)))
}

// Beta is what the subnets' gradients are multiplied with at step t:
//
//	β(t) = (k+1)/n · η(Joint) / η(t)
//
// with k steps since the ramp of n steps began, so that the subnets' effective rate β·η
// climbs in a straight line from 0 to the rate at which the joint phase begins.
func (s Schedule) Beta(t int) float64 {
	switch {
	case t < s.Ramp:
		return 0
	case t >= s.Joint:
		return 1
	}
	part := float64(t-s.Ramp+1) / float64(s.Joint-s.Ramp)
	if s.Joint == s.Total {
		return part // both rates are 0 at the end
	}
	return part * s.Rate(s.Joint) / s.Rate(t)
}

// subnets draws the smaller subnets of step t, the smallest first. Kernels vary where the
// space lets them; DepS' own spaces fix them at the largest. The draw depends on
// seed and step alone, so that a resumed run draws the same.
func (c *Config) subnets(space *supernet.Space, t int) []supernet.Arch {
	archs := []supernet.Arch{space.Min()}
	rng := rand.New(rand.NewPCG(c.Seed^0x5ab1e, uint64(t)))
	for len(archs) < c.Nets-1 {
		archs = append(archs, space.Sample(rng, supernet.Sampling{Coupled: c.Coupled, ElasticKernel: true}))
	}
	return archs
}
