package train

import (
	"errors"
	"fmt"
	"math"

	"weft/data"
	"weft/nn"
	"weft/supernet"
)

// ErrDiverged is wrapped by the error of a run whose loss is no longer finite or stays
// above that of guessing.
var ErrDiverged = errors.New("training diverged")

// step trains on one batch as the recipe says: the gradients of its tasks are added up, or
// averaged, for one update.
func (t *Trainer) step(b *data.Batch) error {
	s := t.Recipe.Step(t.Step)
	if err := t.begin(&s); err != nil {
		return err
	}
	clear(t.labels)
	t.rows.AddLabels(t.labels, b.Labels, t.Config.Smoothing, b.Share)
	if b.Share < 1 {
		t.rows.AddLabels(t.labels, b.Other, t.Config.Smoothing, 1-b.Share)
	}
	if err := t.askTeacher(b); err != nil {
		return err
	}
	t.exec.ZeroGrad()
	clear(t.cover)
	for i := range s.Tasks {
		if err := t.learn(&s.Tasks[i], b, i == 0 && t.teacher == nil); err != nil {
			return err
		}
	}
	t.update(s.Rate)
	t.Step++
	return nil
}

// begin does what comes before the step.
func (t *Trainer) begin(s *Step) error {
	if s.Freeze {
		t.hire()
		copy(t.teacher.W.Data, t.Net.W.Data)
	}
	others := [][]float32{t.velocity}
	if t.average != nil {
		others = append(others, t.average)
	}
	if s.Sort {
		if err := t.Net.SortChannels(s.Keep, others...); err != nil {
			return err
		}
		t.exec.Changed()
	}
	if s.SortWidths {
		if err := t.Net.SortWidths(s.Keep, others...); err != nil {
			return err
		}
		t.exec.Changed()
	}
	if s.Restart {
		clear(t.velocity)
	}
	return nil
}

// askTeacher fills the soft targets by the frozen teacher, if there is one. It runs with
// batch statistics.
func (t *Trainer) askTeacher(b *data.Batch) error {
	if t.teacher == nil {
		return nil
	}
	g, err := t.graph(t.Net.Space.Max(), b)
	if err != nil {
		return err
	}
	z := t.teacher.Forward(g, b.Images, b.N)
	t.Spent.MACs += float64(b.N * g.MACs())
	t.rows.Softmax(t.soft, z, t.temperature())
	return nil
}

// learn adds the gradient of a task. The logits of one that teaches become the soft targets.
func (t *Trainer) learn(task *Task, b *data.Batch, teaches bool) error {
	arch, err := t.choose(task, b)
	if err != nil {
		return err
	}
	g, err := t.graph(arch, b)
	if err != nil {
		return err
	}
	z := t.exec.Forward(g, b.Images, b.N)
	loss := t.loss(task, z)
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return fmt.Errorf("%w: the loss of %s is %v at step %d of %d; train again with a lower --lr than %g, into another folder",
			ErrDiverged, t.Net.Space.Format(arch), loss, t.Step+1, t.Total, t.Config.LR)
	}
	if teaches {
		t.rows.Softmax(t.soft, z, t.temperature())
	}
	t.exec.Backward(t.dlogits)
	if t.cover != nil {
		t.Net.W.Cover(t.cover, g, float32(task.Weight))
	}
	t.Spent.MACs += float64(b.N * trainingMACs(g))
	// A smaller subnet's draw may be the largest one, whose loss against soft labels is another.
	t.since.add(loss, arch == t.Net.Space.Max() && task.Soft == 0 || t.Config.Alone())
	return nil
}

// loss returns a task's loss, in units of a single target, and writes its gradient.
func (t *Trainer) loss(task *Task, z []float32) float64 {
	target, temperature := t.labels, 1.0
	switch {
	case task.Labels == 0 && task.Soft == 1:
		target, temperature = t.soft, t.temperature()
	case task.Soft != 0 || task.Labels != 1:
		target = t.target
		for i, v := range t.labels {
			target[i] = float32(task.Labels)*v + float32(task.Soft)*t.soft[i]
		}
	}
	if task.Alpha != nil {
		return t.rows.Divergence(t.dlogits, z, target, *task.Alpha, task.Weight)
	}
	return t.rows.CrossEntropy(t.dlogits, z, target, temperature, task.Weight) / (task.Labels + task.Soft)
}

func (t *Trainer) temperature() float64 {
	if t.Config.Temperature == 0 {
		return 1
	}
	return t.Config.Temperature
}

// choose returns the subnet of a task; of several, the one whose loss on the labels decides.
func (t *Trainer) choose(task *Task, b *data.Batch) (supernet.Arch, error) {
	if len(task.Choose) == 0 {
		return task.Arch, nil
	}
	best, least := task.Arch, math.Inf(1)
	for _, a := range task.Choose {
		g, err := t.graph(a, b)
		if err != nil {
			return best, err
		}
		loss := t.rows.CrossEntropy(t.dlogits, t.exec.Forward(g, b.Images, b.N), t.labels, 1, 1)
		t.Spent.MACs += float64(b.N * g.MACs())
		if task.Worst {
			loss = -loss
		}
		if loss < least || least == math.Inf(1) {
			best, least = a, loss
		}
	}
	return best, nil
}

// graph lowers a subnet for the images of a batch.
func (t *Trainer) graph(a supernet.Arch, b *data.Batch) (*nn.Graph, error) {
	space := t.spaces[b.H]
	if space == nil {
		space = t.Net.Space
	}
	return space.Lower(a)
}

// trainingMACs counts the multiply-accumulates that training on one image takes: those of
// the network forwards, and twice as many backwards, for the gradients of weights and of
// inputs; the images need none.
func trainingMACs(g *nn.Graph) int {
	n := 3 * g.MACs()
	for i := range g.Ops {
		if g.Ops[i].In == 0 {
			n -= g.OpMACs(&g.Ops[i])
		}
	}
	return n
}

// initialise changes freshly drawn weights as the configuration says.
func (t *Trainer) initialise() error {
	g, err := t.Net.Space.Lower(t.Net.Space.Max())
	if err != nil {
		return err
	}
	w := t.Net.W
	for i := range g.Ops {
		if op := &g.Ops[i]; t.Config.ZeroGamma && op.Res >= 0 && op.Layer >= 0 && w.Layers[op.Layer].Norm {
			clear(w.Of(w.Data, op.Layer, nn.Gamma))
		}
	}
	if t.Config.Whiten {
		return t.whiten(g)
	}
	return nil
}

// vector is weights or something that lies like them, by the prefix of its names in a
// checkpoint.
type vector struct {
	prefix string
	data   []float32
}

// vectors lists what a checkpoint holds.
func (t *Trainer) vectors() []vector {
	all := []vector{{"", t.Net.W.Data}, {"momentum.", t.velocity}}
	if t.average != nil {
		all = append(all, vector{"average.", t.average})
	}
	if t.teacher != nil {
		all = append(all, vector{"teacher.", t.teacher.W.Data})
	}
	return all
}

// hire makes a teacher whose weights are yet to be filled in.
func (t *Trainer) hire() {
	t.teacher = nn.NewExec(nn.NewWeights(t.Net.Space.Layers()), t.pool, false)
}
