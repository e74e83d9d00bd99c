package sched

import (
	"math"
	"time"
)

// buckets is SlackFit's table (paper, section 4.2 and A.5): the range of
// latencies [l_min(1), l_max(MaxBatch)] cut evenly, each bucket holding the
// tuple with the largest batch among those whose latency falls inside it.
type buckets struct {
	lo, width time.Duration
	best      []tuple
}

// tuple is one (subnet, batch size) with its latency. Batch 0 means none.
type tuple struct {
	subnet, batch int
	latency       time.Duration
	accuracy      float64
}

// newBuckets builds n buckets (0: DefaultBuckets). A bucket into which no tuple
// falls holds that of the next one below.
func newBuckets(p *Profile, n int) buckets {
	if n == 0 {
		n = DefaultBuckets
	}
	lo, hi := p.Latency(0, 1), p.Latency(0, 1)
	p.each(func(t tuple) { lo, hi = min(lo, t.latency), max(hi, t.latency) })
	b := buckets{lo: lo, width: max((hi-lo)/time.Duration(n), 1), best: make([]tuple, n)}
	p.each(func(t tuple) {
		if i := b.index(t.latency); t.better(b.best[i]) {
			b.best[i] = t
		}
	})
	for i := 1; i < n; i++ {
		if b.best[i].batch == 0 {
			b.best[i] = b.best[i-1]
		}
	}
	return b
}

// better orders tuples of a bucket: larger batch, then more accurate, then faster.
func (t tuple) better(o tuple) bool {
	if t.batch != o.batch {
		return t.batch > o.batch
	}
	if t.accuracy != o.accuracy {
		return t.accuracy > o.accuracy
	}
	return t.latency < o.latency
}

// each calls f for every tuple of the profile.
func (p *Profile) each(f func(tuple)) {
	for i, s := range p.Subnets {
		for b, l := range s.Latency {
			f(tuple{i, b + 1, l, s.Accuracy})
		}
	}
}

func (b *buckets) index(l time.Duration) int {
	return int(min(max(l-b.lo, 0)/b.width, time.Duration(len(b.best)-1)))
}

// below returns the tuple of the bucket closest to the slack from below: the one
// that contains it or, where that one's tuple takes longer, the next below. With
// less slack than any tuple takes it returns the lowest bucket's.
func (b *buckets) below(slack time.Duration) tuple {
	i := b.index(slack)
	if i > 0 && b.best[i].latency > slack {
		i--
	}
	return b.best[i]
}

// literal is SlackFit as printed: it serves whatever is in the bucket. Of its own
// it would never give up a request; here it does when the smallest subnet can't
// serve the head alone, as otherwise nothing is ever in time after one overload.
type literal struct{ buckets }

func (*literal) Name() string { return "slackfit-literal" }

func (l *literal) Decide(v View) Decision {
	if v.Profile.Latency(0, v.Head) > v.Slack {
		return Decision{Late: true}
	}
	t := l.below(v.Slack)
	return Decision{Subnet: t.subnet, Batch: t.batch}
}

// slackFit is SlackFit with what the paper leaves open decided; see
// docs/adr/0001-slackfit.md. Above all it keeps back, from the head's slack, the time
// that the smallest subnet needs for those behind the batch: the paper's letter spends
// all of the slack on the head and leaves none to a clump of requests that arrived with it.
type slackFit struct{ buckets }

func (*slackFit) Name() string { return "slackfit" }

func (s *slackFit) Decide(v View) Decision {
	p, n := v.Profile, v.fill()
	if p.Latency(0, n) > v.Slack {
		return Decision{Late: true}
	}
	slack := v.Slack - v.behind(n)
	if t := s.below(slack); t.batch == n && t.latency <= slack {
		return Decision{Subnet: t.subnet, Batch: n}
	}
	// The bucket's batch is not the one that waits: a smaller one would cost throughput, a
	// larger one is not there. Fit the subnet to the batch instead.
	return Decision{Subnet: max(p.mostAccurate(n, slack), 0), Batch: n}
}

// behind returns how long all workers take for the images that wait beyond the first n,
// in full batches of the smallest subnet.
func (v *View) behind(n int) time.Duration {
	rounds := math.Ceil(float64(max(v.Images-n, 0)) / (float64(v.Profile.MaxBatch) * v.workers()))
	return time.Duration(rounds) * v.Profile.Latency(0, v.Profile.MaxBatch)
}
