package sched

// weft is the default policy. Where SlackFit looks at the slack of one request,
// it looks at what all that wait need: the most accurate subnet at which they
// would be done, by all workers in full batches, within half the head's slack.
// The other half is for those that come meanwhile and for batches that take
// longer than profiled. Accuracy thus falls step by step as the queue grows,
// long before deadlines press, and mixing neighbouring subnets is what gives
// the highest mean accuracy under a concave frontier.
//
// docs/adr/0001-slackfit.md has the measurements behind the constants.
type weft struct{}

func (weft) Name() string { return "weft" }

func (weft) Decide(v View) Decision {
	p, n := v.Profile, v.fill()
	if p.Latency(0, n) > v.Slack {
		return v.hurry(n)
	}
	half := v.Slack / 2
	for i := len(p.Subnets) - 1; i > 0; i-- {
		// images / (workers · MaxBatch / latency) <= half, without the divisions
		drains := int64(v.Images)*int64(p.Latency(i, p.MaxBatch)) <= int64(half)*int64(v.Workers*p.MaxBatch)
		if drains && p.Latency(i, n) <= half {
			return Decision{Subnet: i, Batch: n}
		}
	}
	return Decision{Subnet: 0, Batch: n}
}

// hurry decides when not even the smallest subnet can serve a batch of all that
// wait (n images) in time for the head. Under a backlog the head goes: small
// batches would cost the throughput that those behind it need. Otherwise it is
// the head that is in a hurry rather than the system, and a smaller batch goes
// out unless that would halve the throughput.
func (v *View) hurry(n int) Decision {
	p := v.Profile
	b := p.largestBatch(0, v.Slack)
	backlog := v.Images > 2*p.MaxBatch*v.Workers
	if b < v.Head || backlog || 2*int64(b)*int64(p.Latency(0, n)) < int64(n)*int64(p.Latency(0, b)) {
		return Decision{Late: true}
	}
	return Decision{Subnet: 0, Batch: b}
}
