package sched_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"weft/sched"
)

const slo = 50 * time.Millisecond

// sixSubnets is a profile with the accuracies of the paper's six subnets and
// latencies of 0.3 + 0.04·b·f ms, f spread evenly over 1..7.
func sixSubnets(t testing.TB) *sched.Profile {
	var subnets []sched.Subnet
	for i, accuracy := range []float64{0.7382, 0.7669, 0.7764, 0.7825, 0.7944, 0.8016} {
		f := 1 + 6*float64(i)/5
		each := time.Duration(0.04 * f * float64(time.Millisecond))
		subnets = append(subnets, linear(fmt.Sprint("s", i), accuracy, 300*time.Microsecond, each, 16))
	}
	p, err := sched.NewProfile(subnets, 16)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// gammaArrivals returns n arrivals whose gaps have that mean rate (1/s) and
// squared coefficient of variation.
func gammaArrivals(rate, cv2 float64, n int, seed uint64) []time.Duration {
	gap := distuv.Gamma{Alpha: 1 / cv2, Beta: rate / cv2, Src: rand.NewPCG(seed, 0)}
	arrivals := make([]time.Duration, n)
	at := 0.0
	for i := range arrivals {
		at += gap.Rand()
		arrivals[i] = time.Duration(at * float64(time.Second))
	}
	return arrivals
}

// capacity is the most images a second that the subnet gets through on one worker.
func capacity(p *sched.Profile, subnet int) float64 {
	return float64(p.MaxBatch) / p.Latency(subnet, p.MaxBatch).Seconds()
}

type score struct{ attainment, accuracy float64 }

func (s score) String() string { return fmt.Sprintf("%.4f at %.2f%%", s.attainment, 100*s.accuracy) }

func simulate(t testing.TB, sim sched.Sim) score {
	t.Helper()
	outcomes, err := sim.Run()
	if err != nil {
		t.Fatal(err)
	}
	var met, accuracy float64
	for i, o := range outcomes {
		if o.Met(sim.Requests[i]) {
			met++
			accuracy += sim.Profile.Subnets[o.Subnet].Accuracy
		}
	}
	return score{met / float64(len(outcomes)), accuracy / met}
}

// TestSaturation has SlackFit near saturation: to the letter it collapses, with
// the additions of docs/adr/0001-slackfit.md it holds.
func TestSaturation(t *testing.T) {
	p := sixSubnets(t)
	for _, workers := range []int{1, 8} {
		rate := 0.8 * capacity(p, 0) * float64(workers)
		requests := sched.OpenLoop(gammaArrivals(rate, 2, 50000*workers, 1), slo)
		for _, c := range []struct {
			policy      string
			least, most float64
		}{
			{"slackfit-literal", 0, 0.75},
			{"slackfit", 0.98, 1},
			{"weft", 0.999, 1},
		} {
			got := simulate(t, sched.Sim{Profile: p, Policy: c.policy, Workers: workers, Requests: requests})
			t.Logf("%d workers, %s: %v", workers, c.policy, got)
			if got.attainment < c.least || got.attainment > c.most {
				t.Errorf("%d workers: %s attains %v, want %v to %v", workers, c.policy, got, c.least, c.most)
			}
		}
	}
}

// TestBeatsFixed is the claim for which all this exists: at loads that take a
// subnet to 80 and 95 % of its capacity, weft attains 0.99 with a higher mean
// accuracy than every fixed subnet that attains as much.
func TestBeatsFixed(t *testing.T) {
	p := sixSubnets(t)
	for _, workers := range []int{1, 2} {
		for _, cv2 := range []float64{1, 4} {
			for subnet := range len(p.Subnets) - 1 {
				for _, load := range []float64{0.8, 0.95} {
					rate := load * capacity(p, subnet) * float64(workers)
					sim := sched.Sim{Profile: p, Policy: "weft", Workers: workers}
					sim.Requests = sched.OpenLoop(gammaArrivals(rate, cv2, 30000, 2), slo)
					weft := simulate(t, sim)
					if weft.attainment < 0.99 {
						t.Errorf("%d workers, CV² %v, %v of s%d: %v", workers, cv2, load, subnet, weft)
					}
					sim.Policy = "fixed:" + p.Subnets[subnet].Name
					if fixed := simulate(t, sim); fixed.attainment >= 0.99 && fixed.accuracy >= weft.accuracy {
						t.Errorf("%d workers, CV² %v, %v of s%d: fixed %v, weft %v", workers, cv2, load, subnet, fixed, weft)
					}
				}
			}
		}
	}
}

// TestOverload: beyond the capacity of the smallest subnet, most of that
// capacity still goes into answers that are in time.
func TestOverload(t *testing.T) {
	p := sixSubnets(t)
	const load = 1.3
	requests := sched.OpenLoop(gammaArrivals(load*capacity(p, 0), 2, 40000, 5), slo)
	got := simulate(t, sched.Sim{Profile: p, Policy: "weft", Workers: 1, Requests: requests})
	if got.attainment < 0.95/load {
		t.Errorf("%v, capacity is %.4f", got, 1/load)
	}
}

// TestMixedDeadlines: requests with an eighth of the others' time are not
// refused only because others wait too.
func TestMixedDeadlines(t *testing.T) {
	p := sixSubnets(t)
	requests := sched.OpenLoop(gammaArrivals(0.5*capacity(p, 0), 1, 20000, 6), 8*time.Millisecond)
	for i := range requests {
		if i%4 == 0 {
			requests[i].Deadline = requests[i].Arrival + time.Millisecond
		}
	}
	if got := simulate(t, sched.Sim{Profile: p, Policy: "weft", Workers: 2, Requests: requests}); got.attainment < 0.9 {
		t.Errorf("%v", got)
	}
}

// TestFaults is the paper's Fig 11a in shape: as workers go, accuracy falls and
// attainment does not.
func TestFaults(t *testing.T) {
	p := sixSubnets(t)
	const workers = 8
	requests := sched.OpenLoop(gammaArrivals(0.3*capacity(p, 0)*workers, 2, 60000, 3), slo)
	end := requests[len(requests)-1].Arrival
	sim := sched.Sim{Profile: p, Policy: "weft", Workers: workers, Requests: requests}
	for w := range workers / 2 {
		sim.Faults = append(sim.Faults, sched.Fault{At: end * time.Duration(w+1) / 5, Worker: w})
	}
	outcomes, err := sim.Run()
	if err != nil {
		t.Fatal(err)
	}
	fifth := len(outcomes) / 5
	var accuracy []float64
	for i := range 5 {
		met, sum := 0, 0.0
		for j := i * fifth; j < (i+1)*fifth; j++ {
			if outcomes[j].Met(requests[j]) {
				met++
				sum += p.Subnets[outcomes[j].Subnet].Accuracy
			}
		}
		if attained := float64(met) / float64(fifth); attained < 0.999 {
			t.Errorf("with %d of %d workers %v is attained", workers-i, workers, attained)
		}
		accuracy = append(accuracy, sum/float64(met))
	}
	if !slices.IsSortedFunc(accuracy, func(a, b float64) int { return -int(1e4 * (a - b)) }) || accuracy[0]-accuracy[4] < 0.01 {
		t.Errorf("accuracy while workers go: %.4f", accuracy)
	}
}

// TestDrift has batches take twice as long as profiled: following that keeps
// most deadlines that trust in the profile loses.
func TestDrift(t *testing.T) {
	const ms = time.Millisecond
	p, err := sched.NewProfile([]sched.Subnet{
		linear("small", 0.74, ms, 8*ms/10, 16), linear("mid", 0.77, ms, 2*ms, 16), linear("large", 0.80, ms, 3*ms, 16),
	}, 16)
	if err != nil {
		t.Fatal(err)
	}
	sim := sched.Sim{
		Profile: p, Policy: "weft", Workers: 1,
		Requests: sched.OpenLoop(gammaArrivals(0.25*capacity(p, 0), 4, 20000, 2), slo),
		Latency:  func(_, subnet, images int) time.Duration { return 2 * p.Latency(subnet, images) },
	}
	follows := simulate(t, sim)
	sim.Options.FixedProfile = true
	trusts := simulate(t, sim)
	if follows.attainment < 0.98 || trusts.attainment > 0.92 {
		t.Errorf("following the drift %v, trusting the profile %v", follows, trusts)
	}
}

func TestSimDeterministic(t *testing.T) {
	p := sixSubnets(t)
	run := func() []sched.Outcome {
		outcomes, err := sched.Sim{
			Profile: p, Policy: "weft", Workers: 3,
			Requests: sched.OpenLoop(gammaArrivals(20000, 4, 5000, 4), slo),
			Faults:   []sched.Fault{{At: 50 * time.Millisecond, Worker: 1}, {At: 90 * time.Millisecond, Worker: 1, Up: true}},
		}.Run()
		if err != nil {
			t.Fatal(err)
		}
		return outcomes
	}
	if !slices.Equal(run(), run()) {
		t.Error("two runs differ")
	}
}

func TestSimWithoutWorkers(t *testing.T) {
	for _, policy := range []string{"weft", "slackfit-literal"} {
		requests := sched.OpenLoop([]time.Duration{0, 1}, slo)
		got := simulate(t, sched.Sim{Profile: sixSubnets(t), Policy: policy, Requests: requests})
		if got.attainment != 0 {
			t.Errorf("%s attains %v without workers", policy, got)
		}
	}
}
