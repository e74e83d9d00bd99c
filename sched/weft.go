package sched

import (
	"math"
	"slices"
	"time"
)

// weft is the default policy. Where SlackFit looks at the slack of one request,
// it has a price for worker time, and serves the batch in the subnet that are
// worth most less what their time costs. The price
//
//	μ · (top / μ)^(z - z0)
//
// begins at μ, what time is worth at the rate of late: the dual price of the
// linear programme that Proteus solves, the slope of the concave frontier of
// accuracy over time per image where all workers together just keep up. So an
// ordinary queue is served by the mix that is best in the long run. From there
// the price rises exponentially with z, the share of the time left to those who
// wait that the smallest subnet would need for them, up to what a lost answer is
// worth. Models that share workers pay alike: z is the sum over all of them. An
// exponential price is the best that can be done without knowing what comes (online
// knapsack: Zhou, Chakrabarty and Lukose, 2008), and crosses the slopes of a
// frontier, which span orders of magnitude, at even steps of z.
//
// docs/adr/0001-slackfit.md has the reasons and the measurements.
type weft struct {
	rate rate
	cost []float64 // worker time of an image in a full batch, in seconds, by subnet
	top  float64
	base []anchor // by rising share
	each float64  // worker time that a batch costs beside computing, in seconds
}

// corner is a subnet of the concave frontier.
type corner struct {
	subnet int
	cost   float64 // as in weft
	slope  float64 // accuracy per second from the corner before
}

// anchor says what worker time is worth where each image can have so much of it.
type anchor struct{ share, price float64 }

const (
	// lossWeight is how many times its accuracy a lost answer costs.
	lossWeight = 10
	// calm is the share of the time that may be spoken for before the price rises
	// above that of the long run; while it is less, the price is lower.
	calm = 0.07
	// reserve is how many times the time that they need those must have who are left
	// behind by a batch that could have taken them.
	reserve = 2
	// overhead is what a batch costs beside computing, which no profile has, as a share of
	// the smallest subnet's full batch.
	overhead = 1. / 16
	// finer is up to which size every smaller batch is looked at; beyond, one in some.
	finer = 16
	// memory is the time constant of the average of the rate.
	memory = time.Second / 2
	// tolerated is the share of lost images that changes nothing; beyond it the price rises
	// as if alarm times the excess of the time were spoken for.
	tolerated, alarm = 0.01, 50
	// grief is the time constant of the share of lost images; few is the number of images
	// below which it says little.
	grief, few = 10 * time.Second, 1000
)

func newWeft(p *Profile) *weft {
	w := &weft{cost: make([]float64, len(p.Subnets))}
	for i := range p.Subnets {
		w.cost[i] = p.Latency(i, p.MaxBatch).Seconds() / float64(p.MaxBatch)
	}
	hull := p.frontier(w.cost)
	w.top = lossWeight * hull[0].slope
	if len(hull) > 1 {
		w.top = max(w.top, hull[1].slope)
	}
	w.base = anchors(hull, w.top)
	w.each = overhead * p.Latency(0, p.MaxBatch).Seconds()
	return w
}

// anchors returns the slopes of the frontier at the middles of its segments. Between
// these the price passes gradually from one to the next: if it jumped at a corner, a
// rate close to that would have it jump all the time. From the last corner on half the
// last slope holds.
func anchors(hull []corner, top float64) []anchor {
	if len(hull) == 1 {
		return []anchor{{hull[0].cost, top / 2}}
	}
	all := []anchor{{hull[0].cost, hull[1].slope}}
	for i, c := range hull[1:] {
		all = append(all, anchor{(hull[i].cost + c.cost) / 2, c.slope})
	}
	last := hull[len(hull)-1]
	return append(all, anchor{last.cost, last.slope / 2})
}

// frontier returns the corners of the least concave function above the origin
// and all subnets' accuracies over their costs, from the cheapest subnet up.
func (p *Profile) frontier(cost []float64) []corner {
	var hull []corner
	for i, s := range p.Subnets {
		c := corner{subnet: i, cost: cost[i], slope: s.Accuracy / cost[i]}
		for n := len(hull); n > 0; n-- {
			last := hull[n-1]
			if c.cost > last.cost {
				c.slope = (s.Accuracy - p.Subnets[last.subnet].Accuracy) / (c.cost - last.cost)
				if n == 1 || c.slope < last.slope {
					break
				}
			}
			hull, c.slope = hull[:n-1], s.Accuracy/cost[i]
		}
		hull = append(hull, c)
	}
	return hull
}

func (*weft) Name() string { return "weft" }

