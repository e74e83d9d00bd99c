package sched

import "time"

// forecast is what the planning policies know about the load: the rate of the
// latest period is what they expect of the next.
type forecast struct {
	period  time.Duration
	from    time.Duration // when the period under way began
	before  int64         // images that had arrived by then
	begun   bool
	planned bool
	// rate is that of the latest complete period, in images a second.
	rate float64
	// budget is the longest slack seen: what a request has when it arrives.
	budget time.Duration
}

// headroom is the load to plan for, relative to what is expected.
const headroom = 1.05

// firstPeriod bounds the first period, before whose end there is no forecast.
const firstPeriod = time.Second

// roll reports whether a period has ended, so that it is time for a new plan.
func (f *forecast) roll(v *View) bool {
	f.budget = max(f.budget, v.Slack)
	if !f.begun {
		f.begun, f.from, f.before = true, v.Now, v.Arrived
		return false
	}
	period := f.period
	if !f.planned {
		period = min(period, firstPeriod)
	}
	took := v.Now - f.from
	if took < period {
		return false
	}
	f.planned = true
	f.rate = float64(v.Arrived-f.before) / took.Seconds()
	f.from, f.before = v.Now, v.Arrived
	return true
}

// perImage returns the least worker time that an image takes in the subnet, in
// seconds, over the batch sizes that can be planned with: those that take at most
// half of the budget, as a request may have to wait while another batch runs
// (Nexus, section 4.1; Proteus). Where none does, it is the batch of one.
func (f *forecast) perImage(p *Profile, subnet int) float64 {
	b := max(p.largestBatch(subnet, f.budget/2), 1)
	return p.Latency(subnet, b).Seconds() / float64(b)
}
