package sched

import (
	"slices"
	"time"
)

// switching serves one model at a time and loads another when the load changes,
// as one does without shared weights (Model-Switching, HotCloud '20): every period
// it aims for the most accurate subnet that sustains the rate of the latest
// period. Workers load it one after the other, each out of service meanwhile, and
// the others go on with what they hold.
type switching struct {
	forecast
	name   string
	load   []time.Duration
	target int
	next   time.Duration // when the next worker may load
}

// switchPeriod is how often the target is chosen anew.
const switchPeriod = time.Second

// loadFactor is the time for which a model loads, in units of the latency of one
// image, where Options.Load says nothing: SuperServe, Fig 1a.
const loadFactor = 14.1

// loads returns loadFactor times the latency of one image, by subnet.
func (p *Profile) loads() []time.Duration {
	l := make([]time.Duration, len(p.Subnets))
	for i := range l {
		l[i] = time.Duration(loadFactor * float64(p.Latency(i, 1)))
	}
	return l
}

func (s *switching) Name() string { return s.name }

func (s *switching) Decide(v View) Decision {
	if s.roll(&v) {
		s.target = s.sustains(&v)
	}
	d := v.loaded(s.target)
	lacks := v.Free > v.Loaded[s.target]
	if lacks && (v.Now >= s.next || d.Late && v.Free > v.held()) {
		s.next = v.Now + s.load[s.target]
		return Decision{Subnet: s.target, Load: true}
	}
	return d
}

// sustains returns the most accurate subnet that all workers together serve at
// the forecast rate.
func (s *switching) sustains(v *View) int {
	for i := range slices.Backward(v.Profile.Subnets) {
		if s.rate*headroom*s.perImage(v.Profile, i) <= v.Workers {
			return i
		}
	}
	return 0
}

// loaded chooses among the subnets that free workers hold: the target if it can
// serve the head in time, else the one that serves the largest batch.
func (v *View) loaded(target int) Decision {
	best := Decision{Late: true}
	for i, n := range v.Loaded {
		if n == 0 {
			continue
		}
		b := min(v.Profile.largestBatch(i, v.Slack), v.fill())
		if b >= v.Head && (b > best.Batch || i == target) {
			best = Decision{Subnet: i, Batch: b}
		}
		if i == target && b >= v.Head {
			break
		}
	}
	return best
}

// held is the number of free workers that hold some subnet.
func (v *View) held() (n int) {
	for _, l := range v.Loaded {
		n += l
	}
	return n
}
