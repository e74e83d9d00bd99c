package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// sample is made up, in the likeness of a run: a burst in the middle that only small subnets survive.
func sample() Data {
	rng := rand.New(rand.NewPCG(1, 2))
	d := Data{
		Title:   "One supernet, one minute of bursty load",
		Summary: "Choosing by slack kept 99.2 % of the requests in time at a mean accuracy of 91.3 %; the largest subnet alone kept 41 %.",
		Machine: "Example CPU 9000, 2 cores, kernel avx2, load 0.12 before and 0.31 after",
		Commands: []string{
			"weft train --recipe deps --space resnet-28 --data fashion-mnist --out run",
			"weft search run -o model.weft", "weft bench --sim --trace 'bursty:base=300,var=700,cv2=4,for=60s'",
		},
		SLO:     50 * time.Millisecond,
		Batches: []int{1, 2, 4, 8, 16},
	}
	for i := range 9 {
		d.Subnets = append(d.Subnets, subnet("searched", fmt.Sprintf("d%d_e%d", 1+i/3, 2+i), float64(i), 0.2))
	}
	for i := range 4 {
		d.Subnets = append(d.Subnets, subnet("uniform", fmt.Sprintf("uniform-%d", i), 1.1+2*float64(i), -0.9))
	}
	policies := []struct {
		name       string
		speed, acc float64
	}{{"weft", 2.4, .913}, {"slackfit", 2.2, .911}, {"infaas", 2.5, .872}, {"fixed:largest", .55, .931}, {"fixed:smallest", 2.6, .868}}
	load := make([]float64, 60)
	for i := range load {
		load[i] = math.Round(300 + 700*math.Exp(-math.Pow(float64(i)-32, 2)/60)*(1+.3*rng.NormFloat64()) + 30*rng.NormFloat64())
	}
	for _, p := range policies {
		t := Timeline{Policy: p.name, Bin: time.Second}
		queue, met := 0.0, 0.0
		for _, arrivals := range load {
			queue = max(0, queue+arrivals-500*p.speed)
			b := Bin{
				Arrivals: arrivals, Queue: queue + arrivals/60, Accuracy: p.acc, Batch: min(16, 1+arrivals/80),
				Attainment: 1 / (1 + queue/300),
			}
			if p.name == "weft" || p.name == "slackfit" {
				b.Accuracy += (600-arrivals)/15000*(p.acc-.88)/.033 + .002*rng.NormFloat64()
			}
			met += b.Attainment / float64(len(load))
			t.Bins = append(t.Bins, b)
		}
		d.Timelines = append(d.Timelines, t)
		d.Results = append(d.Results, Result{
			p.name, met, p.acc, p.acc - .004, 489 * met,
			time.Duration(9e6 / p.speed), time.Duration(90e6 / p.speed),
		})
	}
	d.Results = append(d.Results, Result{"maxbatch", .81, math.NaN(), math.NaN(), 396.4, 0, 123456 * time.Microsecond})
	for i, name := range []string{"largest", "smallest"} {
		c := Curve{Name: name, Marks: []Mark{{8, "all subnets from here"}}}
		for e := 0.5; e <= 20; e += 0.5 {
			p := Epoch{e, 2.1*math.Exp(-e/4) + .22 + .12*float64(i), .93 - .05*float64(i) - .4*math.Exp(-e/3)}
			if i == 1 && e < 8 {
				p.Loss, p.Accuracy = math.NaN(), math.NaN()
			}
			c.Points = append(c.Points, p)
		}
		d.Curves = append(d.Curves, c)
	}
	return d
}

func subnet(group, name string, size, shift float64) Subnet {
	s := Subnet{Group: group, Name: name, MACs: 4e6 * math.Pow(1.35, size), Accuracy: .93 - .06*math.Exp(-size/3) + shift/100}
	for _, b := range []float64{1, 2, 4, 8, 16} {
		s.Latency = append(s.Latency, time.Duration((.3+.09*b*math.Pow(1.35, size))*1e6))
	}
	return s
}
