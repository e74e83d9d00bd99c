package sched

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// View is what a policy sees.
type View struct {
	Now time.Duration
	// Slack is the time that the most urgent request can still spend on
	// computing, on the profile's clock: (its deadline - Now - Options.Margin) /
	// Scheduler.Drift. It may be negative.
	Slack time.Duration
	// Images waits in all, Head of them belong to the most urgent request.
	Images, Head int
	// Free workers are idle. It is 0 when the scheduler only asks whether to give up
	// a request that nothing can save.
	Free int
	// Workers is how many the model can count on: those that are up or, of those that
	// run other models too, the part of their time that it is likely to get.
	Workers float64
	// Up workers run the model, alone or not.
	Up int
	// Others is the share of the time left to those who wait for other models on the
	// same workers that they need, as Work says it for this one.
	Others float64
	// Mean is the mean slack of all that wait, by image.
	Mean time.Duration
	// Work is the least worker time that all that wait need, on the profile's clock:
	// in full batches of the smallest subnets that they accept.
	Work time.Duration
	// Drift is Scheduler.Drift. Risk is how much longer than that a batch takes in a
	// bad case, 1 or more; see Scheduler.Risk.
	Drift, Risk float64
	// Arrived is the number of images that have arrived so far.
	Arrived int64
	// Loaded counts, by subnet, the free workers that hold it. It is nil where
	// workers switch in place; see Options.Load.
	Loaded  []int
	Profile *Profile
}

// Decision is the answer of a policy: run up to Batch images in Subnet, or one
// of the other things that a field names.
type Decision struct {
	Subnet, Batch int
	// Late gives the most urgent request up as unable to meet its deadline.
	Late bool
	// Load has a free worker that does not hold Subnet load it, and run nothing.
	// Only where View.Loaded is not nil, and View.Free above Loaded[Subnet].
	Load bool
}

// Policy chooses subnet and batch size. Implementations are deterministic and
// allocate nothing.
type Policy interface {
	// Name is the name by which ParsePolicy finds the policy.
	Name() string
	// Decide chooses for the most urgent request and those behind it. A batch
	// smaller than View.Head is raised to it.
	Decide(v View) Decision
}

// ParsePolicy returns the policy of that name for the profile:
//
//	weft              the most accurate subnet that drains the queue in time
//	slackfit          SlackFit with what it needs to hold near saturation
//	slackfit-literal  SlackFit to the letter of the paper
//	maxacc            the most accurate subnet first, then the largest batch
//	maxbatch          the largest batch first, then the most accurate subnet
//	fixed:SUBNET      one subnet, adaptive batch (Clipper+)
//	fixed-literal:SUBNET  the same, but requests that can't be in time are served too
//	infaas[:ACCURACY] the cheapest subnet with at least that accuracy, 0..1, adaptive batch (INFaaS)
//	proteus[:PERIOD]  the best mix of subnets for the latest period's rate (Proteus; 30s)
//	switch[:PERIOD]   the best subnet for the latest period's rate; workers load it (Model-Switching; 1s)
func ParsePolicy(name string, p *Profile, opt Options) (Policy, error) {
	if name == "" {
		name = DefaultPolicy
	}
	kind, arg, _ := strings.Cut(name, ":")
	switch kind {
	case "fixed", "fixed-literal":
		i := p.Index(arg)
		if i < 0 {
			return nil, fmt.Errorf("policy %s names no subnet of the profile: choose one of %s", name, strings.Join(p.names(), ", "))
		}
		return fixed{subnet: i, name: name, drop: kind == "fixed"}, nil
	case "infaas":
		return parseINFaaS(name, arg, p)
	case "proteus", "switch":
		return parsePlanner(name, kind, arg, opt)
	}
	switch name {
	case "weft":
		return newWeft(p), nil
	case "slackfit":
		return &slackFit{newBuckets(p, opt.Buckets)}, nil
	case "slackfit-literal":
		return &literal{newBuckets(p, opt.Buckets)}, nil
	case "maxacc":
		return maxAcc{}, nil
	case "maxbatch":
		return maxBatch{}, nil
	}
	return nil, fmt.Errorf("policy %q is unknown: choose one of %s", name, strings.Join(Policies(), ", "))
}

func parseINFaaS(name, floor string, p *Profile) (Policy, error) {
	accuracy := 0.
	if floor != "" {
		var err error
		if accuracy, err = strconv.ParseFloat(floor, 64); err != nil {
			return nil, fmt.Errorf("policy %s: give the least accuracy as a fraction, as in infaas:0.75", name)
		}
	}
	i := p.cheapest(accuracy)
	if i < 0 {
		return nil, fmt.Errorf("policy %s: the most accurate subnet has %v: lower the floor", name, p.Subnets[len(p.Subnets)-1].Accuracy)
	}
	return fixed{subnet: i, name: name, drop: true}, nil
}

func parsePlanner(name, kind, arg string, opt Options) (Policy, error) {
	period := map[string]time.Duration{"proteus": proteusPeriod, "switch": switchPeriod}[kind]
	if arg != "" {
		var err error
		if period, err = time.ParseDuration(arg); err != nil || period <= 0 {
			return nil, fmt.Errorf("policy %s: give the period between plans as a duration, as in %s:5s", name, kind)
		}
	}
	f := forecast{period: period}
	if kind == "proteus" {
		return &proteus{forecast: f, name: name}, nil
	}
	return &switching{forecast: f, name: name, load: opt.Load}, nil
}

// Policies returns the forms of the known policy names.
func Policies() []string {
	return []string{"weft", "slackfit", "slackfit-literal", "maxacc", "maxbatch", "fixed:SUBNET", "fixed-literal:SUBNET", "infaas[:ACCURACY]", "proteus[:PERIOD]", "switch[:PERIOD]"}
}

// KnownPolicy reports whether the name has one of the forms of Policies. Its
// argument may still not suit the profile.
func KnownPolicy(name string) bool {
	kind, _, _ := strings.Cut(name, ":")
	return slices.ContainsFunc(Policies(), func(form string) bool {
		plain, _, _ := strings.Cut(form, "[")
		if base, ok := strings.CutSuffix(plain, ":SUBNET"); ok {
			return kind == base && name != base
		}
		return name == plain || kind == plain && plain != form
	})
}

// largestBatch returns the largest batch that the subnet finishes within t, or 0.
func (p *Profile) largestBatch(subnet int, t time.Duration) int {
	for b := p.MaxBatch; b > 0; b-- {
		if p.Latency(subnet, b) <= t {
			return b
		}
	}
	return 0
}

// mostAccurate returns the most accurate subnet that finishes a batch of that
// many images within t, or -1.
func (p *Profile) mostAccurate(images int, t time.Duration) int {
	for i := range slices.Backward(p.Subnets) {
		if p.Latency(i, images) <= t {
			return i
		}
	}
	return -1
}

func (p *Profile) names() []string {
	names := make([]string, len(p.Subnets))
	for i, s := range p.Subnets {
		names[i] = s.Name
	}
	return names
}

// fill is the number of images that a full batch would take now.
func (v *View) fill() int { return min(max(v.Images, v.Head), v.Profile.MaxBatch) }

// workers is Workers, or 1 while there is none.
func (v *View) workers() float64 {
	if v.Workers > 0 {
		return v.Workers
	}
	return 1
}
