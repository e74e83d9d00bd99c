package sched

import (
	"fmt"
	"slices"
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
	// Free of the Workers that are up are idle. Free is 0 when the scheduler only
	// asks whether to give up a request that nothing can save.
	Free, Workers int
	Profile       *Profile
}

// Decision is the answer of a policy: run up to Batch images in Subnet, or, if
// Late, give the most urgent request up as unable to meet its deadline.
type Decision struct {
	Subnet, Batch int
	Late          bool
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
func ParsePolicy(name string, p *Profile, opt Options) (Policy, error) {
	if name == "" {
		name = DefaultPolicy
	}
	if subnet, ok := strings.CutPrefix(name, "fixed:"); ok {
		i := p.Index(subnet)
		if i < 0 {
			return nil, fmt.Errorf("policy %s names no subnet of the profile: choose one of %s", name, strings.Join(p.names(), ", "))
		}
		return fixed{subnet: i, name: name}, nil
	}
	switch name {
	case "weft":
		return weft{}, nil
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

// Policies returns the forms of the known policy names.
func Policies() []string {
	return []string{"weft", "slackfit", "slackfit-literal", "maxacc", "maxbatch", "fixed:SUBNET"}
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

// maxAcc is the paper's MaxAcc (A.4): the most accurate subnet that can serve
// the head alone, then the largest batch.
type maxAcc struct{}

func (maxAcc) Name() string { return "maxacc" }

func (maxAcc) Decide(v View) Decision {
	subnet := v.Profile.mostAccurate(v.Head, v.Slack)
	if subnet < 0 {
		return Decision{Late: true}
	}
	return Decision{Subnet: subnet, Batch: v.Profile.largestBatch(subnet, v.Slack)}
}

// maxBatch is the paper's MaxBatch (A.4): the largest batch that the smallest
// subnet can serve, then the most accurate subnet for as many as wait.
type maxBatch struct{}

func (maxBatch) Name() string { return "maxbatch" }

func (maxBatch) Decide(v View) Decision {
	b := min(v.Profile.largestBatch(0, v.Slack), v.fill())
	if b < v.Head {
		return Decision{Late: true}
	}
	return Decision{Subnet: v.Profile.mostAccurate(b, v.Slack), Batch: b}
}

// fixed is the paper's Clipper+: one subnet, and the largest batch that it can
// serve in time.
type fixed struct {
	subnet int
	name   string
}

func (f fixed) Name() string { return f.name }

func (f fixed) Decide(v View) Decision {
	b := v.Profile.largestBatch(f.subnet, v.Slack)
	return Decision{Subnet: f.subnet, Batch: b, Late: b < v.Head}
}
