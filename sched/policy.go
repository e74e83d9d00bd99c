package sched

import (
	"fmt"
	"strings"
	"time"
)

// View is what a policy sees.
type View struct {
	Now time.Duration
	// Slack is the time that the most urgent request can still spend on
	// computing: its deadline - Now - Options.Margin. It may be negative.
	Slack time.Duration
	// Images waits in all, Head of them belong to the most urgent request.
	Images, Head int
	// Free of the Workers that are up are idle, one at least.
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
//	slackfit          SlackFit with what it needs to hold near saturation
//	slackfit-literal  SlackFit to the letter of the paper
//	maxacc            the most accurate subnet first, then the largest batch
//	maxbatch          the largest batch first, then the most accurate subnet
//	fixed:SUBNET      one subnet, adaptive batch (Clipper+)
func ParsePolicy(name string, p *Profile, opt Options) (Policy, error) {
	if name == "" {
		name = DefaultPolicy
	}
	return nil, fmt.Errorf("policy %q is unknown: choose one of %s", name, strings.Join(Policies(), ", "))
}

// Policies returns the forms of the known policy names.
func Policies() []string {
	return []string{"slackfit", "slackfit-literal", "maxacc", "maxbatch", "fixed:SUBNET"}
}
