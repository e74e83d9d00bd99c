package sched_test

import (
	"fmt"
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
	s, err := sched.New(policy, sixSubnets(t), sched.Options{})
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
	for _, policy := range []string{"weft", "slackfit", "slackfit-literal", "maxacc", "maxbatch", "fixed:s3"} {
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
	}{{"weft", 10}, {"weft", 10000}, {"slackfit", 10}, {"slackfit", 10000}} {
		b.Run(fmt.Sprintf("%s/waiting=%d", c.name, c.depth), func(b *testing.B) {
			l := newLoad(b, c.name, c.depth)
			b.ReportAllocs()
			steps := 0
			for b.Loop() {
				steps += l.round()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(steps), "ns/step")
		})
	}
}
