package scale

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"weft/sched"
)

// cheapest finds the cost of the best mix by trying mixes of all pairs in fine steps.
func cheapest(p *sched.Profile, accuracy float64, budget time.Duration) float64 {
	const steps = 2000
	least := math.Inf(1)
	for i, a := range p.Subnets {
		for j, b := range p.Subnets {
			for k := range steps + 1 {
				share := float64(k) / steps
				if (1-share)*a.Accuracy+share*b.Accuracy >= min(accuracy, p.Subnets[len(p.Subnets)-1].Accuracy)-1e-12 {
					least = min(least, (1-share)*perImage(p, i, budget)+share*perImage(p, j, budget))
				}
			}
		}
	}
	return least
}

func TestCostIsThatOfTheBestMix(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 30 {
		var subnets []sched.Subnet
		for i := range 2 + random.IntN(3) {
			s := sched.Subnet{Name: string(rune('a' + i)), Accuracy: float64(random.IntN(100)) / 100}
			base, each := 1+20*random.Float64(), 0.1+5*random.Float64()
			for b := range 8 {
				s.Latency = append(s.Latency, time.Duration((base+each*float64(b+1))*float64(ms)))
			}
			subnets = append(subnets, s)
		}
		p, err := sched.NewProfile(subnets, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, budget := range []time.Duration{ms, 20 * ms, time.Second} {
			for _, accuracy := range []float64{0, 0.3, random.Float64(), 0.99} {
				got, want := Cost(p, accuracy, budget), cheapest(p, accuracy, budget)
				if got > want*1.0001 || got < want*0.99 { // the mixes tried are in steps
					t.Errorf("accuracy %.3f within %v: cost %.6f, want %.6f", accuracy, budget, got, want)
				}
			}
		}
	}
}

// A steady load gives what the formula says, whenever and however often one looks.
func TestDemandOfASteadyLoad(t *testing.T) {
	p := testProfile(t)
	goal := Goal{Utilisation: 0.8, Horizon: 10 * time.Second}
	for _, every := range []time.Duration{100 * ms, time.Second, 7 * time.Second} {
		var m Meter
		if m.Demand(p, goal) != 0 || m.Active(goal) {
			t.Error("demand before the first look")
		}
		const rate, budget, drift = 100, 300 * ms, 1.5
		now := time.Hour
		for range 20 {
			passed := now - time.Hour
			m.Observe(now, sched.Load{
				Images:  int64(rate * passed.Seconds()),
				Allowed: time.Duration(math.Round(rate * passed.Seconds() * float64(budget))), // may wrap around
				Work:    time.Duration(rate * passed.Seconds() * float64(ms)),
				Waiting: 2 * time.Second, Drift: drift,
			})
			now += every
		}
		want := drift * (rate*Cost(p, 0, budget) + 2./10)
		if got := m.Demand(p, goal); math.Abs(got-want) > 0.01*want {
			t.Errorf("looked at every %v: demand %.4f, want %.4f", every, got, want)
		}
		if !m.Active(goal) {
			t.Error("not active under load")
		}
		n := goal.Workers(want)
		if goal.Debt(want, n) != 0 || goal.Debt(want, n-1) <= 0 {
			t.Errorf("%d workers have a debt of %v, one less %v", n, goal.Debt(want, n), goal.Debt(want, n-1))
		}
		if d := goal.Debt(want, 0); math.Abs(d-10*want) > 1e-9 {
			t.Errorf("debt without workers %v, want all of the work, %v", d, 10*want)
		}
	}
}

// Requests that insist on accuracy need more than the goal; one that starts again counts from zero.
func TestDemandOfRequests(t *testing.T) {
	p := testProfile(t)
	goal := Goal{Utilisation: 1, Horizon: time.Second}
	var m Meter
	m.Observe(0, sched.Load{Drift: 1})
	m.Observe(time.Second, sched.Load{Images: 10, Allowed: time.Hour, Work: 500 * ms, Drift: 1})
	if got := m.Demand(p, goal); math.Abs(got-0.5) > 1e-9 {
		t.Errorf("demand %v, want the 0.5 that the requests need", got)
	}
	m.Observe(2*time.Second, sched.Load{Images: 3, Allowed: time.Minute, Drift: 1})
	if got := m.Demand(p, goal); got <= 0 || got > 0.5 {
		t.Errorf("demand %v after another start", got)
	}
}
