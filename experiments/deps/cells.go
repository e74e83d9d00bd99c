package deps

import (
	"fmt"
	"math"

	"weft/supernet"
	"weft/train"
)

// Cell is one training of the comparison.
type Cell struct {
	ID     string
	Bench  string // fashion, cifar, cifar-mbv3
	Method string // as the tables call it
	Length string // its schedule: "half", "full", "published", "equal cost"
	Seed   uint64
	Config train.Config
	Probe  int // evaluations around the switch, one every so many steps
}

// Lengths of schedules.
const (
	half      = "half"       // of DepS': a point on the way to equal accuracy
	full      = "full"       // DepS', by which the others are measured
	longer    = "longer"     // half as much again: about the cost of OFA's published schedule over 1.8
	published = "published"  // in proportion to the published number of epochs
	equal     = "equal cost" // as many multiply-accumulates as DepS' full one
)

// Names of the methods. Those after naive are variants of DepS.
const (
	methodDeps    = "DepS"
	methodOFA     = "OFA"
	methodCompOFA = "CompOFA"
	methodBigNAS  = "BigNAS"
	methodNaive   = "naive"
	noRamp        = "DepS without ε"
	quarter       = "DepS, warm-up 25 %"
	threeQuarters = "DepS, warm-up 75 %"
	noWarmup      = "DepS, no warm-up"
	hardLabels    = "DepS, no distillation"
	alone         = "each alone" // the six uniform subnets, one training each, for as much as DepS' in sum
)

// epochs are the published numbers of epochs on ImageNet-1k, which the lengths are in proportion to (DepS, README,
// Table 1). Naive training has none of its own; it gets BigNAS'.
var epochs = map[string]float64{methodDeps: 270, methodOFA: 605, methodCompOFA: 330, methodBigNAS: 400, methodNaive: 400}

// bench is a space and a data set to compare on.
type bench struct {
	name, space, data string
	images, batch     int // images to train on, and at a time
	seeds             int
	epochs            int // of DepS
	probe             int
	lr                float64
	methods           []variant
}

// variant is a method at a length.
type variant struct{ method, length string }

var benches = []bench{
	{
		name: "fashion", space: "resnet-28s", data: "fashion-mnist", images: 55000, batch: 128, seeds: 3, epochs: 8, probe: 25, lr: 0.4,
		methods: []variant{
			{methodDeps, half},
			{methodDeps, full},
			{methodDeps, longer},
			{methodOFA, equal},
			{methodOFA, published},
			{methodCompOFA, equal},
			{methodCompOFA, published},
			{methodBigNAS, equal},
			{methodBigNAS, published},
			{methodNaive, equal},
			{noRamp, full},
			{quarter, equal},
			{threeQuarters, equal},
			{noWarmup, equal},
			{hardLabels, equal},
			{alone, equal},
		},
	},
	{
		name: "cifar", space: "resnet-32s", data: "cifar10", images: 45000, batch: 128, seeds: 1, epochs: 7, probe: 50, lr: 0.2,
		methods: []variant{
			{methodDeps, half},
			{methodDeps, full},
			{methodDeps, longer},
			{methodOFA, equal},
			{methodOFA, published},
			{methodCompOFA, equal},
			{methodBigNAS, equal},
			{methodBigNAS, published},
			{methodNaive, equal},
			{noRamp, full},
			{alone, equal},
		},
	},
	{
		name: "cifar-mbv3", space: "mbv3-32s", data: "cifar10", images: 45000, batch: 128, seeds: 1, epochs: 10, probe: 50, lr: 0.2,
		methods: []variant{{methodDeps, full}, {methodOFA, equal}, {methodOFA, published}},
	},
}

// Cells returns every training of the comparison, seed by seed.
func Cells() ([]Cell, error) {
	var cells []Cell
	for _, b := range benches {
		space, err := supernet.Find(b.space, 10, channels(b.data))
		if err != nil {
			return nil, err
		}
		for seed := range b.seeds {
			for _, v := range b.methods {
				if v.method == alone {
					each, err := b.alone(space, uint64(seed)+1)
					if err != nil {
						return nil, err
					}
					cells = append(cells, each...)
					continue
				}
				c, err := b.cell(space, v, uint64(seed)+1)
				if err != nil {
					return nil, err
				}
				cells = append(cells, c)
			}
		}
	}
	return cells, nil
}

func channels(set string) int {
	if set == "cifar10" {
		return 3
	}
	return 1
}

