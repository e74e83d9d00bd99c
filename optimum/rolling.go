package optimum

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"weft/sched"
)

// Rolling is a scheduler that knows what has arrived, as a policy does, and makes the
// best of it: whenever a worker is free it has [Exact] plan the requests that wait, and
// starts what the plan starts now. Policies that know no more can hardly be asked for more.
type Rolling struct {
	// Futures, if set, draws requests that may arrive after now, when so many have arrived.
	// Plans are then made for Draws futures, and what most of them start now is started.
	Futures func(now time.Duration, arrived int) []sched.Request
	Draws   int
	// Limit is that of each call of Exact.
	Limit int
}

// Run returns what becomes of the instance. Its Bound is its Value: nothing is known of
// what others can reach.
func (r *Rolling) Run(in Instance) (Schedule, error) {
	if err := in.validate(); err != nil {
		return Schedule{}, err
	}
	o := rolling{Rolling: r, in: &in, free: in.free(math.MinInt64), served: make([]bool, len(in.Requests))}
	for now := o.after(math.MinInt64); now < math.MaxInt64; now = o.after(now) {
		for {
			if started, err := o.start(now); err != nil {
				return Schedule{}, err
			} else if !started {
				break
			}
		}
	}
	o.out.Bound = o.out.Value
	return o.out, nil
}

// rolling is a Rolling under way.
type rolling struct {
	*Rolling
	in     *Instance
	free   []time.Duration
	served []bool
	out    Schedule
}

// after returns when the next request arrives or the next worker is free.
func (o *rolling) after(now time.Duration) time.Duration {
	next := time.Duration(math.MaxInt64)
	for i := range o.in.Requests {
		if at := o.in.Requests[i].Arrival; at > now {
			next = min(next, at)
		}
	}
	for _, at := range o.free {
		if at > now {
			next = min(next, at)
		}
	}
	return next
}

// start runs the next batch that is to start now, if there is one.
func (o *rolling) start(now time.Duration) (bool, error) {
	known := Instance{Profile: o.in.Profile, Workers: o.in.Workers}
	var ids []int
	arrived := 0
	for i, q := range o.in.Requests {
		if q.Arrival > now {
			continue
		}
		arrived++
		if !o.served[i] && q.Deadline > now {
			q.Arrival = now
			known.Requests, ids = append(known.Requests, q), append(ids, i)
		}
	}
	for _, at := range o.free {
		known.Free = append(known.Free, max(at, now))
	}
	if len(ids) == 0 || slices.Min(known.Free) > now {
		return false, nil
	}
	b, err := o.vote(known, now, arrived)
	if err != nil || b == nil {
		return false, err
	}
	run := Batch{Worker: slices.Index(o.free, slices.Min(o.free)), Subnet: b.Subnet, Start: now}
	images := 0
	for _, i := range b.Requests {
		run.Requests = append(run.Requests, ids[i])
		o.served[ids[i]] = true
		images += known.Requests[i].Size
	}
	run.End = now + o.in.Profile.Latency(b.Subnet, images)
	o.free[run.Worker] = run.End
	o.out.Batches = append(o.out.Batches, run)
	o.out.Value += float64(len(b.Requests)) * o.in.Profile.Subnets[b.Subnet].Accuracy
	return true, nil
}

// vote returns the batch that most plans start now first, nil for none.
func (o *rolling) vote(known Instance, now time.Duration, arrived int) (*Batch, error) {
	votes := map[string]int{}
	batches := map[string]*Batch{}
	for range max(o.Draws, 1) {
		in := known
		if o.Futures != nil {
			in.Requests = append(slices.Clone(known.Requests), o.Futures(now, arrived)...)
		}
		s, err := Exact(in, o.Limit)
		if err != nil {
			return nil, err
		}
		name := "none"
		if len(s.Batches) > 0 && s.Batches[0].Start == now {
			b := &s.Batches[0]
			slices.Sort(b.Requests)
			name = fmt.Sprint(b.Subnet, b.Requests)
			batches[name] = b
		}
		votes[name]++
	}
	best := slices.MaxFunc(slices.Sorted(maps.Keys(votes)), func(a, b string) int { return cmp.Compare(votes[a], votes[b]) })
	return batches[best], nil
}
