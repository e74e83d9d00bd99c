package main

import (
	"errors"
	"fmt"

	"weft/bench/compare"
	"weft/bench/nets"
	"weft/bench/peer"
)

// set is the uniform subnets of a space at one image size, with every combination of
// batch size and threads.
type set struct {
	space            string
	pixels           int
	batches, threads []int
}

// inference is a way to run networks, and what it is compared on.
type inference struct {
	work    string
	int8    bool
	within  float64 // how far logits may be apart, as a share of the largest
	subnets int     // of each space, at most
	sets    []set
}

var (
	batches = []int{1, 8}
	cores   = []int{1, 2}
)

// inferSets are the networks that inference is compared on: a basic-block ResNet, OFA's
// ResNet50D and MobileNetV3 at both sizes, and CIFAR's ResNet-20.
var inferSets = []set{
	{nets.ResNet20, 32, batches, []int{1}},
	{"resnet-32", 32, batches, cores},
	{"ofa-resnet50d", 32, batches, cores},
	{"mbv3-32", 32, batches, cores},
	{"resnet-32", 224, batches, cores},
	{"ofa-resnet50d", 224, batches, cores},
	{"ofa-mbv3", 224, batches, cores},
}

// int8Sets are likewise for int8.
var int8Sets = []set{
	{nets.ResNet20, 32, batches, []int{1}},
	{"resnet-32", 32, batches, cores},
	{"mbv3-32", 32, batches, cores},
	{"ofa-resnet50d", 224, batches, cores},
	{"ofa-mbv3", 224, batches, cores},
}

// inferences are what is compared. In int8 one value that engines round to neighbouring
// steps moves logits by up to about one of 255 steps.
var inferences = []inference{
	{"infer fp32", false, 1e-4, 1000, inferSets},
	{"infer int8", true, 1e-2, 2, int8Sets},
}

// infer compares inference.
func (b *bench) infer() error {
	var failed []error
	for _, i := range inferences {
		failed = append(failed, b.inferAll(i))
	}
	return errors.Join(failed...)
}

func (b *bench) inferAll(how inference) error {
	var weft, ort *peer.Proc
	var failed []error
	for _, s := range how.sets {
		if b.ctx.Err() != nil {
			break
		}
		points := b.settings(how.work, ortName, s)
		if len(points) == 0 {
			continue
		}
		if weft == nil {
			var err error
			if weft, err = b.startWeft(); err != nil {
				return err
			}
			defer weft.Close()
			if ort, err = b.startORT(); err != nil {
				return err
			}
			defer ort.Close()
		}
		if err := b.inferSet(how, s, points, ort, weft); err != nil {
			failed = append(failed, fmt.Errorf("%s %s %dpx: %w", how.work, s.space, s.pixels, err))
		}
	}
	return errors.Join(failed...)
}

// settings returns the selected combinations of batch size and threads of a set.
func (b *bench) settings(work, other string, s set) []compare.Point {
	var points []compare.Point
	for _, t := range s.threads {
		for _, n := range s.batches {
			p := compare.Point{Peer: other, Work: work, Space: s.space, Pixels: s.pixels, Batch: n, Threads: t}
			if b.selected(label(p)) {
				points = append(points, p)
			}
		}
	}
	return points
}

// inferSet compares every subnet of a set in every setting. A setting in which the
// engines disagree is not timed; the others are.
func (b *bench) inferSet(how inference, s set, settings []compare.Point, ort, weft *peer.Proc) error {
	space, err := nets.Space(s.space, s.pixels)
	if err != nil {
		return err
	}
	subnets := nets.Uniform(space, min(b.subnets, how.subnets))
	models, err := weft.Call(peer.Request{
		Do: "export", Space: s.space, Pixels: s.pixels, Subnets: subnets, Int8: how.int8, Path: b.tmp,
	})
	if err != nil {
		return err
	}
	var failed []error
	for i, name := range subnets {
		for _, p := range settings {
			if b.ctx.Err() != nil {
				return errors.Join(failed...)
			}
			p.Subnet = name
			if err := b.inferPoint(how, p, models.Names[i], ort, weft); err != nil {
				failed = append(failed, fmt.Errorf("%s b%d %dT: %w", name, p.Batch, p.Threads, err))
			}
		}
	}
	return errors.Join(failed...)
}

func (b *bench) inferPoint(how inference, p compare.Point, model string, ort, weft *peer.Proc) error {
	q := peer.Request{
		Do: "load", Space: p.Space, Pixels: p.Pixels, Subnets: []string{p.Subnet}, Int8: how.int8, Batch: p.Batch, Threads: p.Threads,
	}
	if _, err := weft.Call(q); err != nil {
		return err
	}
	q.Path = model
	if _, err := ort.Call(q); err != nil {
		return err
	}
	if err := agree(ort, weft, how.within); err != nil {
		return err
	}
	return b.duel(p, ort, weft)
}

// agree checks that both engines compute the same from what they have loaded.
func agree(other, weft *peer.Proc, within float64) error {
	x, err := other.Call(peer.Request{Do: "logits"})
	if err != nil {
		return err
	}
	y, err := weft.Call(peer.Request{Do: "logits"})
	if err != nil {
		return err
	}
	if err := compare.Agree(x.Values, y.Values, within); err != nil {
		return fmt.Errorf("not timed, %s and %s do not compute the same: %w", other.Name, weft.Name, err)
	}
	return nil
}
