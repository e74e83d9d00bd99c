package optimum

import (
	"cmp"
	"slices"
	"time"

	"weft/sched"
)

// crowd finds the batches that requests can be part of.
type crowd struct {
	*Instance
	byArrival, byDeadline []int32
	full                  []span // scratch
}

// span is an interval of time, ends included.
type span struct{ from, to time.Duration }

func newCrowd(in *Instance) *crowd {
	order := func(key func(*sched.Request) time.Duration) []int32 {
		ids := make([]int32, len(in.Requests))
		for i := range ids {
			ids[i] = int32(i)
		}
		slices.SortStableFunc(ids, func(a, b int32) int {
			return cmp.Compare(key(&in.Requests[a]), key(&in.Requests[b]))
		})
		return ids
	}
	return &crowd{
		Instance:   in,
		byArrival:  order(func(r *sched.Request) time.Duration { return r.Arrival }),
		byDeadline: order(func(r *sched.Request) time.Duration { return r.Deadline }),
	}
}

// each calls f, in order of arrival, for the requests that a batch of that many
// images may hold in the subnet, as far as the number of those tells that could
// be with them: the batch starts at some time, at which all of it has arrived
// and has the batch's latency left, so at which that many images do.
func (c *crowd) each(subnet, images int, f func(request int32)) {
	latency := c.Profile.Latency(subnet, images)
	c.sweep(subnet, images, latency)
	k := 0
	for _, i := range c.byArrival {
		r := &c.Requests[i]
		if r.Size > images || !c.fits(r, subnet, latency) {
			continue
		}
		for k < len(c.full) && c.full[k].to < r.Arrival {
			k++
		}
		if k == len(c.full) {
			return
		}
		if c.full[k].from <= r.Deadline-latency {
			f(i)
		}
	}
}

func (c *crowd) fits(r *sched.Request, subnet int, latency time.Duration) bool {
	return r.Deadline-r.Arrival >= latency && c.accepts(r, subnet)
}

// sweep lists the times at which a batch of that latency could start with that
// many images: requests count from their arrival to their last moment to start.
func (c *crowd) sweep(subnet, images int, latency time.Duration) {
	c.full = c.full[:0]
	count, gone := 0, 0
	leave := func(before time.Duration, all bool) {
		for ; gone < len(c.byDeadline); gone++ {
			r := &c.Requests[c.byDeadline[gone]]
			last := r.Deadline - latency
			if !all && last >= before {
				return
			}
			if !c.fits(r, subnet, latency) {
				continue
			}
			if count >= images && count-r.Size < images {
				c.full[len(c.full)-1].to = last
			}
			count -= r.Size
		}
	}
	for _, i := range c.byArrival {
		r := &c.Requests[i]
		if !c.fits(r, subnet, latency) {
			continue
		}
		leave(r.Arrival, false)
		if count < images && count+r.Size >= images {
			c.full = append(c.full, span{from: r.Arrival})
		}
		count += r.Size
	}
	leave(0, true)
}