func (w *weft) Decide(v View) Decision {
	p, n := v.Profile, v.fill()
	w.rate.observe(&v)
	if p.Latency(0, n) > v.Slack {
		d := v.hurry(n)
		if d.Late {
			w.rate.lost += float64(v.Head)
		}
		return d
	}
	price, wanted := w.price(&v)
	later := w.later(p, price)
	price *= wanted
	best, most := Decision{Subnet: 0, Batch: n}, math.Inf(-1)
	for i := range slices.Backward(p.Subnets) {
		gain := p.Subnets[i].Accuracy - later
		for b := n; b >= v.Head; b -= 1 + b/finer {
			l := p.Latency(i, b)
			if worth := float64(b)*gain - price*(l.Seconds()+w.each); worth > most && v.affords(l, b, n) {
				most, best = worth, Decision{Subnet: i, Batch: b}
			}
		}
	}
	return best
}

// later returns what an image is worth, less what its time costs, that is served later
// on, in a full batch of the subnet for which that is most. A batch gains what its images
// are worth beyond that.
func (w *weft) later(p *Profile, price float64) float64 {
	most := math.Inf(-1)
	for i := range p.Subnets {
		most = max(most, p.Subnets[i].Accuracy-price*w.cost[i])
	}
	return most
}

// price returns what a second of worker time costs, and which share of that the batch
// pays: all where more of the time than calm is spoken for, and else the less, the less
// comes. What a lone image takes beyond its part of a full batch is then time that
// nobody wants.
func (w *weft) price(v *View) (price, wanted float64) {
	share := v.Workers / max(v.Drift*w.rate.perSecond, math.SmallestNonzeroFloat64)
	base := w.longRun(share)
	n := v.fill()
	spoken := float64(v.Work) * float64(v.Images-n) / (float64(v.Images) * float64(max(v.Up, 1)))
	z := spoken/float64(max(tail(v.Slack, v.Mean)-v.Profile.Latency(0, n)/2, 1)) + v.Others
	z += alarm * max(w.rate.lost/(w.rate.came+few)-tolerated, 0)
	wanted = math.Pow(min(w.base[len(w.base)-1].share/share, 1), max(1-z/calm, 0))
	return base * math.Pow(w.top/base, z-calm), wanted
}

// longRun is the price at the rate of late, at which each image can have that share of
// the worker time, in seconds.
func (w *weft) longRun(share float64) float64 {
	if share < w.base[0].share {
		return w.top
	}
	for i, to := range w.base[1:] {
		if from := w.base[i]; share < to.share {
			return from.price * math.Pow(to.price/from.price, (share-from.share)/(to.share-from.share))
		}
	}
	return w.base[len(w.base)-1].price
}

// tail estimates the slack of the least urgent: as far behind the mean as the most
// urgent is before it, if deadlines are spread evenly, and never more than twice
// the head's, as a few with all the time in the world say nothing about the rest.
func tail(head, mean time.Duration) time.Duration { return min(2*mean, 3*head) - head }

// affords reports whether a batch of b of the up to n images that could run is in time
// for the head, also in a bad case. If b is less than n, the others must have the time
// left that they need, in the smallest subnets that they accept, and be it in a small
// batch: nobody is left behind for the sake of accuracy.
func (v *View) affords(latency time.Duration, b, n int) bool {
	rest := 0.
	if b < n {
		rest = reserve * float64(v.Work) * float64(v.Images-b) / float64(v.Images)
		rest = max(rest, v.Risk*float64(v.Profile.Latency(0, n-b))) / v.workers()
	}
	return v.Risk*float64(latency)+rest <= float64(v.Slack)
}

// rate is a moving average of the images that arrive a second. It begins at
// none: what has not been seen is not expected.
type rate struct {
	perSecond float64
	at        time.Duration
	arrived   int64
	// came and lost are moving sums of the images that arrived and that were given up.
	came, lost float64
}

func (r *rate) observe(v *View) {
	if passed := v.Now - r.at; passed > 0 {
		old := math.Exp(-float64(passed) / float64(memory))
		came := float64(v.Arrived - r.arrived)
		r.perSecond = old*r.perSecond + (1-old)*came/passed.Seconds()
		old = math.Exp(-float64(passed) / float64(grief))
		r.came, r.lost = old*r.came+came, old*r.lost
		r.at, r.arrived = v.Now, v.Arrived
	}
}

// hurry decides when not even the smallest subnet can serve a batch of all that
// wait (n images) in time for the head. Under a backlog the head goes: small
// batches would cost the throughput that those behind it need. Otherwise it is
// the head that is in a hurry rather than the system, and a smaller batch goes
// out unless that would halve the throughput. A backlog is more than 1.6 full batches a
// worker, and never less than that: a small share of a worker says that little comes.
func (v *View) hurry(n int) Decision {
	p := v.Profile
	b := p.largestBatch(0, v.Slack)
	backlog := float64(5*v.Images) > float64(8*p.MaxBatch)*max(v.Workers, 1)
	if b < v.Head || backlog || 2*int64(b)*int64(p.Latency(0, n)) < int64(n)*int64(p.Latency(0, b)) {
		return Decision{Late: true}
	}
	return Decision{Subnet: 0, Batch: b}
}
