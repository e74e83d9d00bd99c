package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"weft/data"
	"weft/kernel"
	"weft/nn"
	"weft/supernet"
	"weft/tensor"
)

// ErrDiverged is wrapped by the error of a run whose loss is no longer finite or stays
// above that of guessing.
var ErrDiverged = errors.New("training diverged")

// patience is how many steps a run has to get better than guessing, at least.
const patience = 100

// Metrics are what a run writes, one JSON line each: about every few steps, and with
// Eval set after each epoch.
type Metrics struct {
	Step     int       `json:"step"` // steps done
	Epoch    float64   `json:"epoch"`
	LR       float64   `json:"lr"`
	Beta     float64   `json:"beta"`
	Loss     float64   `json:"loss,omitempty"`     // of the largest subnet, mean since the last line
	SubLoss  float64   `json:"sub_loss,omitempty"` // of the other subnets, likewise
	ImagesPS float64   `json:"images_per_s,omitempty"`
	GFlops   float64   `json:"gflops,omitempty"` // of convolutions, forward and backward
	Flops    float64   `json:"flops"`            // spent so far
	Seconds  float64   `json:"seconds"`
	Eval     []NetEval `json:"eval,omitempty"`
}

// NetEval is the accuracy of one subnet on the validation images, in evaluation mode
// after recalibration.
type NetEval struct {
	Net      string  `json:"net"` // max or min
	Subnet   string  `json:"subnet"`
	MACs     int     `json:"macs"`
	Accuracy float64 `json:"accuracy"`
}

// Trainer is a run in progress.
type Trainer struct {
	Config   Config
	Net      *supernet.Supernet
	Set      *data.Set
	Schedule Schedule
	Step     int     // steps done
	Flops    float64 // spent on steps
	Seconds  float64 // likewise
	// Observe, if set, is called with every line of metrics.
	Observe func(Metrics)
	// Every says how many steps a line of metrics covers; 0 means 20.
	Every int
	// Probe, if positive, evaluates every so many steps from one epoch before the ramp to
	// one epoch after the switch.
	Probe int

	last     meter // at the last line of metrics
	pool     *kernel.Pool
	exec     *nn.Exec
	velocity []float32
	max      *nn.Graph
	loss     float64 // sums since the last line
	subLoss  float64
	subs     int
	dlogits  []float32
	teacher  []float32
}

// New prepares a run on a data set, at step 0.
func New(c Config, set *data.Set, pool *kernel.Pool) (*Trainer, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	space, err := supernet.Find(c.Space, set.Classes, set.C)
	if err != nil {
		return nil, err
	}
	if in := space.Input; in.H != set.H || in.W != set.W {
		return nil, fmt.Errorf("space %s takes images of %dx%d pixels, %s has %dx%d", c.Space, in.H, in.W, set.Name, set.H, set.W)
	}
	if c.Pad >= min(set.H, set.W) {
		return nil, fmt.Errorf("images of %dx%d pixels cannot be shifted by %d", set.H, set.W, c.Pad)
	}
	if set.Train.N() < c.Batch {
		return nil, fmt.Errorf("%s has %d training images, fewer than a batch of %d; choose a smaller --batch", set.Name, set.Train.N(), c.Batch)
	}
	t := &Trainer{Config: c, Set: set, pool: pool}
	t.Net = supernet.New(space, set.Mean, set.Std, rand.New(rand.NewPCG(c.Seed, 0)))
	t.Schedule = NewSchedule(&c, c.Epochs*(set.Train.N()/c.Batch))
	t.exec = nn.NewExec(t.Net.W, pool, true)
	t.velocity = tensor.Floats(len(t.Net.W.Data))
	if t.max, err = space.Lower(space.Max()); err != nil {
		return nil, err
	}
	t.dlogits = make([]float32, c.Batch*t.max.Pitch())
	t.teacher = make([]float32, c.Batch*t.max.Pitch())
	return t, nil
}

