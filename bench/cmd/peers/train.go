package main

import (
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"time"

	"weft/bench/compare"
	"weft/bench/nets"
	"weft/bench/peer"
	"weft/supernet"
)

// trainSets are the supernets that training is compared on.
var trainSets = []set{
	{"resnet-32", 32, []int{64}, cores},
	{"mbv3-28", 28, []int{64}, cores},
}

// lossTolerance is how far the losses of the first step may be apart: normalisation by
// batch statistics amplifies rounding.
const lossTolerance = 1e-3

// train compares a training step: the largest, the smallest and two random subnets on
// one batch, and one update for all.
func (b *bench) train() error {
	const work = "train step"
	var failed []error
	for _, s := range trainSets {
		for _, p := range b.settings(work, torchName, s) {
			if b.ctx.Err() != nil {
				break
			}
			if err := b.trainPoint(p); err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", label(p), err))
			}
		}
	}
	return errors.Join(failed...)
}

// sandwich returns the subnets of the step.
func sandwich(s *supernet.Space) []string {
	rng := rand.New(rand.NewPCG(nets.Seed, 2))
	names := []string{s.Format(s.Max()), s.Format(s.Min())}
	for range 2 {
		names = append(names, s.Format(s.Sample(rng, supernet.Sampling{})))
	}
	return names
}

func (b *bench) trainPoint(p compare.Point) error {
	space, err := nets.Space(p.Space, p.Pixels)
	if err != nil {
		return err
	}
	weft, err := b.startWeft()
	if err != nil {
		return err
	}
	defer weft.Close()
	torch, err := b.startTorch()
	if err != nil {
		return err
	}
	defer torch.Close()
	q := peer.Request{
		Do: "train", Space: p.Space, Pixels: p.Pixels, Subnets: sandwich(space), Batch: p.Batch, Threads: p.Threads, Path: b.tmp,
	}
	p.Subnet = "sandwich of 4"
	if _, err := weft.Call(q); err != nil {
		return err
	}
	if p.Variant, err = b.fastest(torch, q); err != nil {
		return err
	}
	q.Variant = p.Variant
	if _, err := torch.Call(q); err != nil {
		return err
	}
	if err := agree(torch, weft, lossTolerance); err != nil {
		return err
	}
	return b.duel(p, torch, weft)
}

// fastest tries the ways in which the peer can take the step and returns the best.
func (b *bench) fastest(torch *peer.Proc, q peer.Request) (string, error) {
	a, err := torch.Call(peer.Request{Do: "hello"})
	if err != nil {
		return "", err
	}
	var best time.Duration
	name := ""
	for _, q.Variant = range a.Names {
		if _, err := torch.Call(q); err != nil {
			return "", fmt.Errorf("variant %s: %w", q.Variant, err)
		}
		t, err := torch.Run(1, true)
		if err != nil {
			return "", fmt.Errorf("variant %s: %w", q.Variant, err)
		}
		log.Printf("%s, variant %s: %.0f ms a step", torch.Name, q.Variant, float64(t)/1e6)
		if name == "" || t < best {
			name, best = q.Variant, t
		}
	}
	return name, nil
}
