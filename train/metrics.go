package train

import (
	"fmt"
	"math"
)

// A run has patience steps, and two epochs, to get better than guessing. It is judged by means
// over enough steps, since the loss of a small batch varies by as much.
const (
	patience = 100
	enough   = 20
)

// Cost is what a run has spent on its steps.
type Cost struct {
	// MACs counts the multiply-accumulates of convolutions and fully connected layers, forwards
	// and backwards, from the sizes of the layers.
	MACs float64 `json:"macs"`
	// Flops counts the operations of the same layers as they were run, two a multiply-accumulate.
	Flops   float64 `json:"flops"`
	Seconds float64 `json:"seconds"`
}

// Metrics are what a run writes, one JSON line each: about every few steps, and with
// Eval set after each epoch.
type Metrics struct {
	Step      int     `json:"step"` // steps done
	Epoch     float64 `json:"epoch"`
	Phase     string  `json:"phase"`
	LR        float64 `json:"lr"`
	Beta      float64 `json:"beta"`               // weight of the subnets beside the largest
	Loss      float64 `json:"loss,omitempty"`     // of the largest subnet on the labels, mean since the last line
	SubLoss   float64 `json:"sub_loss,omitempty"` // of the other subnets, likewise
	ImagesPS  float64 `json:"images_per_s,omitempty"`
	GFlops    float64 `json:"gflops,omitempty"`         // of convolutions, forward and backward
	ImageMACs float64 `json:"macs_per_image,omitempty"` // forward and backward, of all subnets of a step
	// MACs, Flops and Seconds are what was spent so far, see Cost.
	MACs    float64   `json:"macs"`
	Flops   float64   `json:"flops"`
	Seconds float64   `json:"seconds"`
	Eval    []NetEval `json:"eval,omitempty"`
}

// NetEval is the accuracy of one subnet on the validation images, in evaluation mode
// after recalibration.
type NetEval struct {
	Net      string  `json:"net"` // max, mid, min, random, or single of a run that trains one other
	Subnet   string  `json:"subnet"`
	MACs     int     `json:"macs"`
	Accuracy float64 `json:"accuracy"`
}

// tally sums up what happened since a step.
type tally struct {
	Step  int     `json:"step"`
	Loss  float64 `json:"loss"` // of the largest subnet on the labels, as often as Maxs
	Sub   float64 `json:"sub"`  // of the others, as often as Subs
	Maxs  int     `json:"maxs"`
	Subs  int     `json:"subs"`
	spent Cost    // until that step
}

// begin starts to count anew.
func (a *tally) begin(t *Trainer) { *a = tally{Step: t.Step, spent: t.Spent} }

// join counts what another one did.
func (a *tally) join(b *tally) {
	a.Loss, a.Maxs = a.Loss+b.Loss, a.Maxs+b.Maxs
	a.Sub, a.Subs = a.Sub+b.Sub, a.Subs+b.Subs
}

// add counts the loss of a subnet.
func (a *tally) add(loss float64, largest bool) {
	if largest {
		a.Loss += loss
		a.Maxs++
		return
	}
	a.Sub += loss
	a.Subs++
}

// line begins a line of metrics.
func (t *Trainer) line() Metrics {
	s := t.Recipe.Step(t.Step - 1)
	m := Metrics{
		Step: t.Step, Epoch: float64(t.Step) / float64(t.steps), Phase: t.phase(t.Step - 1), LR: s.Rate,
		MACs: t.Spent.MACs, Flops: t.Spent.Flops, Seconds: t.Spent.Seconds,
	}
	if s.shared() {
		m.Beta = s.Tasks[len(s.Tasks)-1].Weight
	}
	return m
}

// shared reports whether the step trains subnets beside the largest.
func (s *Step) shared() bool { return len(s.Tasks) > 1 || s.Tasks[0].Soft > 0 }

// phase returns the name of the phase that a step belongs to.
func (t *Trainer) phase(step int) string {
	for _, p := range t.Recipe.Phases() {
		if step < p.End {
			return p.Name
		}
	}
	return ""
}

// report writes a line of metrics for the steps since the last one.
func (t *Trainer) report(eval bool) error {
	images := float64((t.Step - t.since.Step) * t.Config.Batch)
	dt := max(t.Spent.Seconds-t.since.spent.Seconds, 1e-9) // a coarse clock may have stood still
	line := t.line()
	line.Loss, line.SubLoss = t.since.Loss/float64(max(t.since.Maxs, 1)), t.since.Sub/float64(max(t.since.Subs, 1))
	line.ImagesPS, line.GFlops = images/dt, (t.Spent.Flops-t.since.spent.Flops)/dt/1e9
	line.ImageMACs = (t.Spent.MACs - t.since.spent.MACs) / images
	if err := t.guess(); err != nil {
		return err
	}
	t.since.begin(t)
	if eval {
		var err error
		if line.Eval, err = t.evaluate(); err != nil {
			return err
		}
	}
	if t.Observe != nil {
		t.Observe(line)
	}
	return nil
}

// guess stops a run that does no better than guessing: its largest subnet where every step
// trains that, else all.
func (t *Trainer) guess() error {
	a := &t.trial
	a.join(&t.since)
	steps := t.Step - a.Step
	if steps < enough {
		return nil
	}
	loss := a.Loss / float64(max(a.Maxs, 1))
	if a.Maxs < steps {
		loss = (a.Loss + a.Sub) / float64(max(a.Maxs+a.Subs, 1))
	}
	a.begin(t)
	guess := math.Log(float64(t.Set.Classes))
	if t.Step <= max(2*t.steps, patience) || !(loss > 1.1*guess) {
		return nil
	}
	return fmt.Errorf("%w: after %d steps the loss, %.2f, is above that of guessing, %.2f; train again with a lower --lr than %g, into another folder",
		ErrDiverged, t.Step, loss, guess, t.Config.LR)
}

// probing reports whether it is time to evaluate around a switch between phases.
func (t *Trainer) probing() bool {
	phases := t.Recipe.Phases()
	if t.Probe <= 0 || len(phases) < 2 || t.Step%t.Probe != 0 {
		return false
	}
	return t.Step >= phases[0].End-t.steps && t.Step <= phases[len(phases)-2].End+t.steps
}

// probe writes a line of metrics with an evaluation alone.
func (t *Trainer) probe() error {
	nets, err := t.evaluate()
	if err != nil || t.Observe == nil {
		return err
	}
	line := t.line()
	line.Eval = nets
	t.Observe(line)
	return nil
}
