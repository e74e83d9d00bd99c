package sched_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"weft/sched"
)

// load is a scheduler under a steady load: as many images leave as arrive,
// behind a standing queue.
type load struct {
	s     *sched.Scheduler
	now   time.Duration
	id    uint64
	batch uint64 // that worker 0 runs
	size  int    // of it
}

func newLoad(t testing.TB, policy string, depth int) *load {
	s, err := sched.New(policy, sixSubnets(t), sched.Options{MaxQueue: 1 << 20})
	if err != nil {
		t.Fatal(err)
	}
	l := &load{s: s}
	l.step(sched.Event{Kind: sched.WorkerUp})
	for range depth {
		l.arrive()
	}
	for range 1000 {
		l.round()
	}
	return l
}

func (l *load) step(ev sched.Event) {
	for _, a := range l.s.Step(l.now, ev) {
		if a.Kind == sched.Dispatch {
			l.batch, l.size = a.Batch, len(a.IDs)
		}
	}
}

func (l *load) arrive() {
	l.id++
	l.now++
	l.step(sched.Event{Kind: sched.Arrive, Request: sched.Request{
		ID: l.id, Arrival: l.now, Deadline: l.now + time.Hour, Size: 1, Subnet: sched.AnySubnet,
	}})
}

// round ends a batch, and as many requests arrive. It returns the steps it took.
func (l *load) round() int {
	l.step(sched.Event{Kind: sched.Done, Batch: l.batch})
	n := l.size
	for range n {
		l.arrive()
	}
	return n + 1
}

func TestStepAllocatesNothing(t *testing.T) {
	for _, policy := range []string{"weft", "slackfit", "slackfit-literal", "maxacc", "maxbatch", "fixed:s3", "infaas", "proteus:1us", "switch:1us"} {
		l := newLoad(t, policy, 100)
		if n := testing.AllocsPerRun(1000, func() { l.round() }); n != 0 {
			t.Errorf("%s: a round allocates %v times", policy, n)
		}
	}
}

func BenchmarkStep(b *testing.B) {
	for _, c := range []struct {
		name  string
		depth int
	}{{"weft", 10}, {"weft", 100000}, {"slackfit", 10}, {"slackfit", 100000}} {
		b.Run(fmt.Sprintf("%s/waiting=%d", c.name, c.depth), func(b *testing.B) {
			l := newLoad(b, c.name, c.depth)
			b.ReportAllocs()
			b.ResetTimer()
			steps := 0
			for b.Loop() {
				steps += l.round()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(steps), "ns/step")
		})
	}
}

// slowSubnets has latencies of 1 + 0.8·b·f ms, f spread evenly over 1..4: a full
// batch of the largest subnet takes longer than the SLO of 50 ms.
func slowSubnets(t testing.TB) *sched.Profile {
	var subnets []sched.Subnet
	for i, s := range sixSubnets(t).Subnets {
		each := time.Duration(0.8 * (1 + 3*float64(i)/5) * float64(time.Millisecond))
		subnets = append(subnets, linear(s.Name, s.Accuracy, time.Millisecond, each, 16))
	}
	p, err := sched.NewProfile(subnets, 16)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// BenchmarkPolicies gives the table of docs/adr/0001-slackfit.md: loads are
// relative to the smallest subnet's capacity; batches take 1.1 times what the
// profile says on average, and up to 2.6 times.
func BenchmarkPolicies(b *testing.B) {
	policies := []string{"weft", "slackfit", "slackfit-literal", "maxacc", "maxbatch", "fixed:s0", "fixed:s1", "fixed:s2", "fixed:s5"}
	for name, p := range map[string]*sched.Profile{"fast": sixSubnets(b), "slow": slowSubnets(b)} {
		for _, load := range []float64{0.3, 0.5, 0.7, 0.9} {
			requests := sched.OpenLoop(gammaArrivals(2*load*capacity(p, 0), 4, 60000, 1), slo)
			for _, policy := range policies {
				b.Run(fmt.Sprintf("%s/load=%v/%s", name, load, policy), func(b *testing.B) {
					var s score
					for b.Loop() {
						s = simulate(b, sched.Sim{Profile: p, Policy: policy, Workers: 2, Requests: requests, Latency: noisy(p)})
					}
					b.ReportMetric(s.attainment, "attained")
					b.ReportMetric(100*s.accuracy, "%accuracy")
				})
			}
		}
	}
}

// noisy returns latencies that exceed the profile's by an exponentially
// distributed tenth, and in one batch of fifty by up to twice that.
func noisy(p *sched.Profile) func(worker, subnet, images int) time.Duration {
	r := rand.New(rand.NewPCG(1, 1))
	return func(_, subnet, images int) time.Duration {
		factor := 1 + min(0.1*r.ExpFloat64(), 0.3)
		if r.IntN(50) == 0 {
			factor *= 1 + r.Float64()
		}
		return time.Duration(factor * float64(p.Latency(subnet, images)))
	}
}