func (b *bench) cell(space *supernet.Space, v variant, seed uint64) (Cell, error) {
	c := Cell{Bench: b.name, Method: v.method, Length: v.length, Seed: seed, Config: b.config(v.method, seed)}
	if c.Config.Recipe == "deps" {
		c.Probe = b.probe
	}
	var err error
	switch v.length {
	case full:
		c.Config.Epochs = b.epochs
	case half:
		c.Config.Epochs = (b.epochs + 1) / 2
	case longer:
		c.Config.Epochs = (3*b.epochs + 1) / 2
	case published:
		c.Config.Epochs = int(math.Round(float64(b.epochs) * epochs[v.method] / epochs[methodDeps]))
	case equal:
		c.Config.Epochs, err = b.equalEpochs(space, c.Config)
	}
	c.ID = fmt.Sprintf("%s-%s-%s-%d", b.name, short[v.method], lengths[v.length], seed)
	return c, err
}

// alone are the cells of six uniform subnets that are trained one by one, each for as many epochs, which cost as much in sum as
// DepS in full.
func (b *bench) alone(space *supernet.Space, seed uint64) ([]Cell, error) {
	var cells []Cell
	var configs []train.Config
	for i, a := range six(space) {
		c := Cell{
			ID: fmt.Sprintf("%s-%s%d-equal-%d", b.name, short[alone], i+1, seed), Bench: b.name, Method: alone, Length: equal, Seed: seed,
			Config: b.config(alone, seed),
		}
		c.Config.Subnet = space.Format(a)
		cells, configs = append(cells, c), append(configs, c.Config)
	}
	n, err := b.equalEpochs(space, configs...)
	for i := range cells {
		cells[i].Config.Epochs = n
	}
	return cells, err
}

// short and lengths name methods and lengths in the IDs of cells.
var (
	short = map[string]string{
		methodDeps: "deps", methodOFA: "ofa", methodCompOFA: "compofa", methodBigNAS: "bignas", methodNaive: "naive",
		noRamp: "noramp", quarter: "warm25", threeQuarters: "warm75", noWarmup: "nowarm", hardLabels: "hard",
		alone: "alone",
	}
	lengths = map[string]string{half: "half", full: "full", longer: "longer", published: "published", equal: "equal"}
)

// config is the method's, with everything that is no part of a method the same for all: batch, weight decay, smoothing,
// augmentation, and the peak of the learning rate. How the rate falls and how residual blocks begin are parts of BigNAS.
func (b *bench) config(method string, seed uint64) train.Config {
	recipe := short[method]
	switch {
	case method == alone:
		recipe = "single"
	case epochs[method] == 0:
		recipe = "deps"
	}
	c := train.Defaults(recipe, b.space, b.data)
	c.Seed, c.Batch, c.LR = seed, b.batch, b.lr
	if b.data == "cifar10" {
		c.Pad = 2
	}
	switch method {
	case noRamp:
		c.Ramp = 0
	case quarter:
		c.Warmup = 0.25
	case threeQuarters:
		c.Warmup = 0.75
	case noWarmup:
		c.Warmup, c.Ramp, c.Sort = 0, 0, false
	case hardLabels:
		c.Hard = true
	}
	return c
}

// equalEpochs is the number of epochs of each of the trainings whose cost in sum comes nearest to that of DepS in full.
func (b *bench) equalEpochs(space *supernet.Space, trainings ...train.Config) (int, error) {
	reference := b.config(methodDeps, trainings[0].Seed)
	reference.Epochs = b.epochs
	budget, err := b.macs(space, reference)
	if err != nil {
		return 0, err
	}
	cost := 0.0
	for _, c := range trainings {
		c.Epochs = b.epochs
		macs, err := b.macs(space, c)
		if err != nil {
			return 0, err
		}
		cost += macs
	}
	return max(int(math.Round(float64(b.epochs)*budget/cost)), 1), nil
}

// macs foretells the multiply-accumulates of a run from its recipe: three times those of every subnet that learns, and
// once those of a frozen teacher, which is the largest.
func (b *bench) macs(space *supernet.Space, c train.Config) (float64, error) {
	const samples = 400
	steps := c.Epochs * (b.images / c.Batch)
	r, err := train.NewRecipe(&c, space, steps)
	if err != nil {
		return 0, err
	}
	largest, err := space.Lower(space.Max())
	if err != nil {
		return 0, err
	}
	var sum float64
	for i := range samples {
		s := r.Step(i * steps / samples)
		if len(s.Tasks) == 0 {
			return 0, fmt.Errorf("recipe %s trains nothing at step %d", c.Recipe, i*steps/samples)
		}
		if first := s.Tasks[0]; first.Soft > 0 && first.Labels > 0 {
			sum += float64(largest.MACs())
		}
		for _, task := range s.Tasks {
			g, err := space.Lower(task.Arch)
			if err != nil {
				return 0, err
			}
			sum += 3 * float64(g.MACs())
		}
	}
	return sum / samples * float64(steps*c.Batch), nil
}
