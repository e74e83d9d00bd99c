// Package train answers: how does a supernet learn? It holds one training loop and the
// recipes, which differ in the subnets that each step trains, in what they learn from and
// in how much each counts.
package train

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"weft/data"
	"weft/supernet"
	"weft/tensor"
)

// Config says how to train; it is stored with the run. Defaults returns a complete one. The
// zero value of a field beyond the first groups switches off what it is about, so that runs
// which lack the field mean the same as ever.
type Config struct {
	Recipe string `json:"recipe"` // one of Recipes
	Space  string `json:"space"`  // name of a supernet.Space
	// Definition describes the space where its name is not one that supernet.Find knows.
	Definition Definition `json:"definition,omitempty"`

	Data   string `json:"data"`           // name of a data set
	Size   int    `json:"size,omitempty"` // side that the images of a folder are scaled to
	Epochs int    `json:"epochs"`         // passes over the training images, E
	Batch  int    `json:"batch"`          // images a step
	Seed   uint64 `json:"seed"`           // of weights, order, augmentation and sampling
	Val    int    `json:"val_images"`     // training images held out for validation

	Optimiser
	Sandwich
	Regularisation
}

// Definition is the JSON of a supernet.Space without blanks, for supernet.Define.
type Definition string

// MarshalJSON returns the description as it is.
func (d Definition) MarshalJSON() ([]byte, error) { return []byte(d), nil }

// UnmarshalJSON takes a description of any layout. Characters that encoding/json escapes in
// what MarshalJSON returns are escaped here, so that a configuration equals the one in its file.
func (d *Definition) UnmarshalJSON(b []byte) error {
	var compact, escaped bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		return err
	}
	json.HTMLEscape(&escaped, compact.Bytes())
	*d = Definition(escaped.String())
	return nil
}

// space returns the space of the run for a data set.
func (c *Config) space(set *data.Set) (*supernet.Space, error) {
	if c.Definition == "" {
		return supernet.Find(c.Space, set.Classes, set.C)
	}
	space, err := supernet.Define([]byte(c.Definition), set.Classes, tensor.Shape{H: set.H, W: set.W, C: set.C})
	if err == nil && space.Name != c.Space {
		return nil, fmt.Errorf("the space is called %q and its definition %q: give both one name", c.Space, space.Name)
	}
	return space, err
}

// Sampling says how the recipe draws subnets: CompOFA has kernels at their largest.
func (c *Config) Sampling() supernet.Sampling {
	return supernet.Sampling{Coupled: c.Coupled, ElasticKernel: c.Recipe != compofaRecipe.name}
}

// Optimiser says how weights move. What a recipe has a default for is written even if it is zero, see ParseConfig.
type Optimiser struct {
	LR       float64 `json:"lr"`       // peak of the learning rate, η0
	Momentum float64 `json:"momentum"` // Nesterov
	Decay    float64 `json:"decay"`    // of weights, not of biases nor normalisation
	// Curve of the learning rate: cosine (the default), linear or exponential.
	Curve     string  `json:"schedule"`
	RateWarm  float64 `json:"lr_warmup"`           // share of the steps in which the rate rises to its peak
	RateStart float64 `json:"lr_start,omitempty"`  // share of the peak at which it begins to rise
	RateFloor float64 `json:"lr_floor"`            // share of the peak below which it does not fall
	ShiftRate float64 `json:"lr_shift,omitempty"`  // multiplies the rate of normalisation's shifts; 0: 1
	DecayAll  bool    `json:"decay_all,omitempty"` // biases and normalisation decay too
	ClipNorm  float64 `json:"clip_norm,omitempty"` // the gradient's longest Euclidean norm; 0: any
	ClipValue float64 `json:"clip"`                // the gradient's largest absolute value; 0: any
	EMA       float64 `json:"ema,omitempty"`       // part of the averaged weights that a step keeps; 0: no average
	// Lookahead, if not 0, pulls the weights back to slow ones every few steps; it is the part
	// that these keep a step, at the end of the run.
	Lookahead float64 `json:"lookahead,omitempty"`
	ZeroGamma bool    `json:"zero_gamma"`       // the last normalisation of each residual block starts at 0
	Whiten    bool    `json:"whiten,omitempty"` // the stem starts with the principal components of patches
}

// Sandwich says which subnets learn from what.
type Sandwich struct {
	Warmup      float64 `json:"warmup"`                // share of the steps before the joint phase, Tw/E; of the full network alone
	Ramp        float64 `json:"ramp"`                  // share of the steps that the ε ramp takes, Ts/E; 0: none
	Nets        int     `json:"nets"`                  // subnets in a joint step
	Coupled     bool    `json:"coupled"`               // draw depth and expansion together (CompOFA)
	Sort        bool    `json:"sort"`                  // order channels by importance at the switch
	Aggregate   string  `json:"aggregate,omitempty"`   // of gradients: sum (the default), avg or avg-sqrt
	Temperature float64 `json:"temperature,omitempty"` // of soft labels; 0: 1
	Hard        bool    `json:"hard,omitempty"`        // smaller subnets learn from the labels as well as the largest
	Worst       bool    `json:"worst,omitempty"`       // AttentiveNAS: of the candidates train the worst, not the best
	Candidates  int     `json:"candidates"`            // AttentiveNAS: subnets to choose from
	Subnet      string  `json:"subnet,omitempty"`      // single: which one, in its text form; max, min; empty: max
}

// Regularisation says how images and labels are varied.
type Regularisation struct {
	Smoothing   float64 `json:"smoothing"`               // of labels
	Pad         int     `json:"pad"`                     // shift images by up to so many pixels
	Flip        bool    `json:"flip"`                    // mirror every other image
	Reflect     bool    `json:"reflect,omitempty"`       // what a shift lays bare is the mirrored image, not the mean pixel
	Alternate   bool    `json:"flip_epochs,omitempty"`   // mirror each image in every other epoch
	Cutout      int     `json:"cutout,omitempty"`        // blank a square of so many pixels a side
	Erase       float64 `json:"erase,omitempty"`         // probability of random erasing
	Ops         int     `json:"randaugment,omitempty"`   // operations of RandAugment
	Magnitude   float64 `json:"magnitude,omitempty"`     // of RandAugment, 0 to 10
	MixUp       float64 `json:"mixup,omitempty"`         // α; 0: none
	CutMix      float64 `json:"cutmix,omitempty"`        // α; 0: none
	Pixels      string  `json:"pixels,omitempty"`        // sides of images to train with, "20,24,28"; empty: the set's
	Progressive bool    `json:"pixels_rising,omitempty"` // the sizes one after the other, not one drawn for each step
}

// Defaults returns the configuration of a recipe on a space: what it has in common with the
// others, tuned on the validation images of Fashion-MNIST, and what its paper says of itself.
// ImageNet-scale values are in the papers.
func Defaults(recipe, space, dataset string) Config {
	c := Config{
		Recipe: recipe, Space: space, Data: dataset, Epochs: 30, Batch: 128, Seed: 1, Val: 5000,
		Optimiser:      Optimiser{LR: 0.4, Momentum: 0.9, Decay: 5e-4},
		Sandwich:       Sandwich{Nets: 4},
		Regularisation: Regularisation{Smoothing: 0.1, Pad: 1, Flip: true},
	}
	if dataset == "mnist" {
		c.Flip = false // a mirrored digit is none
	}
	if strings.HasPrefix(dataset, "cifar") {
		c.Pad = 4
	}
	if i := indexOf(recipe); i >= 0 && recipes[i].defaults != nil {
		recipes[i].defaults(&c)
	}
	return c
}
