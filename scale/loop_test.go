package scale

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"weft/sched"
)

const ms = time.Millisecond

// testProfile has six subnets of 0.70 to 0.80, whose batches take 20 + 3·f·images ms: a worker does 235 images a second
// in the smallest, 45 in the largest.
func testProfile(t testing.TB) *sched.Profile {
	t.Helper()
	var subnets []sched.Subnet
	for i, f := range []float64{1, 1.6, 2.4, 3.5, 5, 7} {
		s := sched.Subnet{Name: string(rune('a' + i)), Accuracy: 0.70 + 0.02*float64(i)}
		for b := range 16 {
			s.Latency = append(s.Latency, time.Duration((20+3*f*float64(b+1))*float64(ms)))
		}
		subnets = append(subnets, s)
	}
	p, err := sched.NewProfile(subnets, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// loop is a server in virtual time, whose workers an autoscaler starts and stops.
type loop struct {
	s       *sched.Scheduler
	rate    func(at time.Duration) float64 // images a second
	random  *rand.Rand
	scaler  *autoscaler
	wakes   time.Duration // the scheduler's timer
	running []batch       // one a worker; those that are idle have end 0
	starts  []time.Duration
	next    uint64
	open    map[uint64]time.Duration // deadlines by request
	minutes []minute
	replica []int // at each second
}

type batch struct {
	end    time.Duration
	number uint64
	ids    []uint64
	subnet int
}

// minute is what became of the requests that ended in ten seconds.
type minute struct {
	met, missed int
	accuracy    float64 // sum of the answers'
}

const window = 10 * time.Second

func (m minute) attainment() float64 { return float64(m.met) / float64(max(m.met+m.missed, 1)) }

// autoscaler asks for a number of replicas as Kubernetes' does: the metric over its target, rounded up, nothing within a
// tenth of what there is, up at once, down to the most that was asked for of late.
type autoscaler struct {
	goal      Goal
	meter     Meter
	every     time.Duration // between questions
	starting  time.Duration // of a worker
	stabilise time.Duration
	asked     []int // the latest answers, one a question
}

func (a *autoscaler) want(p *sched.Profile, now int) int {
	ratio := a.meter.Demand(p, a.goal) / a.goal.Utilisation / float64(now) // of the metric for each replica to its target
	want := now
	if math.Abs(ratio-1) > 0.1 {
		want = max(int(math.Ceil(ratio*float64(now)-1e-9)), 1)
	}
	a.asked = append(a.asked, want)
	if n := int(a.stabilise/a.every) + 1; len(a.asked) > n {
		a.asked = a.asked[len(a.asked)-n:]
	}
	for _, old := range a.asked {
		if old > want {
			want = max(want, min(old, now))
		}
	}
	return want
}

const never = time.Duration(math.MaxInt64)

// run lets time pass. scaled says whether the autoscaler acts.
func (l *loop) run(until, slo time.Duration, scaled bool) {
	p := l.s.Profile()
	l.minutes = make([]minute, until/window+2)
	l.open = map[uint64]time.Duration{}
	l.wakes = never
	arrival, look, question := time.Duration(0), time.Duration(0), l.scaler.every
	for now := time.Duration(0); now < until; {
		ends, worker := never, -1
		for w, b := range l.running {
			if b.end > 0 && b.end < ends {
				ends, worker = b.end, w
			}
		}
		start := never
		if len(l.starts) > 0 {
			start = l.starts[0]
		}
		now = min(ends, start, arrival, look, question, l.wakes)
		switch now {
		case ends:
			b := l.running[worker]
			l.running[worker].end = 0
			for _, id := range b.ids {
				l.end(id, now, p.Subnets[b.subnet].Accuracy)
			}
			l.apply(now, l.s.Step(now, sched.Event{Kind: sched.Done, Worker: worker, Batch: b.number}))
		case start:
			l.starts = l.starts[1:]
			l.running = append(l.running, batch{})
			l.apply(now, l.s.Step(now, sched.Event{Kind: sched.WorkerUp, Worker: len(l.running) - 1}))
		case arrival:
			l.next++
			l.open[l.next] = now + slo
			l.apply(now, l.s.Step(now, sched.Event{Kind: sched.Arrive, Request: sched.Request{
				ID: l.next, Arrival: now, Deadline: now + slo, Size: 1, Subnet: sched.AnySubnet,
			}}))
			arrival += time.Duration(l.random.ExpFloat64() / l.rate(now) * float64(time.Second))
		case look:
			l.scaler.meter.Observe(now, l.s.Load())
			l.replica = append(l.replica, len(l.running)+len(l.starts))
			look += time.Second
		case question:
			if want := l.scaler.want(p, len(l.running)+len(l.starts)); scaled {
				l.scale(now, want)
			}
			question += l.scaler.every
		default:
			l.wakes = never
			l.apply(now, l.s.Step(now, sched.Event{}))
		}
	}
}

// scale starts workers, or takes away the last ones, whose batches are run again by others.
func (l *loop) scale(now time.Duration, want int) {
	for len(l.running)+len(l.starts) < want {
		l.starts = append(l.starts, now+l.scaler.starting)
	}
	for len(l.running) > want {
		last := len(l.running) - 1
		l.running = l.running[:last]
		l.apply(now, l.s.Step(now, sched.Event{Kind: sched.WorkerDown, Worker: last}))
	}
}

func (l *loop) apply(now time.Duration, actions []sched.Action) {
	for _, a := range actions {
		switch a.Kind {
		case sched.Wait:
			l.wakes = max(a.Until, now)
		case sched.Drop:
			l.end(a.ID, never, 0)
		case sched.Dispatch:
			takes := l.s.Profile().Latency(a.Subnet, a.Images)
			l.running[a.Worker] = batch{now + takes, a.Batch, append([]uint64(nil), a.IDs...), a.Subnet}
		}
	}
}

// end accounts for a request at its deadline.
func (l *loop) end(id uint64, at time.Duration, accuracy float64) {
	deadline := l.open[id]
	delete(l.open, id)
	m := &l.minutes[min(int(deadline/window), len(l.minutes)-1)]
	if at > deadline {
		m.missed++
		return
	}
	m.met++
	m.accuracy += accuracy
}

// total sums up the windows from one time to another.
func (l *loop) total(from, to time.Duration) (sum minute) {
	for _, m := range l.minutes[from/window : to/window] {
		sum.met += m.met
		sum.missed += m.missed
		sum.accuracy += m.accuracy
	}
	return sum
}

// turns counts how often the number of replicas changes its direction.
func (l *loop) turns() (turns int) {
	direction := 0
	for i := 1; i < len(l.replica); i++ {
		if d := l.replica[i] - l.replica[i-1]; d*direction < 0 {
			turns++
			direction = d
		} else if d != 0 {
			direction = d
		}
	}
	return turns
}

// A step of the load to five times as much and back: attainment comes back soon after the new workers have, and goes on;
// the workers go again once the load has, and their number changes its direction no more often than the load.
func TestStepOfTheLoad(t *testing.T) {
	const (
		slo             = 250 * ms
		up, down, until = 60 * time.Second, 180 * time.Second, 420 * time.Second
	)
	for _, c := range []struct {
		name string
		goal Goal
	}{
		{"deadlines", Goal{Utilisation: 0.8, Horizon: 30 * time.Second}},
		{"accuracy", Goal{Utilisation: 0.8, Horizon: 30 * time.Second, Accuracy: 0.75}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			run := func(scaled bool) *loop {
				s, err := sched.New("weft", testProfile(t), sched.Options{Margin: ms})
				if err != nil {
					t.Fatal(err)
				}
				l := &loop{
					s: s, random: rand.New(rand.NewPCG(1, 2)),
					rate: func(at time.Duration) float64 {
						if at >= up && at < down {
							return 1000
						}
						return 200
					},
					scaler: &autoscaler{goal: c.goal, every: 15 * time.Second, starting: 10 * time.Second, stabilise: 60 * time.Second},
				}
				l.starts = make([]time.Duration, c.goal.Workers(200*Cost(s.Profile(), c.goal.Accuracy, slo)))
				l.run(until, slo, scaled)
				return l
			}
			l, fixed := run(true), run(false)
			before, during, after := l.total(0, up), l.total(up+40*time.Second, down), l.total(down, until)
			t.Logf("workers: %d, then %d, at the end %d; attainment %.4f, in the rise %.4f, %.4f, %.4f; accuracy %.4f, %.4f, %.4f; with as many workers as at first %.4f",
				l.replica[59], l.replica[179], l.replica[len(l.replica)-1], before.attainment(), l.total(up, up+40*time.Second).attainment(),
				during.attainment(), after.attainment(), before.accuracy/float64(before.met), during.accuracy/float64(during.met),
				after.accuracy/float64(after.met), fixed.total(up+40*time.Second, down).attainment())
			for when, m := range map[string]minute{"before": before, "at the higher load": during, "afterwards": after} {
				if m.attainment() < 0.999 {
					t.Errorf("attainment %s %.4f, want 0.999", when, m.attainment())
				}
				if a := m.accuracy / float64(m.met); a < c.goal.Accuracy-0.002 {
					t.Errorf("accuracy %s %.4f, want %.2f", when, a, c.goal.Accuracy)
				}
			}
			if l.turns() > 1 {
				t.Errorf("the number of workers changed its direction %d times, the load once: %v", l.turns(), l.replica)
			}
			if first, last := l.replica[59], l.replica[len(l.replica)-1]; last > first+1 {
				t.Errorf("%d workers at the end, %d at first", last, first)
			}
			if a := fixed.total(up+40*time.Second, down).attainment(); c.goal.Accuracy == 0 && a > 0.9 {
				t.Errorf("attainment %.4f without more workers: the step was no challenge", a)
			}
		})
	}
}
