package train

import (
	"fmt"
	"testing"
	"time"

	"weft/data"
	"weft/kernel"
)

// BenchmarkStep measures one step at batch 64 on one and two threads: of the warm-up,
// which trains the largest subnet alone, and of the joint phase, which trains four. Steps
// draw the same subnets in every run: compare with an equal -benchtime of so many steps
// (24x).
func BenchmarkStep(b *testing.B) {
	for _, space := range []string{"resnet-28s", "resnet-28", "resnet-32", "mbv3-28", "mbv3-32"} {
		for _, phase := range []string{"warmup", "joint"} {
			for _, threads := range []int{1, 2} {
				b.Run(fmt.Sprintf("%s/%s/%dT", space, phase, threads), func(b *testing.B) {
					benchmarkStep(b, space, phase, threads)
				})
			}
		}
	}
}

func benchmarkStep(b *testing.B, space, phase string, threads int) {
	pixels := 28
	if space == "resnet-32" || space == "mbv3-32" {
		pixels = 32
	}
	set := squaresOf(512, pixels)
	c := Defaults("deps", space, "squares")
	if phase == "joint" {
		c.Warmup, c.Ramp = 0, 0
	}
	c.Epochs, c.Batch = 1_000_000, 64 // so many epochs that the rate stays what it is
	pool := kernel.NewPool(threads)
	defer pool.Close()
	t, err := New(c, set, pool)
	if err != nil {
		b.Fatal(err)
	}
	l, err := data.NewLoader(set, set.Train, data.LoaderConfig{Batch: c.Batch, Augment: *c.augment()})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	step := func() {
		batch, err := l.Next()
		if err != nil {
			b.Fatal(err)
		}
		if err := t.step(batch); err != nil {
			b.Fatal(err)
		}
		batch.Release()
	}
	step() // memory grows
	flops := t.flops()
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(t.flops()-flops)/b.Elapsed().Seconds()/1e9, "GF/s")
	b.ReportMetric(float64(b.N*c.Batch)/b.Elapsed().Seconds(), "images/s")
}

// BenchmarkSandwich measures a step that trains four subnets together and the four of them
// alone, in turn, and reports what the joint step takes in units of the sum of the others.
func BenchmarkSandwich(b *testing.B) {
	for _, space := range []string{"resnet-28", "resnet-32"} {
		b.Run(space, func(b *testing.B) { benchmarkSandwich(b, space) })
	}
}

func benchmarkSandwich(b *testing.B, space string) {
	pixels := 28
	if space == "resnet-32" {
		pixels = 32
	}
	c := Defaults("bignas", space, "squares")
	c.Epochs, c.Batch = 1_000_000, 64 // so many epochs that the rate stays what it is
	pool := kernel.NewPool(2)
	defer pool.Close()
	t, err := New(c, squaresOf(512, pixels), pool)
	if err != nil {
		b.Fatal(err)
	}
	batch := firstBatch(b, t)
	fixed := &script{t.Recipe.Step(0)}
	t.Recipe = fixed
	together := fixed.s.Tasks
	timed := func(tasks []Task) time.Duration {
		fixed.s.Tasks = tasks
		start := time.Now()
		if err := t.step(batch); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	timed(together) // memory grows
	var joint, parts time.Duration
	for b.Loop() {
		joint += timed(together)
		for i := range together {
			alone := together[i]
			alone.Labels, alone.Soft = 1, 0 // nobody teaches it
			parts += timed([]Task{alone})
		}
	}
	b.ReportMetric(float64(joint)/float64(parts), "of-parts")
}

// script is a recipe of one step.
type script struct{ s Step }

func (s *script) Phases() []Phase { return []Phase{{"joint", 1 << 30}} }
func (s *script) Step(int) Step   { return s.s }
