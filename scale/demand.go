// Package scale says how many workers the load needs, so that somebody else can start them: KEDA asks for it over gRPC
// ([Scaler]).
//
// The demand of a model is the worker time that it needs per second,
//
//	demand = drift · (rate · cost + waiting / horizon)
//
// where rate is the number of images that arrive a second, cost the least worker time of an image at the accuracy wanted
// (see [Cost]), waiting the least worker time for what waits, and drift how long batches take of late as a multiple of
// the profile. The SLO debt of n workers is the work of the next horizon beyond what they may be asked for,
//
//	debt(n) = horizon · max(0, demand - utilisation · n)
//
// in worker seconds: that much belongs to requests that are predicted to miss their deadline or to be answered below
// the accuracy wanted, if they go on to arrive as they do. The least n without debt is demand / utilisation, rounded up,
// which is how KEDA's autoscaler divides a metric by its target.
package scale

import (
	"math"
	"time"

	"weft/sched"
)

// Cost returns the least worker time of an image, in seconds, for a mean accuracy of at least the one wanted (0: any).
// Subnets are mixed as needed; a mix that is less accurate than wanted in the mean is out, and if the most accurate
// subnet is too, its cost it is. Batches are the largest that take at most half of the budget, the time until a
// request's deadline, as it may have to wait while another batch runs (Nexus, SOSP '19, section 4.1).
func Cost(p *sched.Profile, accuracy float64, budget time.Duration) float64 {
	least := math.Inf(1)
	for i, a := range p.Subnets {
		ca := perImage(p, i, budget)
		if a.Accuracy >= accuracy || i == len(p.Subnets)-1 {
			least = min(least, ca)
		}
		for j, b := range p.Subnets[i+1:] {
			if a.Accuracy < accuracy && accuracy <= b.Accuracy {
				share := (accuracy - a.Accuracy) / (b.Accuracy - a.Accuracy)
				least = min(least, (1-share)*ca+share*perImage(p, i+1+j, budget))
			}
		}
	}
	return least
}

// perImage returns the worker time of an image in one subnet, in seconds.
func perImage(p *sched.Profile, subnet int, budget time.Duration) float64 {
	b := p.MaxBatch
	for b > 1 && p.Latency(subnet, b) > budget/2 {
		b--
	}
	return p.Latency(subnet, b).Seconds() / float64(b)
}

// Goal is what the workers are to achieve.
type Goal struct {
	Accuracy    float64       // mean of the answers, 0..1; 0 asks for deadlines alone
	Utilisation float64       // share of their time that workers may be asked for; the rest is for bursts
	Horizon     time.Duration // within which what waits is to be done
}

// Time constants of the averages. The quick one sees a rise, the slow one keeps a lull from sending workers away; the
// greater demand counts.
const (
	quick = 5 * time.Second
	slow  = time.Minute
)

// Meter follows the load of one model. The zero value is ready; it begins with no load.
type Meter struct {
	began    bool
	at       time.Duration
	last     sched.Load
	averages [2]average // quick, slow
	busy     time.Duration
}

// average is of what arrives a second. Its sums are weighted by age; weight is the sum of the weights, less than 1 at
// first, so that a server that starts does not take the load for less than it is.
type average struct {
	weight  float64
	images  float64
	work    float64 // least worker seconds
	allowed float64 // seconds until the deadlines
}

// Observe tells the load at a time, which never decreases. Once a second is often enough.
func (m *Meter) Observe(now time.Duration, l sched.Load) {
	passed := now - m.at
	if !m.began || l.Images < m.last.Images {
		m.began, m.at, m.last = true, now, l
		return
	}
	if passed <= 0 {
		return
	}
	d := average{
		weight:  1,
		images:  float64(l.Images-m.last.Images) / passed.Seconds(),
		work:    float64(l.Work-m.last.Work) / float64(passed),
		allowed: float64(l.Allowed-m.last.Allowed) / float64(passed),
	}
	for i, memory := range []time.Duration{quick, slow} {
		m.averages[i].add(d, math.Exp(-float64(passed)/float64(memory)))
	}
	if l.Images > m.last.Images || l.Waiting > 0 {
		m.busy = now
	}
	m.at, m.last = now, l
}

func (a *average) add(d average, old float64) {
	a.weight = old*a.weight + (1-old)*d.weight
	a.images = old*a.images + (1-old)*d.images
	a.work = old*a.work + (1-old)*d.work
	a.allowed = old*a.allowed + (1-old)*d.allowed
}

// Active says whether anything arrived or waited within the last horizon.
func (m *Meter) Active(g Goal) bool { return m.busy > 0 && m.at-m.busy < g.Horizon }

// Demand returns the worker time needed per second.
func (m *Meter) Demand(p *sched.Profile, g Goal) float64 {
	waiting := m.last.Waiting.Seconds() / g.Horizon.Seconds()
	return m.last.Drift * (m.offered(p, g) + waiting)
}

// offered returns rate · cost, of the time constant for which it is greater.
func (m *Meter) offered(p *sched.Profile, g Goal) float64 {
	most := 0.
	for _, a := range m.averages {
		if a.images > 0 {
			budget := time.Duration(a.allowed / a.images * float64(time.Second))
			work := max(a.images*Cost(p, g.Accuracy, budget), a.work) // requests may ask for more than the goal
			most = max(most, work/a.weight)
		}
	}
	return most
}

// Debt returns the SLO debt of so many workers, in worker seconds over the horizon.
func (g Goal) Debt(demand float64, workers int) float64 {
	return g.Horizon.Seconds() * max(0, demand-g.Utilisation*float64(workers))
}

// Workers returns the least number of workers without debt.
func (g Goal) Workers(demand float64) int { return int(math.Ceil(demand / g.Utilisation)) }
