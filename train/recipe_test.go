package train

import (
	"context"
	"math"
	"slices"
	"testing"

	"weft/kernel"
	"weft/supernet"
)

// variants are configurations that together go through every recipe and every state that a
// run keeps.
func variants() map[string]Config {
	all := map[string]Config{}
	for _, name := range Recipes() {
		all[name] = recipeConfig(name)
	}
	with := func(name, recipe string, change func(*Config)) {
		c := recipeConfig(recipe)
		change(&c)
		all[name] = c
	}
	with("moving average", "deps", func(c *Config) { c.EMA, c.Aggregate, c.ClipNorm = 0.9, "avg-sqrt", 1 })
	with("lookahead", "ofa", func(c *Config) { c.Lookahead, c.Curve, c.RateWarm, c.RateFloor = 0.9, "linear", 0.2, 0.1 })
	with("augmented", "bignas", func(c *Config) {
		c.MixUp, c.CutMix, c.Ops, c.Magnitude, c.Erase, c.Cutout, c.Reflect = 0.2, 1, 2, 5, 0.2, 4, true
		c.Pixels, c.Whiten, c.ShiftRate, c.Temperature, c.Aggregate = "20,28", true, 2, 2, "avg"
	})
	with("rising", "single", func(c *Config) { c.Pixels, c.Progressive, c.Subnet, c.DecayAll = "16,20,28", true, "min", true })
	return all
}

// small makes steps cheap where what they learn does not matter.
func small(c *Config) {
	if c.Pixels == "" {
		c.Pixels = "12"
	}
}

// TestEveryRecipeLearns: the loss of the first steps is far above that of the last ones.
func TestEveryRecipeLearns(t *testing.T) {
	if testing.Short() {
		t.Skip("trains once a recipe")
	}
	for name, c := range variants() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.Batch, c.Epochs = 8, 1
			c.ZeroGamma = false // shortcuts alone, as which blocks would begin, cannot tell the sides apart
			if c.MixUp > 0 {
				c.Epochs = 3 // it is harder to see what mixed images show
			}
			var lines []Metrics
			pool := kernel.NewPool(1)
			defer pool.Close()
			tr, err := New(c, squares(200), pool)
			if err != nil {
				t.Fatal(err)
			}
			tr.Every = 4
			tr.Observe = func(m Metrics) { lines = append(lines, m) }
			if err := tr.Run(context.Background(), func() error { return nil }); err != nil {
				t.Fatal(err)
			}
			last := lines[len(lines)-1]
			if acc := last.Eval[0].Accuracy; acc < 0.85 {
				t.Errorf("the %s subnet is right on %.0f %% of validation images", last.Eval[0].Net, 100*acc)
			}
			if 2*last.MACs != last.Flops {
				t.Errorf("%g multiply-accumulates are not half of %g operations", last.MACs, last.Flops)
			}
			if c.MixUp > 0 {
				return // mixed labels keep the loss up
			}
			for _, loss := range []float64{last.Loss, last.SubLoss} {
				if first := lines[0].Loss; loss != 0 && !(loss < first-0.05) { // none of the largest, or of others
					t.Errorf("the loss goes from %.3f to %.3f and %.3f", first, last.Loss, last.SubLoss)
				}
			}
		})
	}
}

// TestResumeIsExact: a run of every recipe that is stopped at odd places and goes on in new
// trainers ends with the same bits, in weights, momentum, averages and teacher.
func TestResumeIsExact(t *testing.T) {
	set := squares(32)
	for name, c := range variants() {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && name != "lookahead" && name != "augmented" {
				t.Skip("trains twice")
			}
			t.Parallel()
			c.Batch, c.Epochs = 4, 2
			small(&c)
			whole := run(t, c, set, 2)
			dir := t.TempDir()
			var got *Trainer
			for _, stop := range []int{3, 5, 8, 9, 13, 16} {
				got = newTrainer(t, c, set)
				if found, err := got.Load(dir); err != nil || found != (stop > 3) {
					t.Fatal(found, err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				got.Every = 1
				got.Observe = func(m Metrics) {
					if m.Step == stop {
						cancel()
					}
				}
				if err := got.Run(ctx, func() error { return got.Save(dir) }); (err == nil) != (stop == 16) {
					t.Fatal(err)
				}
				cancel()
			}
			want, have := whole.vectors(), got.vectors()
			if len(want) != len(have) {
				t.Fatalf("%d vectors, want %d", len(have), len(want))
			}
			for i := range want {
				if !slices.Equal(want[i].data, have[i].data) {
					t.Errorf("%q differs", want[i].prefix)
				}
			}
			if whole.Spent.MACs != got.Spent.MACs || whole.Spent.Flops != got.Spent.Flops {
				t.Errorf("spent %v, want %v", got.Spent, whole.Spent)
			}
		})
	}
}

// TestThreadsGiveTheSameWeights: runs through all phases end in the same bits for one and
// for two threads.
func TestThreadsGiveTheSameWeights(t *testing.T) {
	set := squares(32)
	for name, c := range variants() {
		if !slices.Contains([]string{"deps", "lookahead", "augmented"}, name) ||
			testing.Short() && name != "deps" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.Epochs, c.Batch = 2, 4
			small(&c)
			one, two := run(t, c, set, 1), run(t, c, set, 2)
			for i, v := range one.Net.W.Data {
				if v != two.Net.W.Data[i] {
					t.Fatalf("weight %d differs between one thread and two", i)
				}
			}
		})
	}
}