// augment is the run's data augmentation.
func (c *Config) augment() data.Augment { return data.Augment{Pad: c.Pad, Flip: c.Flip} }

// Calibration returns batches of augmented training images for SubnetNorm: n images in
// batches of up to 200 (OFA: 2000 images).
func (c *Config) Calibration(set *data.Set, n int) ([][]float32, error) {
	return data.Sample(set, set.Train, n, 200, c.augment(), c.Seed^0xca11b)
}

// Run trains until the last step, the end of ctx or an error, and calls save after every
// epoch and when ctx ends. A run that stopped goes on where save left it.
func (t *Trainer) Run(ctx context.Context, save func() error) error {
	steps := t.Set.Train.N() / t.Config.Batch
	loader, err := data.NewLoader(t.Set, t.Set.Train, data.LoaderConfig{
		Batch: t.Config.Batch, Augment: t.Config.augment(),
		Seed: t.Config.Seed, Epoch: t.Step / steps, Step: t.Step % steps,
	})
	if err != nil {
		return err
	}
	defer loader.Close()
	every := t.Every
	if every == 0 {
		every = 20
	}
	t.last = meter{t.Step, t.Flops, t.Seconds}
	for t.Step < t.Schedule.Total {
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), save())
		}
		if err := t.timedStep(loader); err != nil {
			return err
		}
		epochEnd := t.Step%steps == 0
		if t.Step%every == 0 || epochEnd {
			if err := t.report(steps, epochEnd); err != nil {
				return err
			}
		}
		if t.probing(steps) && !epochEnd {
			if err := t.probe(steps); err != nil {
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

// timedStep trains on the next batch and adds to Flops and Seconds what it took;
// evaluations and checkpoints do not count.
func (t *Trainer) timedStep(loader *data.Loader) error {
	start, flops := time.Now(), t.exec.Flops
	b, err := loader.Next()
	if err != nil {
		return err
	}
	defer b.Release()
	if err := t.step(b); err != nil {
		return err
	}
	t.Seconds += time.Since(start).Seconds()
	t.Flops += float64(t.exec.Flops - flops)
	return nil
}

// step trains on one batch: the largest subnet on the labels, then each smaller one on
// the largest's probabilities for the same batch; one update for the sum of gradients.
func (t *Trainer) step(b *data.Batch) error {
	s, classes, pitch := &t.Schedule, t.Set.Classes, t.max.Pitch()
	if s.Ramp == t.Step && s.Ramp < s.Total && t.Config.Sort {
		if err := t.Net.SortChannels(t.velocity); err != nil {
			return err
		}
		t.exec.Changed()
	}
	beta := s.Beta(t.Step)
	t.exec.ZeroGrad()
	z := t.exec.Forward(t.max, b.Images, b.N)
	dz := t.dlogits[:b.N*pitch]
	loss := nn.CrossEntropy(dz, z, b.Labels, b.N, classes, pitch, float32(t.Config.Smoothing), 1)
	nn.Softmax(t.teacher, z, b.N, classes, pitch)
	t.exec.Backward(dz)
	sub := 0.0
	if beta > 0 {
		for _, a := range t.Config.subnets(t.Net.Space, t.Step) {
			g, err := t.Net.Space.Lower(a)
			if err != nil {
				return err
			}
			z := t.exec.Forward(g, b.Images, b.N)
			sub += nn.Distill(dz, z, t.teacher, b.N, classes, pitch, float32(beta))
			t.exec.Backward(dz)
			t.subs++
		}
	}
	if err := t.guard(loss + sub); err != nil {
		return err
	}
	t.Net.W.SGD(t.exec.Grad, t.velocity, float32(s.Rate(t.Step)), float32(t.Config.Momentum), float32(t.Config.Decay))
	t.exec.Changed()
	t.Step++
	t.loss += loss
	t.subLoss += sub
	return nil
}

// guard stops a run whose loss is not finite before the weights take it in.
func (t *Trainer) guard(loss float64) error {
	if !math.IsNaN(loss) && !math.IsInf(loss, 0) {
		return nil
	}
	return fmt.Errorf("%w: the loss is %v at step %d of %d; start again with a lower --lr than %g",
		ErrDiverged, loss, t.Step+1, t.Schedule.Total, t.Config.LR)
}

// meter is how far a run had come.
type meter struct {
	step           int
	flops, seconds float64
}

func (t *Trainer) report(steps int, eval bool) error {
	n, dt := t.Step-t.last.step, t.Seconds-t.last.seconds
	line := Metrics{
		Step: t.Step, Epoch: float64(t.Step) / float64(steps), LR: t.Schedule.Rate(t.Step - 1),
		Beta: t.Schedule.Beta(t.Step - 1), Loss: t.loss / float64(n), Flops: t.Flops, Seconds: t.Seconds,
		ImagesPS: float64(n*t.Config.Batch) / dt, GFlops: (t.Flops - t.last.flops) / dt / 1e9,
	}
	t.last = meter{t.Step, t.Flops, t.Seconds}
	if t.subs > 0 {
		line.SubLoss = t.subLoss / float64(t.subs)
	}
	if guess := math.Log(float64(t.Set.Classes)); t.Step > max(2*steps, patience) && line.Loss > 1.1*guess {
		return fmt.Errorf("%w: after %d steps the loss, %.2f, is above that of guessing, %.2f; start again with a lower --lr than %g",
			ErrDiverged, t.Step, line.Loss, guess, t.Config.LR)
	}
	t.loss, t.subLoss, t.subs = 0, 0, 0
	if eval {
		var err error
		if line.Eval, err = t.evaluate(steps); err != nil {
			return err
		}
	}
	if t.Observe != nil {
		t.Observe(line)
	}
	return nil
}

// evaluate measures the largest subnet on the validation images, and from the ramp on
// also the smallest.
func (t *Trainer) evaluate(steps int) ([]NetEval, error) {
	space := t.Net.Space
	nets := []NetEval{{Net: "max", Subnet: space.Format(space.Max())}}
	if t.Step > t.Schedule.Ramp {
		nets = append(nets, NetEval{Net: "min", Subnet: space.Format(space.Min())})
	}
	calib, err := t.Config.Calibration(t.Set, 1000)
	if err != nil {
		return nil, err
	}
	flops := t.exec.Flops
	defer func() { t.exec.Flops = flops }()
	norms := supernet.Norms{}
	worker := supernet.NewWorker(t.pool)
	for i := range nets {
		a, err := space.Parse(nets[i].Subnet)
		if err != nil {
			return nil, err
		}
		g, err := space.Lower(a)
		if err != nil {
			return nil, err
		}
		norms.Add(t.exec, g, calib)
		p, err := supernet.NewTable(t.Net, norms).Plan(a)
		if err != nil {
			return nil, err
		}
		nets[i].MACs = p.MACs
		nets[i].Accuracy = float64(worker.Correct(p, t.Set.Val.Images, t.Set.Val.Labels)) / float64(max(t.Set.Val.N(), 1))
	}
	return nets, nil
}

func (t *Trainer) probing(steps int) bool {
	s := &t.Schedule
	return t.Probe > 0 && s.Ramp < s.Total && t.Step%t.Probe == 0 && t.Step >= s.Ramp-steps && t.Step <= s.Joint+steps
}

func (t *Trainer) probe(steps int) error {
	nets, err := t.evaluate(steps)
	if err != nil || t.Observe == nil {
		return err
	}
	t.Observe(Metrics{
		Step: t.Step, Epoch: float64(t.Step) / float64(steps), LR: t.Schedule.Rate(t.Step - 1),
		Beta: t.Schedule.Beta(t.Step - 1), Flops: t.Flops, Seconds: t.Seconds, Eval: nets,
	})
	return nil
}
