package serve

import (
	"fmt"
	"time"

	"weft/bundle"
	"weft/sched"
	"weft/supernet"
)

// planExecutor runs a bundle's subnets in this process: actuating one is picking its
// plan, all of which point into the same weights.
type planExecutor struct {
	plans    []*supernet.Plan // by index of the profile
	maxBatch int
	worker   *supernet.Worker // which other models' executors use too
	reserved bool
}

func (e *planExecutor) Run(s int, images []float32, n int, logits []float32) error {
	if !e.reserved { // not before: until now, the worker may have run another model
		e.reserved = true
		for _, plan := range e.plans {
			e.worker.Reserve(plan, e.maxBatch)
		}
	}
	e.worker.Run(e.plans[s], images, n, logits)
	return nil
}

// wholeNorms is up to how many bytes of normalisations are kept in full precision: where
// there are so many subnets that these count, 8 bits a value cost little: 0.02 points of
// accuracy at most in the built-in model.
const wholeNorms = 16 << 20

// Plans compiles what a bundle serves, in the order of its Points, with the tuning of its
// profile or, if that is nil, by rule.
func Plans(b *bundle.Bundle, tuning *supernet.Tuning) ([]*supernet.Plan, error) {
	if tuning == nil {
		rule := b.Net.Rule(b.Net.WinogradBytes())
		tuning = &rule
	}
	points := b.Points()
	archs := make([]supernet.Arch, len(points))
	for i, s := range points {
		var err error
		if archs[i], err = b.Net.Space.Parse(s.Arch); err != nil {
			return nil, err
		}
	}
	norms, err := b.Net.Space.NormBytes(archs)
	if err != nil {
		return nil, err
	}
	table := supernet.NewTableWith(b.Net, b.Norms, supernet.Options{Tuning: *tuning, Compact: norms > wholeNorms})
	quantised := supernet.NewInt8(b.Net, b.Norms, b.Ranges)
	quantised.WinogradBytes = tuning.Bytes
	var plans []*supernet.Plan
	for i, s := range points {
		compile := table.Plan
		if s.Int8 {
			compile = quantised.Plan
		}
		p, err := compile(archs[i])
		if err != nil {
			return nil, err
		}
		plans = append(plans, p)
	}
	return plans, nil
}

// Local returns the model that serves a bundle with these workers in this process, which
// may be those of other models too. It has the latencies of a profile measured on this kind
// of worker; a batch counts as no faster than a smaller one, whatever noise says. Subnets
// that another one dominates are left out.
func Local(name string, b *bundle.Bundle, p *bundle.Profile, workers []*supernet.Worker) (Model, error) {
	space := b.Net.Space
	m := Model{Name: name, H: space.Input.H, W: space.Input.W, C: space.Input.C, Classes: space.Classes, ClassNames: b.ClassNames}
	plans, err := Plans(b, p.Tuning)
	if err != nil {
		return m, err
	}
	if m.Profile, err = Profile(b, p); err != nil {
		return m, err
	}
	byName := make(map[string]*supernet.Plan, len(plans))
	for i, s := range b.Points() {
		byName[s.Name()] = plans[i]
	}
	served := make([]*supernet.Plan, len(m.Profile.Subnets))
	for i, s := range m.Profile.Subnets {
		served[i] = byName[s.Name]
	}
	for _, w := range workers {
		m.Executors = append(m.Executors, &planExecutor{plans: served, maxBatch: m.Profile.MaxBatch, worker: w})
	}
	return m, nil
}

// Executors returns one for each of the workers, which may be those of other models too. It
// runs all subnets of the bundle, in the order of its Points and with the tuning of a profile
// measured on this kind of worker, for those who schedule elsewhere.
func Executors(b *bundle.Bundle, p *bundle.Profile, workers []*supernet.Worker) (execs []Executor, err error) {
	plans, err := Plans(b, p.Tuning)
	if err != nil {
		return nil, err
	}
	limit := 0
	for _, t := range p.Subnets {
		limit = max(limit, len(t.LatencyUS))
	}
	for _, w := range workers {
		execs = append(execs, &planExecutor{plans: plans, maxBatch: limit, worker: w})
	}
	return execs, nil
}

// Profile returns what a scheduler is to know about a bundle whose latencies were
// measured; see Local.
func Profile(b *bundle.Bundle, p *bundle.Profile) (*sched.Profile, error) {
	timings := make(map[string][]float64, len(p.Subnets))
	for _, t := range p.Subnets {
		timings[t.Arch] = t.LatencyUS
	}
	var subnets []sched.Subnet
	for _, s := range b.Points() {
		us, ok := timings[s.Name()]
		if !ok {
			return nil, fmt.Errorf("subnet %s is not in the profile; measure it again with weft profile", s.Name())
		}
		latency := make([]time.Duration, len(us))
		longest := time.Duration(0)
		for i, v := range us {
			longest = max(longest, time.Duration(v*float64(time.Microsecond)))
			latency[i] = longest
		}
		subnets = append(subnets, sched.Subnet{Name: s.Name(), Accuracy: s.Accuracy, Latency: latency})
	}
	return sched.NewProfile(subnets, 0)
}
