package sched

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Subnet is one model that the workers can run.
type Subnet struct {
	Name     string
	Accuracy float64 // profiled, 0..1
	// Latency[b-1] is the time that a batch of b images takes.
	Latency []time.Duration
}

// Profile holds what the scheduler knows about the subnets. Build it with
// NewProfile; it must not change afterwards and may be shared.
type Profile struct {
	// Subnets are in rising order of accuracy; none is dominated by another.
	Subnets []Subnet
	// MaxBatch is the most images in a batch.
	MaxBatch int
}

// NewProfile validates the subnets, leaves out those that another one dominates
// (no less accurate and no slower at any batch size) and sorts the rest by
// accuracy. maxBatch 0 means as far as every subnet was profiled.
func NewProfile(subnets []Subnet, maxBatch int) (*Profile, error) {
	if len(subnets) == 0 {
		return nil, errors.New("profile has no subnet: profile the model first")
	}
	if maxBatch == 0 {
		maxBatch = len(subnets[0].Latency)
		for _, s := range subnets {
			maxBatch = min(maxBatch, len(s.Latency))
		}
	}
	names := make(map[string]bool, len(subnets))
	for _, s := range subnets {
		if err := s.check(maxBatch); err != nil {
			return nil, err
		}
		if names[s.Name] {
			return nil, fmt.Errorf("subnet %s is profiled twice: give each subnet one entry", s.Name)
		}
		names[s.Name] = true
	}
	p := &Profile{MaxBatch: maxBatch}
	for i, s := range subnets {
		dominated := func(o Subnet) bool { return o.dominates(s, maxBatch) }
		// Of exact equals the first stays.
		if slices.ContainsFunc(subnets[:i], dominated) {
			continue
		}
		if slices.ContainsFunc(subnets[i+1:], func(o Subnet) bool { return dominated(o) && !s.dominates(o, maxBatch) }) {
			continue
		}
		s.Latency = slices.Clone(s.Latency[:maxBatch])
		p.Subnets = append(p.Subnets, s)
	}
	slices.SortStableFunc(p.Subnets, func(a, b Subnet) int {
		if c := cmp.Compare(a.Accuracy, b.Accuracy); c != 0 {
			return c
		}
		return cmp.Compare(a.Latency[maxBatch-1], b.Latency[maxBatch-1])
	})
	return p, nil
}

func (s Subnet) check(maxBatch int) error {
	switch {
	case s.Name == "":
		return errors.New("a subnet of the profile has no name: name it by its architecture")
	case !(s.Accuracy >= 0 && s.Accuracy <= 1):
		return fmt.Errorf("subnet %s has accuracy %v: give a fraction in 0..1", s.Name, s.Accuracy)
	case maxBatch < 1 || len(s.Latency) < maxBatch:
		return fmt.Errorf("subnet %s is profiled for %d batch sizes of %d: profile it again", s.Name, len(s.Latency), max(maxBatch, 1))
	}
	for i, l := range s.Latency[:maxBatch] {
		if l <= 0 {
			return fmt.Errorf("subnet %s takes %v for a batch of %d: profile it again", s.Name, l, i+1)
		}
	}
	return nil
}

// dominates reports whether s is at least as good as o in every respect.
func (s Subnet) dominates(o Subnet, maxBatch int) bool {
	if s.Accuracy < o.Accuracy {
		return false
	}
	for b := range maxBatch {
		if s.Latency[b] > o.Latency[b] {
			return false
		}
	}
	return true
}

// Latency returns the time that subnet takes for a batch of 1..MaxBatch images.
func (p *Profile) Latency(subnet, images int) time.Duration {
	return p.Subnets[subnet].Latency[images-1]
}

// Index returns the index of the subnet of that name, or -1.
func (p *Profile) Index(name string) int {
	return slices.IndexFunc(p.Subnets, func(s Subnet) bool { return s.Name == name })
}

// Floor returns the index of the least accurate subnet with at least that
// accuracy, or len(Subnets) if there is none.
func (p *Profile) Floor(accuracy float64) int {
	i, _ := slices.BinarySearchFunc(p.Subnets, accuracy, func(s Subnet, a float64) int { return cmp.Compare(s.Accuracy, a) })
	return i
}
