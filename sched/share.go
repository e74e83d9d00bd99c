package sched

import (
	"math"
	"time"
)

// demand is how much work came of late: its moving sum, which forgets with the time
// constant memory.
type demand struct {
	work float64 // worker time, in ns
	at   time.Duration
}

func (d *demand) add(now, work time.Duration) {
	d.work, d.at = d.of(now)+float64(work), now
}

func (d *demand) of(now time.Duration) float64 {
	if now <= d.at {
		return d.work
	}
	return d.work * math.Exp(-float64(now-d.at)/float64(memory))
}

// share returns how many workers the model can count on. Those that it shares it has
// for a part of their time: its part of the work that came of late or waits, on the
// clock of the smallest subnets. So all models that share the same workers have as
// much time for each unit of that work, and policies that trade accuracy for time
// come to like terms. It is 0 while no worker runs the model.
func (s *Scheduler) share(now time.Duration) (workers float64) {
	g := s.group
	if len(g.models) == 1 {
		return float64(s.up)
	}
	for _, m := range g.models {
		if m != nil {
			m.wants = m.drift * (m.demand.of(now) + float64(m.ready.work))
		}
	}
	for i := range g.workers {
		own, all := false, 0.
		for _, m := range g.workers[i].runs {
			all += m.wants
			own = own || m == s
		}
		switch {
		case own && all > 0:
			workers += s.wants / all
		case own:
			workers += 1 / float64(len(g.workers[i].runs))
		}
	}
	return workers
}

// capacity returns how many workers there are for what waits: the model's share or, if
// that is more, what the others leave, at the least that the work needs which came for
// them of late. Without a worker it is 1.
func (s *Scheduler) capacity(now time.Duration) float64 {
	share, left := s.share(now), 0.
	for i := range s.group.workers {
		own, free := false, 1.
		for _, m := range s.group.workers[i].runs {
			if m == s {
				own = true
			} else {
				free -= m.wants / (float64(memory) * float64(m.up))
			}
		}
		if own {
			left += max(free, 0)
		}
	}
	if workers := max(share, left); workers > 0 {
		return workers
	}
	return 1
}

// others returns the share of the time left to those who wait for other models of the
// group that the workers need for them, each model's at most 1; see View.Others.
func (s *Scheduler) others(now time.Duration) (spoken float64) {
	for _, m := range s.group.models {
		if m == nil || m == s || m.ready.len() == 0 || m.up == 0 {
			continue
		}
		left := tail(m.slack(m.ready.head().Deadline, now), m.slack(m.ready.meanDue(), now))
		spoken += min(float64(m.ready.work)/(float64(m.up)*float64(max(left, 1))), 1)
	}
	return spoken
}