// TestSteps: what each recipe trains is what its paper says.
func TestSteps(t *testing.T) {
	space, err := supernet.Find("mbv3-28-k35", 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	const steps = 3000
	for _, name := range Recipes() {
		c := Defaults(name, "mbv3-28-k35", "fashion-mnist")
		r, err := NewRecipe(&c, space, steps)
		if err != nil {
			t.Fatal(err)
		}
		phases := r.Phases()
		if end := phases[len(phases)-1].End; end != steps {
			t.Errorf("%s: the phases end at step %d of %d", name, end, steps)
		}
		for at := range steps {
			if at > 0 && at < steps-1 && at%97 != 0 {
				continue
			}
			s := r.Step(at)
			if s.Rate < 0 || s.Rate > c.LR+1e-12 || len(s.Tasks) == 0 || len(s.Tasks) > c.Nets {
				t.Fatalf("%s, step %d: rate %v, %d tasks", name, at, s.Rate, len(s.Tasks))
			}
			for i, task := range s.Tasks {
				for _, a := range append([]supernet.Arch{task.Arch}, task.Choose...) {
					if !space.Contains(a) {
						t.Fatalf("%s, step %d: a subnet is not of the space", name, at)
					}
				}
				if task.Soft > 0 && i == 0 && !slices.Contains([]string{"ofa", "compofa"}, name) {
					t.Fatalf("%s, step %d: the first task has nobody to learn from", name, at)
				}
			}
		}
	}
}

// TestProgressiveShrinking holds OFA's phases against the published ones, on a space with
// everything elastic, and what is sampled in each.
func TestProgressiveShrinking(t *testing.T) {
	space, err := supernet.Find("ofa-mbv3-k357", 1000, 3)
	if err != nil {
		t.Fatal(err)
	}
	c := Defaults("ofa", "ofa-mbv3-k357", "imagenet")
	c.LR, c.Warmup = 2.6, 180.0/605
	const perEpoch = 10
	r, err := NewRecipe(&c, space, 605*perEpoch)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name        string
		end         int // epoch
		peak        float64
		nets        int
		k, d, e     int // least index of each choice
		sort, first bool
	}{
		{"full", 180, 2.6, 1, 2, 2, 2, false, false},
		{"kernel", 305, 0.96, 1, 0, 2, 2, false, true},
		{"depth 1", 330, 0.08, 2, 0, 1, 2, false, false},
		{"depth 2", 455, 0.24, 2, 0, 0, 2, false, false},
		{"expansion 1", 480, 0.08, 4, 0, 0, 1, true, false},
		{"expansion 2", 605, 0.24, 4, 0, 0, 0, true, false},
	}
	begin := 0
	for i, p := range r.Phases() {
		w := want[i]
		if p.Name != w.name || p.End != w.end*perEpoch {
			t.Errorf("phase %d is %v, want %s up to epoch %d", i, p, w.name, w.end)
		}
		peak, least := 0.0, [3]int{9, 9, 9}
		for at := begin; at < p.End; at++ {
			s := r.Step(at)
			peak = max(peak, s.Rate)
			first := at == begin && i > 0
			if len(s.Tasks) != w.nets || s.Sort != (first && w.sort) || s.Freeze != (first && w.first) || s.Restart != first {
				t.Fatalf("step %d of %s: %d tasks, sort %v, freeze %v, restart %v", at-begin, p.Name, len(s.Tasks), s.Sort, s.Freeze, s.Restart)
			}
			for _, task := range s.Tasks {
				if task.Labels != 1 || task.Soft != map[bool]float64{false: 0, true: 1}[i > 0] {
					t.Fatalf("%s learns from %v of labels and %v of the teacher", p.Name, task.Labels, task.Soft)
				}
				a := task.Arch
				least[0], least[1], least[2] = min(least[0], int(a.Kernel[0])), min(least[1], int(a.Depth[0])), min(least[2], int(a.Expand[0]))
			}
		}
		if least != [3]int{w.k, w.d, w.e} {
			t.Errorf("%s draws from choices %v, want %v on", p.Name, least, [3]int{w.k, w.d, w.e})
		}
		if math.Abs(peak-w.peak) > 1e-3*w.peak {
			t.Errorf("%s peaks at rate %v, want %v", p.Name, peak, w.peak)
		}
		begin = p.End
	}
}

// TestCurves holds the learning rates against their formulas.
func TestCurves(t *testing.T) {
	for _, tt := range []struct {
		c    Curve
		at   int
		want float64
	}{
		{Curve{Shape: "cosine", Peak: 2, Total: 100}, 49, 1},
		{Curve{Shape: "cosine", Peak: 2, Total: 100, Floor: 0.1}, 99, 0.2},
		{Curve{Shape: "linear", Peak: 1, Total: 100, Warm: 20, Start: 0.2, Floor: 0.07}, 9, 0.6},
		{Curve{Shape: "linear", Peak: 1, Total: 100, Warm: 20, Start: 0.2, Floor: 0.07}, 19, 1},
		{Curve{Shape: "linear", Peak: 1, Total: 100, Warm: 20, Start: 0.2, Floor: 0.07}, 59, 0.535},
		{Curve{Shape: "linear", Peak: 1, Total: 100, Warm: 20, Start: 0.2, Floor: 0.07}, 99, 0.07},
		{Curve{Shape: "exponential", Peak: 0.256, Total: 36000, Floor: 0.05}, 239, 0.256 * 0.97},           // an epoch of 100 steps, 2.4 of them
		{Curve{Shape: "exponential", Peak: 0.256, Total: 36000, Floor: 0.05}, 2399, 0.256 * 0.73742412689}, // 0.97^10
		{Curve{Shape: "exponential", Peak: 0.256, Total: 36000, Floor: 0.05}, 35999, 0.256 * 0.05},
	} {
		if got := tt.c.Rate(tt.at); math.Abs(got-tt.want) > 2e-3*tt.want {
			t.Errorf("%+v: rate %v at step %d, want %v", tt.c, got, tt.at, tt.want)
		}
	}
}
