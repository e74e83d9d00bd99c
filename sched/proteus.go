package sched

import "time"

// proteus plans as Proteus does (ASPLOS '24): every period it solves for the mix
// of subnets with the highest mean accuracy that all workers together can serve
// at the forecast rate, and until the next period each batch follows that mix,
// whatever the queue looks like. Proteus places models on devices by a MILP; here
// any worker runs any subnet, and what is left is the linear programme
//
//	maximise  Σ share_s · accuracy_s
//	          Σ share_s · perImage_s · rate · headroom <= workers
//	          Σ share_s = 1,  share_s >= 0
//
// With two constraints beside the signs, some optimum has at most two subnets.
type proteus struct {
	forecast
	name   string
	lo, hi int     // the mix
	share  float64 // of hi
	debt   float64 // images by which hi is behind its share
}

// proteusPeriod is the period of Proteus' planner.
const proteusPeriod = 30 * time.Second

func (p *proteus) Name() string { return p.name }

func (p *proteus) Decide(v View) Decision {
	if p.roll(&v) {
		p.plan(v.Profile, v.Workers/max(p.rate*headroom, 1e-9))
	}
	subnet := p.lo
	if p.debt+p.share > 0 {
		subnet = p.hi
	}
	b := v.Profile.largestBatch(subnet, v.Slack)
	if b < v.Head {
		subnet = p.lo
		b = v.Profile.largestBatch(subnet, v.Slack)
	}
	if b < v.Head {
		return Decision{Late: true}
	}
	if v.Free > 0 {
		images := float64(min(b, v.fill()))
		p.debt += images * p.share
		if subnet == p.hi {
			p.debt -= images
		}
	}
	return Decision{Subnet: subnet, Batch: b}
}

// plan solves the programme for that much worker time per image, in seconds, by
// looking at every pair of subnets on either side of it.
func (p *proteus) plan(profile *Profile, time float64) {
	p.lo, p.hi, p.share, p.debt = 0, 0, 0, 0
	best := -1.0
	for lo := range profile.Subnets {
		low := p.perImage(profile, lo)
		if low > time {
			continue
		}
		for hi := range profile.Subnets {
			share := 1.0
			if high := p.perImage(profile, hi); high > time {
				share = (time - low) / (high - low)
			}
			value := (1-share)*profile.Subnets[lo].Accuracy + share*profile.Subnets[hi].Accuracy
			if value > best {
				best = value
				p.lo, p.hi, p.share = lo, hi, share
			}
		}
	}
}
