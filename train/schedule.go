package train

import "math"

// Curve is how a learning rate rises and falls over so many steps.
type Curve struct {
	Shape        string  // cosine, linear or exponential
	Peak         float64 // η0
	Warm, Total  int     // steps: of the rise, and of all
	Start, Floor float64 // shares of the peak at which it starts to rise, and below which it does not fall
}

// NewCurve cuts the curve of a run of so many steps as the configuration says.
func NewCurve(c *Config, total int) Curve {
	return Curve{
		Shape: c.Curve, Peak: c.LR, Total: total, Warm: int(math.Round(c.RateWarm * float64(total))),
		Start: c.RateStart, Floor: c.RateFloor,
	}
}

// Rate is the learning rate of step t. It rises in a straight line over the first Warm
// steps; with x the share of the remaining ones that ends with step t it is
//
//	cosine       η0·max(floor, ½·(1 + cos πx))
//	linear       η0·(1 − (1 − floor)·x)
//	exponential  η0·max(floor, 0.05^(x/0.66))
//
// DepS' tables hold this cosine once an epoch (its file lrs.py, clamped below in its loop);
// here it falls with every step and meets theirs at the end of each epoch, since short runs
// would waste their last epoch at 0. The exponential one is BigNAS': 0.97 every 2.4 of 360
// epochs is 0.05 after 0.66 of them. The linear one with a warm-up is the triangle of fast
// recipes for CIFAR-10.
func (c Curve) Rate(t int) float64 {
	if t < c.Warm {
		return c.Peak * (c.Start + (1-c.Start)*float64(t+1)/float64(c.Warm))
	}
	x := float64(t+1-c.Warm) / float64(max(c.Total-c.Warm, 1))
	switch c.Shape {
	case "linear":
		return c.Peak * (1 - (1-c.Floor)*x)
	case "exponential":
		return c.Peak * max(c.Floor, math.Pow(0.05, x/0.66))
	default:
		return c.Peak * max(c.Floor, 0.5*(1+math.Cos(math.Pi*x)))
	}
}

// Schedule is DepS' schedule in steps: the largest subnet alone before Ramp, subnets with
// a rising multiplier from Ramp to Joint, with multiplier 1 from then on.
type Schedule struct {
	Curve
	Ramp, Joint int
}

// NewSchedule cuts a run of so many steps as the configuration says.
func NewSchedule(c *Config, total int) Schedule {
	joint := int(math.Round(c.Warmup * float64(total)))
	return Schedule{Curve: NewCurve(c, total), Joint: joint, Ramp: joint - int(math.Round(c.Ramp*float64(total)))}
}

// Beta is what the subnets' gradients are multiplied with at step t:
//
//	β(t) = (k+1)/n · η(Joint) / η(t)
//
// with k steps since the ramp of n steps began, so that the subnets' effective rate β·η
// climbs in a straight line from 0 to the rate at which the joint phase begins.
func (s Schedule) Beta(t int) float64 {
	switch {
	case t < s.Ramp:
		return 0
	case t >= s.Joint:
		return 1
	}
	part := float64(t-s.Ramp+1) / float64(s.Joint-s.Ramp)
	if s.Joint == s.Total || s.Rate(t) == 0 {
		return part // both rates are 0 at the end
	}
	return part * s.Rate(s.Joint) / s.Rate(t)
}
