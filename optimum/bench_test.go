package optimum_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"weft/optimum"
	"weft/sched"
)

// six returns subnets with the accuracies of the paper's six. A full batch of 16
// takes the smallest 16 ms and the largest 64 ms: 8 workers get through 8,000
// and 2,000 images a second.
func six(t testing.TB) *sched.Profile {
	var list []sched.Subnet
	for i, accuracy := range []float64{0.7382, 0.7669, 0.7764, 0.7825, 0.7944, 0.8016} {
		s := sched.Subnet{Name: fmt.Sprint("s", i), Accuracy: accuracy}
		each := (15 + 48*float64(i)/5) / 16
		for b := range 16 {
			s.Latency = append(s.Latency, time.Duration((1+each*float64(b+1))*float64(ms)))
		}
		list = append(list, s)
	}
	p, err := sched.NewProfile(list, 16)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// bursty returns arrivals in order: a constant stream and a gamma one.
func bursty(base, variant, cv2 float64, n int, seed uint64) []time.Duration {
	gap := distuv.Gamma{Alpha: 1 / cv2, Beta: variant / cv2, Src: rand.NewPCG(seed, 0)}
	var arrivals []time.Duration
	at := 0.0
	for len(arrivals) < int(float64(n)*variant/(base+variant)) {
		at += gap.Rand()
		arrivals = append(arrivals, time.Duration(at*float64(time.Second)))
	}
	for i := range int(at * base) {
		arrivals = append(arrivals, time.Duration(float64(i)/base*float64(time.Second)))
	}
	slices.Sort(arrivals)
	return arrivals
}

const slo = 36 * ms

func BenchmarkExact(b *testing.B) {
	p := six(b)
	for _, workers := range []int{1, 2, 3} {
		for _, n := range []int{8, 12, 16, 20, 24} {
			b.Run(fmt.Sprintf("workers=%d/requests=%d", workers, n), func(b *testing.B) {
				rate := 600 * float64(workers)
				for i := 0; b.Loop(); i++ {
					arrivals := bursty(rate/4, rate, 4, 2*n, uint64(i%16))[:n]
					if _, err := optimum.Exact(optimum.Instance{Profile: p, Workers: workers, Requests: sched.OpenLoop(arrivals, slo)}, 0); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkBound(b *testing.B) {
	p := six(b)
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint("requests=", n), func(b *testing.B) {
			in := optimum.Instance{Profile: p, Workers: 8, Requests: sched.OpenLoop(bursty(1500, 4900, 4, n, 1), slo)}
			for b.Loop() {
				if _, err := optimum.Bound(in); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
