package sched

// maxAcc is the paper's MaxAcc (A.4): the most accurate subnet that can serve
// the head alone, then the largest batch.
type maxAcc struct{}

func (maxAcc) Name() string { return "maxacc" }

func (maxAcc) Decide(v View) Decision {
	subnet := v.Profile.mostAccurate(v.Head, v.Slack)
	if subnet < 0 {
		return Decision{Late: true}
	}
	return Decision{Subnet: subnet, Batch: v.Profile.largestBatch(subnet, v.Slack)}
}

// maxBatch is the paper's MaxBatch (A.4): the largest batch that the smallest
// subnet can serve, then the most accurate subnet for as many as wait.
type maxBatch struct{}

func (maxBatch) Name() string { return "maxbatch" }

func (maxBatch) Decide(v View) Decision {
	b := min(v.Profile.largestBatch(0, v.Slack), v.fill())
	if b < v.Head {
		return Decision{Late: true}
	}
	return Decision{Subnet: v.Profile.mostAccurate(b, v.Slack), Batch: b}
}

// fixed serves one subnet, with the largest batch that the head's slack allows:
// adaptive batching and nothing else. With a subnet of the user's choice it is
// Clipper+ (SuperServe, section 6.1), the stand-in for Clipper, Clockwork and
// TF-Serving. With the cheapest subnet above an accuracy floor it is INFaaS (ATC
// '21) as SuperServe runs it, who leave the floor out. A head that is too late for
// a batch of its own is given up, as in Clockwork; without drop it takes the
// largest batch with it, and all are late.
type fixed struct {
	subnet int
	name   string
	drop   bool
}

func (f fixed) Name() string { return f.name }

func (f fixed) Decide(v View) Decision {
	b := v.Profile.largestBatch(f.subnet, v.Slack)
	if b < v.Head && !f.drop {
		b = v.Profile.MaxBatch
	}
	return Decision{Subnet: f.subnet, Batch: b, Late: b < v.Head}
}

// cheapest returns the subnet that gets through the most images a second among
// those with at least that accuracy, or -1 if there is none.
func (p *Profile) cheapest(accuracy float64) int {
	best := -1
	for i := p.Floor(accuracy); i < len(p.Subnets); i++ {
		if best < 0 || p.Latency(i, p.MaxBatch) < p.Latency(best, p.MaxBatch) {
			best = i
		}
	}
	return best
}
