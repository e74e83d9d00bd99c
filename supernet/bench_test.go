package supernet

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"weft/kernel"
)

// duel runs functions in turns for so many rounds and returns the shortest time of each: what others do on the
// machine only ever adds.
func duel(rounds int, fs ...func()) []time.Duration {
	best := make([]time.Duration, len(fs))
	for round := range rounds {
		for i, f := range fs {
			start := time.Now()
			f()
			if d := time.Since(start); round <= 1 || d < best[i] {
				best[i] = d
			}
		}
	}
	return best
}

// noLoop gets the loop out of the way of a benchmark that reports what it measures by itself.
func noLoop(b *testing.B) {
	for b.Loop() {
		continue
	}
}

// planOf compiles a subnet with made-up statistics.
func planOf(t testing.TB, net *Supernet, norms Norms, tuning Tuning, a Arch) *Plan {
	t.Helper()
	madeUp(t, net.Space, norms, a, rand.New(rand.NewPCG(1, 2)))
	p, err := NewTableWith(net, norms, Options{Tuning: tuning}).Plan(a)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// BenchmarkSlice compares six uniform subnets of each family, whose plans read slices of the supernet's weights, with
// the same networks cut out, in turns on one thread: a ratio of 1 says that slicing costs nothing.
func BenchmarkSlice(b *testing.B) {
	for _, name := range []string{"resnet-32", "mbv3-32", "ofa-resnet50d"} {
		for _, batch := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/b%d", name, batch), func(b *testing.B) {
				noLoop(b)
				net := newTestNet(b, name)
				pool := kernel.NewPool(1)
				x := testImages(net.Space, batch)
				tuning := net.Rule(net.WinogradBytes())
				product := 1.0
				for i, a := range sixUniform(net.Space) {
					norms := Norms{}
					whole := planOf(b, net, norms, tuning, a)
					c, own, err := net.Cut(a, norms)
					if err != nil {
						b.Fatal(err)
					}
					alone := planOf(b, c, own, tuning, c.Space.Max())
					w, logits := NewWorker(pool), make([]float32, batch*10)
					rounds := min(max(3, 200_000_000/(batch*whole.MACs/40+1)), 400)
					best := duel(rounds, func() { w.Run(whole, x, batch, logits) }, func() { w.Run(alone, x, batch, logits) })
					ratio := float64(best[1]) / float64(best[0])
					product *= ratio
					b.ReportMetric(ratio, fmt.Sprintf("u%d", i))
				}
				b.ReportMetric(math.Pow(product, 1.0/6), "geomean")
			})
		}
	}
}

// BenchmarkActuation runs two of 1,000 served subnets, one image at a time, in turns and one after the other: what
// the first takes longer is the cost of switching.
func BenchmarkActuation(b *testing.B) {
	for _, name := range []string{"resnet-32", "mbv3-32", "ofa-resnet50d"} {
		for _, compact := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/compact=%v", name, compact), func(b *testing.B) {
				noLoop(b)
				net := newTestNet(b, name)
				pool := kernel.NewPool(1)
				x, logits := testImages(net.Space, 1), make([]float32, 10)
				rng := rand.New(rand.NewPCG(1, 2))
				norms := Norms{}
				table := NewTableWith(net, norms, Options{Tuning: net.Rule(net.WinogradBytes()), Compact: compact})
				w := NewWorker(pool)
				plans := make([]*Plan, 1000)
				for i := range plans {
					a := net.Space.Sample(rng, Sampling{ElasticKernel: true})
					madeUp(b, net.Space, norms, a, rng)
					var err error
					if plans[i], err = table.Plan(a); err != nil {
						b.Fatal(err)
					}
					clear(norms)
					w.Reserve(plans[i], 1)
				}
				p, q := plans[3], plans[700]
				const runs = 4
				rounds := min(max(5, 400_000_000/(runs*(p.MACs+q.MACs)/40)), 400)
				best := duel(rounds, func() {
					for range runs {
						w.Run(p, x, 1, logits)
						w.Run(q, x, 1, logits)
					}
				}, func() {
					for range runs {
						w.Run(p, x, 1, logits)
					}
					for range runs {
						w.Run(q, x, 1, logits)
					}
				})
				b.ReportMetric(100*(float64(best[0])/float64(best[1])-1), "%switching")
				b.ReportMetric(float64(best[0].Nanoseconds())/1e3/(2*runs), "µs/run")
				allocs := testing.AllocsPerRun(3, func() {
					w.Run(p, x, 1, logits)
					w.Run(q, x, 1, logits)
				})
				b.ReportMetric(allocs, "allocs")
			})
		}
	}
}
