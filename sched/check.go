package sched

import "fmt"

// Check returns a warning for each of the three properties (SuperServe, section
// 4.2) that accuracy scaling relies on and that the profile does not have:
//
//	P1  latency grows with the batch
//	P2  latency grows with accuracy
//	P3  a large batch of a small subnet takes about as long as a small batch of
//	    a large one: the smallest gets through clearly more images a second
//
// Neighbouring figures may be out of order by checkTolerance, as measurements are.
func (p *Profile) Check() []string {
	var warnings []string
	warn := func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	for i := range p.Subnets {
		if b := p.firstFall(i); b > 0 {
			warn("P1: subnet %s takes %v for %d images but %v for %d: profile again on an idle machine",
				p.Subnets[i].Name, p.Latency(i, b), b, p.Latency(i, b+1), b+1)
		}
	}
	for i := 1; i < len(p.Subnets); i++ {
		if b := p.firstFaster(i); b > 0 {
			warn("P2: subnet %s takes %v for %d images, the more accurate %s only %v: profile again on an idle machine",
				p.Subnets[i-1].Name, p.Latency(i-1, b), b, p.Subnets[i].Name, p.Latency(i, b))
		}
	}
	last := len(p.Subnets) - 1
	if large, small := p.Latency(last, p.MaxBatch), p.Latency(0, p.MaxBatch); last > 0 && float64(large) < minGain*float64(small) {
		warn("P3: %d images take the largest subnet %v and the smallest %v: a fixed overhead dominates and switching gains little",
			p.MaxBatch, large, small)
	}
	return warnings
}

// checkTolerance is the relative disorder that passes for noise.
const checkTolerance = 0.1

// minGain is the least ratio of the largest to the smallest subnet's latency
// that makes switching between them worthwhile.
const minGain = 1.25

// firstFall returns the first batch size that takes longer than the next, or 0.
func (p *Profile) firstFall(subnet int) int {
	for b := 1; b < p.MaxBatch; b++ {
		if float64(p.Latency(subnet, b+1)) < (1-checkTolerance)*float64(p.Latency(subnet, b)) {
			return b
		}
	}
	return 0
}

// firstFaster returns the first batch size at which the subnet is faster than
// the less accurate one before it, or 0.
func (p *Profile) firstFaster(subnet int) int {
	for b := 1; b <= p.MaxBatch; b++ {
		if float64(p.Latency(subnet, b)) < (1-checkTolerance)*float64(p.Latency(subnet-1, b)) {
			return b
		}
	}
	return 0
}
