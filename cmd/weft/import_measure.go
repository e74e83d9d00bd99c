package main

import (
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"weft/bundle"
	"weft/data"
	"weft/kernel"
	"weft/search"
	"weft/supernet"
)

// measureJob recalibrates an imported supernet and measures the accuracy of its subnets.
type measureJob struct {
	data        string
	from        dataFlags
	calibration int
	threads     int
	quiet       bool
}

func (j *measureJob) add(cmd *cobra.Command) {
	j.from.add(cmd)
	f := cmd.Flags()
	f.StringVar(&j.data, "data", "", "data set to recalibrate a supernet's subnets on, and to measure accuracies on")
	f.IntVar(&j.calibration, "calibration", 2000, "training images that recalibrate a subnet")
	f.IntVar(&j.threads, "threads", runtime.NumCPU(), "compute threads")
	f.BoolVar(&j.quiet, "quiet", false, "show no progress")
}

// run measures on the test images: the network may have learnt from all others.
func (j *measureJob) run(cmd *cobra.Command, b *bundle.Bundle) error {
	if j.calibration < 2 || j.threads < 1 {
		return usagef("--calibration %d --threads %d: choose at least 2 and 1", j.calibration, j.threads)
	}
	set, err := j.from.load(cmd.Context(), j.data, cmd.ErrOrStderr(), 0)
	if err != nil {
		return err
	}
	if err := fits(b, set, j.data); err != nil {
		return err
	}
	pool := kernel.NewPool(j.threads)
	defer pool.Close()
	norms, calib := b.Norms, [][]float32(nil)
	if b.Net.Space.Family != supernet.Fixed {
		norms = supernet.Norms{}
		if calib, err = plainSample(b.Net, set, j.calibration); err != nil {
			return err
		}
		b.Provenance.Calibration = j.calibration
	}
	bars := newProgress(cmd.ErrOrStderr(), j.quiet, time.Now)
	defer bars.Close()
	bar := bars.Start("measure", "subnets", 0, int64(len(b.Subnets)))
	e := search.NewEvaluator(b.Net, norms, calib, pool)
	var results []search.Result
	for _, s := range b.Subnets {
		if err := cmd.Context().Err(); err != nil {
			return err
		}
		a, err := b.Net.Space.Parse(s.Arch)
		if err != nil {
			return err
		}
		r, err := e.Evaluate(a, set.Test)
		if err != nil {
			return err
		}
		results = append(results, r)
		bar.Add(1)
	}
	bar.End()
	results = search.Serve(b.Net.Space, results, search.ByMACs, supernet.Sampling{ElasticKernel: true})
	b.Subnets = nil
	for _, r := range results {
		b.Subnets = append(b.Subnets, bundle.Subnet{
			Arch: b.Net.Space.Format(r.Arch), Accuracy: r.Accuracy, Test: r.Accuracy, MACs: r.MACs, Params: r.Params,
		})
	}
	b.ClassNames = set.ClassNames
	b.Provenance.Data, b.Provenance.DataDigest, b.Provenance.TestImages = j.data, set.Digest, set.Test.N()
	b.Norms, err = e.Trim(cmd.Context(), results)
	return err
}

// fits explains why a data set cannot be what a bundle classifies.
func fits(b *bundle.Bundle, set *data.Set, name string) error {
	if in := b.Net.Space.Input; in.H != set.H || in.W != set.W || in.C != set.C || b.Net.Space.Classes != set.Classes {
		return fmt.Errorf("the bundle classifies images of %v into %d classes, %s has images of %dx%dx%d in %d",
			in, b.Net.Space.Classes, name, set.H, set.W, set.C, set.Classes)
	}
	for i, class := range b.ClassNames {
		if j := slices.Index(set.ClassNames, class); j >= 0 && j != i {
			return fmt.Errorf("class %q is number %d of the bundle and %d of %s: bring the classes of %s into the bundle's order", class, i, j, name, name)
		}
	}
	return nil
}

// plainSample draws training images as they are, normalised as the network expects, in
// batches that keep the activations of one in memory: 16 of 224 pixels, at most 200.
func plainSample(net *supernet.Supernet, set *data.Set, n int) ([][]float32, error) {
	like := *set
	like.Mean, like.Std = net.Mean, net.Std
	batch := max(min(16*224*224/(set.H*set.W), 200), 1)
	return data.Sample(&like, set.Train, n, batch, data.Augment{}, 1)
}
