package train

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"weft/data"
	"weft/nn"
	"weft/supernet"
)

// TestTargets: what the subnets of a joint step learn from is what each recipe's paper says.
func TestTargets(t *testing.T) {
	space, err := supernet.Find("resnet-28s", 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	onLabels, onSoft := Task{Labels: 1, Weight: 1}, Task{Soft: 1, Weight: 1}
	follow := Task{Soft: 1, Weight: 1, Alpha: &nn.Alpha{Min: -1, Max: 1, Clip: 5}}
	for name, c := range map[string]struct {
		recipe string
		change func(*Config)
		others Task
	}{
		"deps":         {"deps", nil, onSoft},
		"hard":         {"deps", func(c *Config) { c.Hard = true }, onLabels},
		"bignas":       {"bignas", nil, onSoft},
		"naive":        {"naive", nil, onLabels},
		"alphanet":     {"alphanet", nil, follow},
		"attentivenas": {"attentivenas", nil, onSoft},
		"worst":        {"attentivenas", func(c *Config) { c.Worst = true }, onSoft},
	} {
		cfg := Defaults(c.recipe, "resnet-28s", "squares")
		if c.change != nil {
			c.change(&cfg)
		}
		const steps = 1000
		r, err := NewRecipe(&cfg, space, steps)
		if err != nil {
			t.Fatal(err)
		}
		s := r.Step(steps - 10)
		if len(s.Tasks) != 4 {
			t.Fatalf("%s: %d tasks", name, len(s.Tasks))
		}
		if s.Tasks[0].Arch != space.Max() || s.Tasks[1].Arch != space.Min() {
			t.Errorf("%s: the step does not begin with the largest and the smallest subnet", name)
		}
		for i, task := range s.Tasks {
			want := c.others
			if i == 0 {
				want = onLabels
			}
			if task.Labels != want.Labels || task.Soft != want.Soft || task.Weight != want.Weight ||
				(task.Alpha == nil) != (want.Alpha == nil) || want.Alpha != nil && *task.Alpha != *want.Alpha {
				t.Errorf("%s: task %d is %+v, want %+v", name, i, task, want)
			}
			if chosen := c.recipe == "attentivenas" && i > 1; chosen != (len(task.Choose) == 3) || task.Worst != (chosen && cfg.Worst) {
				t.Errorf("%s: task %d is one of %d, the worst: %v", name, i, len(task.Choose), task.Worst)
			}
		}
	}
}

// aBatch is the first batch of a trainer's run.
func aBatch(t *testing.T, tr *Trainer) *data.Batch {
	t.Helper()
	loader, err := data.NewLoader(tr.Set, tr.Set.Train, data.LoaderConfig{Batch: tr.Config.Batch, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(loader.Close)
	b, err := loader.Next()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Release)
	tr.rows.AddLabels(tr.labels, b.Labels, tr.Config.Smoothing, 1)
	return b
}

// softly is softmax(z/T) of the rows.
func softly(r nn.Rows, z []float32, temperature float64) [][]float64 {
	out := make([][]float64, r.N)
	for i := range out {
		sum := 0.0
		for j := range r.Classes {
			out[i] = append(out[i], math.Exp(float64(z[i*r.Pitch+j])/temperature))
			sum += out[i][j]
		}
		for j := range out[i] {
			out[i][j] /= sum
		}
	}
	return out
}

// TestTemperature: teacher and pupil are both softened, T²·CE(softmax(z'/T), softmax(z/T)).
func TestTemperature(t *testing.T) {
	c := testConfig()
	c.Temperature = 3
	tr := newTrainer(t, c, squares(64))
	b := aBatch(t, tr)
	logits := func(a supernet.Arch) []float32 {
		g, err := tr.Net.Space.Lower(a)
		if err != nil {
			t.Fatal(err)
		}
		return slices.Clone(tr.exec.Forward(g, b.Images, b.N))
	}
	teacher, pupil := logits(tr.Net.Space.Max()), logits(tr.Net.Space.Min())
	tr.since.begin(tr)
	for i, task := range []Task{onLabels(tr.Net.Space.Max(), 1), onSoft(tr.Net.Space.Min(), 1)} {
		if err := tr.learn(&task, b, i == 0); err != nil {
			t.Fatal(err)
		}
	}
	want, p, q := 0.0, softly(tr.rows, teacher, 3), softly(tr.rows, pupil, 3)
	for i := range p {
		for j := range p[i] {
			want -= 9 * p[i][j] * math.Log(q[i][j]) / float64(len(p))
		}
	}
	if got := tr.since.Sub; math.Abs(got-want) > 1e-4*want {
		t.Errorf("loss %v, want %v", got, want)
	}
}

// TestTheLargestDrawnAgain: where a draw is the largest subnet, its loss against soft labels is not that on the labels,
// by which a run is told to have diverged.
func TestTheLargestDrawnAgain(t *testing.T) {
	c := testConfig()
	c.Temperature = 4
	tr := newTrainer(t, c, squares(64))
	b := aBatch(t, tr)
	for i, task := range []Task{onLabels(tr.Net.Space.Max(), 1), onSoft(tr.Net.Space.Max(), 1)} {
		if err := tr.learn(&task, b, i == 0); err != nil {
			t.Fatal(err)
		}
	}
	if s := tr.since; s.Maxs != 1 || s.Subs != 1 || s.Sub < 4*s.Loss {
		t.Errorf("%d of the largest, %.2f in the mean; %d others, %.2f", s.Maxs, s.Loss, s.Subs, s.Sub)
	}
}

// TestChoose: of the candidates, the one with the least loss on the labels is trained, or the one with the greatest.
func TestChoose(t *testing.T) {
	tr := newTrainer(t, recipeConfig("attentivenas"), squares(64))
	b := aBatch(t, tr)
	rng := rand.New(rand.NewPCG(1, 1))
	task := Task{Soft: 1, Weight: 1}
	losses := map[supernet.Arch]float64{}
	for range 4 {
		a := tr.Net.Space.Sample(rng, supernet.Sampling{})
		g, err := tr.Net.Space.Lower(a)
		if err != nil {
			t.Fatal(err)
		}
		losses[a] = tr.rows.CrossEntropy(tr.dlogits, tr.exec.Forward(g, b.Images, b.N), tr.labels, 1, 1)
		task.Choose = append(task.Choose, a)
	}
	for _, worst := range []bool{false, true} {
		task.Worst = worst
		got, err := tr.choose(&task, b)
		if err != nil {
			t.Fatal(err)
		}
		for _, loss := range losses {
			if worst && loss > losses[got] || !worst && loss < losses[got] {
				t.Errorf("worst %v: loss %v is chosen beside %v", worst, losses[got], loss)
			}
		}
	}
}

// TestBegin: channels are sorted with their momentum and the averaged weights, and a restart forgets the momentum alone.
func TestBegin(t *testing.T) {
	c := recipeConfig("deps")
	c.EMA = 0.9
	tr := newTrainer(t, c, squares(64))
	before := slices.Clone(tr.Net.W.Data)
	copy(tr.velocity, before)
	if err := tr.begin(&Step{Sort: true}); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(tr.Net.W.Data, before) {
		t.Fatal("no channel was moved")
	}
	if !slices.Equal(tr.Net.W.Data, tr.velocity) || !slices.Equal(tr.Net.W.Data, tr.average) {
		t.Error("momentum or average stay behind")
	}
	sorted := slices.Clone(tr.Net.W.Data)
	if err := tr.begin(&Step{Restart: true}); err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(tr.velocity, func(v float32) bool { return v != 0 }) || !slices.Equal(tr.Net.W.Data, sorted) {
		t.Error("momentum is left, or weights are lost")
	}
}

// TestAveragedWeightsAreJudged: with a moving average, it is what evaluations are of.
func TestAveragedWeightsAreJudged(t *testing.T) {
	c := recipeConfig("single")
	c.EMA = 0.5
	tr := newTrainer(t, c, squares(64))
	want, err := tr.evaluate() // the average is of the first weights
	if err != nil {
		t.Fatal(err)
	}
	clear(tr.Net.W.Data)
	tr.exec.Changed()
	got, err := tr.evaluate()
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
	copy(tr.average, tr.Net.W.Data)
	if got, err = tr.evaluate(); err != nil || slices.Equal(got, want) {
		t.Errorf("an average of 0 is as accurate as weights: %+v, %v", got, err)
	}
}

// TestSmallestIsTrained: the smallest subnet that is judged is the smallest of those that the recipe draws.
func TestSmallestIsTrained(t *testing.T) {
	for recipe, want := range map[string]string{"bignas": "d1_e2_k3", "compofa": "d1_e2_k5"} {
		c := Defaults(recipe, "mbv3-28-k35", "squares")
		c.Batch, c.Epochs, c.Pad = 32, 100, 0
		tr := newTrainer(t, c, squares(64))
		tr.Step = tr.Total
		nets, archs, err := tr.judged()
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range archs {
			if !tr.Net.Space.Contains(a) {
				t.Errorf("%s judges %s, which is not of the space", recipe, tr.Net.Space.Format(a))
			}
		}
		if got := nets[1]; got.Net != "min" || got.Subnet != want {
			t.Errorf("%s: %s is %s, want %s", recipe, got.Net, got.Subnet, want)
		}
	}
}
