package sched_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
	"weft/sched"
)

func six(workers int) *sched.Profile {
	var sn []sched.Subnet
	accs := []float64{.7382, .7669, .7764, .7825, .7944, .8016}
	for i := range 6 {
		f := 1 + 6*float64(i)/5
		s := sched.Subnet{Name: fmt.Sprintf("s%d", i), Accuracy: accs[i]}
		for b := 1; b <= 16; b++ {
			s.Latency = append(s.Latency, time.Duration((0.3+0.04*float64(b)*f)*1e6))
		}
		sn = append(sn, s)
	}
	p, err := sched.NewProfile(sn, 16)
	if err != nil {
		panic(err)
	}
	return p
}

func gammaArr(rate, cv2 float64, n int, seed uint64) []time.Duration {
	g := distuv.Gamma{Alpha: 1 / cv2, Beta: rate / cv2, Src: rand.NewPCG(seed, 1)}
	out := make([]time.Duration, n)
	t := 0.0
	for i := range out {
		t += g.Rand()
		out[i] = time.Duration(t * 1e9)
	}
	return out
}

func score(p *sched.Profile, pol string, w int, arr []time.Duration, slo time.Duration, opt sched.Options) (att, acc, batch float64) {
	reqs := sched.OpenLoop(arr, slo)
	outs, err := sched.Sim{Profile: p, Policy: pol, Workers: w, Requests: reqs, Options: opt}.Run()
	if err != nil {
		panic(err)
	}
	var met, img float64
	for i, o := range outs {
		if o.Met(reqs[i]) {
			met++
			acc += p.Subnets[o.Subnet].Accuracy
			img += float64(o.Images)
		}
	}
	return met / float64(len(outs)), acc / met, img / met
}

func TestGrid(t *testing.T) {
	if os.Getenv("GRID") == "" {
		t.Skip()
	}
	p := six(1)
	cap0 := 16 / p.Latency(0, 16).Seconds()
	for _, w := range []int{1, 8} {
		for _, bk := range []int{8, 16, 64, 256} {
			a := gammaArr(0.8*cap0*float64(w), 2, 100000*w, 1)
			for _, pol := range []string{"slackfit-literal", "slackfit"} {
				t0 := time.Now()
				att, acc, b := score(p, pol, w, a, 50*time.Millisecond, sched.Options{Buckets: bk})
				t.Logf("w=%d buckets=%d %s att=%.4f acc=%.4f batch=%.2f %v", w, bk, pol, att, acc, b, time.Since(t0))
			}
		}
	}
}
