package sched_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"weft/sched"
)

// TestGroups runs the scripts of testdata/groups; -rewrite records what happens.
//
//	add NAME ...                           as new in TestScenarios: one more model
//	remove NAME
//	step                                   an event a line, as in TestScenarios, but
//	AT NAME arrive|cancel|up ...           of the model of that name
//	AT down|leave|done WORKER
func TestGroups(t *testing.T) {
	datadriven.Walk(t, "testdata/groups", func(t *testing.T, path string) {
		g := &groupScenario{group: sched.NewGroup(), models: map[string]*scenario{}, batch: map[int]uint64{}}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "add":
				return g.add(t, d)
			case "remove":
				name := d.CmdArgs[0].Key
				g.group.Remove(g.models[name].s)
				delete(g.models, name)
				return ""
			case "step":
				return g.steps(t, d)
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

type groupScenario struct {
	group  *sched.Group
	models map[string]*scenario
	batch  map[int]uint64 // that each worker runs
}

func (g *groupScenario) add(t *testing.T, d *datadriven.TestData) string {
	sc := &scenario{group: g.group, batch: g.batch}
	out := sc.start(t, d)
	if sc.s == nil {
		return out
	}
	g.models[d.CmdArgs[0].Key] = sc
	return fmt.Sprintf("number %d\n%s", sc.s.Number(), out)
}

func (g *groupScenario) name(number int) string {
	for name, sc := range g.models {
		if sc.s.Number() == number {
			return name
		}
	}
	return "?"
}

func (g *groupScenario) steps(t *testing.T, d *datadriven.TestData) string {
	var out strings.Builder
	for line := range strings.Lines(d.Input) {
		f := strings.Fields(line)
		now := duration(t, f[0])
		sc, f := &scenario{batch: g.batch}, f[1:]
		number := 0
		if m := g.models[f[0]]; m != nil {
			sc, f, number = m, f[1:], m.s.Number()
		}
		fmt.Fprintln(&out, strings.TrimSpace(line))
		for _, a := range g.group.Step(now, number, sc.event(t, now, f)) {
			who := "  "
			if a.Kind != sched.Wait {
				who = "   " + g.name(a.Model) + ":"
			}
			if a.Kind == sched.Dispatch {
				g.batch[a.Worker] = a.Batch
			}
			fmt.Fprintln(&out, who, a)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(g.models)) {
		s := g.models[name].s
		requests, _ := s.Waiting()
		fmt.Fprintf(&out, "%s: %d wait, %d of %d workers free\n", name, requests, s.Free(), s.Up())
	}
	return out.String()
}

// A step of one model costs the others' queues nothing, and allocates nothing.
func TestGroupStepAllocatesNothing(t *testing.T) {
	l := newGroupLoad(t, 4, 100)
	if n := testing.AllocsPerRun(1000, func() { l.round() }); n != 0 {
		t.Errorf("a round allocates %v times", n)
	}
}

// groupLoad is several models under a steady load.
type groupLoad struct {
	g     *sched.Group
	now   time.Duration
	id    uint64
	batch uint64 // that worker 0 runs
	model int    // of it
	size  int    // of it
}

func newGroupLoad(t testing.TB, models, depth int) *groupLoad {
	l := &groupLoad{g: sched.NewGroup()}
	for i := range models {
		if _, err := l.g.Add("weft", sixSubnets(t), sched.Options{MaxQueue: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		l.step(i, sched.Event{Kind: sched.WorkerUp})
		for range depth {
			l.arrive(i)
		}
	}
	for range 1000 {
		l.round()
	}
	return l
}

func (l *groupLoad) step(model int, ev sched.Event) {
	for _, a := range l.g.Step(l.now, model, ev) {
		if a.Kind == sched.Dispatch {
			l.batch, l.model, l.size = a.Batch, a.Model, len(a.IDs)
		}
	}
}

func (l *groupLoad) arrive(model int) {
	l.id++
	l.now++
	l.step(model, sched.Event{Kind: sched.Arrive, Request: sched.Request{
		ID: l.id, Arrival: l.now, Deadline: l.now + time.Hour, Size: 1, Subnet: sched.AnySubnet,
	}})
}

// round ends a batch, and as many requests for its model arrive. It returns the steps it took.
func (l *groupLoad) round() int {
	model, n := l.model, l.size
	l.step(0, sched.Event{Kind: sched.Done, Batch: l.batch})
	for range n {
		l.arrive(model)
	}
	return n + 1
}

func BenchmarkGroupStep(b *testing.B) {
	for _, models := range []int{1, 2, 8} {
		b.Run(fmt.Sprintf("models=%d", models), func(b *testing.B) {
			l := newGroupLoad(b, models, 100000/models)
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
