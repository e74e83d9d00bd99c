package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/bundle"
	"weft/data"
	"weft/kernel"
	"weft/safetensors"
	"weft/search"
	"weft/supernet"
)

// rangeImages is how many training images ranges are found on, fewImages how many lose
// accuracy: on the built-in bundle, with one image half a point in the mean.
const (
	rangeImages = 512
	fewImages   = 32
)

// quantiseJob says how a bundle learns int8.
type quantiseJob struct {
	from    dataFlags
	out     string
	data    string
	images  int
	threads int
	quiet   bool
}

// newQuantiseCmd returns the quantise command.
func newQuantiseCmd() *cobra.Command {
	var (
		job    quantiseJob
		asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "quantise [model.weft] -o both.weft",
		Short: "Add int8 to a bundle",
		Long: `Find the ranges of the activations of a bundle's subnets on training images, measure each subnet in int8, and write a
bundle that serves every subnet in either precision: in int8 it is called like 'd1_e25_w50@int8'. Weights stay as they
are; those of int8 are made from them when the bundle is loaded, one copy for all subnets. Without a bundle the one
built in is taken.`,
		Example: "  weft quantise fashion.weft -o both.weft",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case job.out == "":
				return usagef("missing -o, the file to write")
			case job.images < 1 || job.threads < 1:
				return usagef("--images %d --threads %d: choose at least 1", job.images, job.threads)
			}
			m, err := openModel(strings.Join(args, ""))
			if err != nil {
				return err
			}
			if err := job.run(cmd, m); err != nil {
				return err
			}
			return printSubnets(cmd.OutOrStdout(), asJSON, m.Bundle)
		},
	}
	job.from.add(cmd)
	f := cmd.Flags()
	f.StringVarP(&job.out, "output", "o", "", "bundle to write")
	f.StringVar(&job.data, "data", "", "data set (default: the one that the bundle was trained on)")
	f.IntVar(&job.images, "images", rangeImages, "training images that the ranges are found on")
	f.IntVar(&job.threads, "threads", runtime.NumCPU(), "compute threads")
	f.BoolVar(&job.quiet, "quiet", false, "show no progress")
	jsonFlag(cmd, &asJSON)
	must(cmd.MarkFlagFilename("output", "weft"))
	return cmd
}

// run fills in ranges and int8 accuracies and writes the bundle.
func (j *quantiseJob) run(cmd *cobra.Command, m *model) error {
	if dir := filepath.Dir(j.out); !fileExists(dir) {
		return usagef("there is no folder %s to write %s into; make it first", dir, filepath.Base(j.out))
	}
	if j.data == "" {
		if j.data = m.Provenance.Data; j.data == "" {
			return usagef("the bundle does not say what it was trained on; name a data set with --data")
		}
	}
	set, test, err := evalSplit(cmd, &j.from, j.data, "test", m)
	if err != nil {
		return err
	}
	val := set.Val
	if val.N() == 0 { // as weft import --data does
		val = test
	}
	if val.N() == 0 {
		return errors.New("the data set has neither validation nor test images to measure on; choose another one with --data")
	}
	switch n := min(j.images, set.Train.N()); {
	case n == 0:
		return errors.New("the data set has no training images to find ranges on; choose another one with --data")
	case n < fewImages:
		newLogger(cmd.ErrOrStderr()).Warn("ranges found on so few training images cost accuracy", slog.Int("images", n), slog.Int("enough", fewImages))
	}
	calib, err := plainSample(m.Net, set, j.images)
	if err != nil {
		return err
	}
	pool := kernel.NewPool(j.threads)
	defer pool.Close()
	bars := newProgress(cmd.ErrOrStderr(), j.quiet, time.Now)
	defer bars.Close()
	q := search.NewEvaluator(m.Net, m.Norms, nil, pool).Int8(supernet.Ranges{}, calib, pool)
	if err := measureInt8(cmd.Context(), m, q, val, test, bars); err != nil {
		return err
	}
	return m.Write(j.out, isHalf(m.Net.W.Data))
}

// measureInt8 lists the bundle's subnets in int8 with their accuracies then.
func measureInt8(ctx context.Context, m *model, q *search.Int8, val, test data.Split, bars *progress) error {
	archs, err := chooseSubnets(m, "pareto")
	if err != nil {
		return err
	}
	bar := bars.Start("int8", "subnets", 0, int64(len(archs)))
	defer bar.End()
	m.Int8 = nil
	for i, a := range archs {
		if err := ctx.Err(); err != nil {
			return err
		}
		r, err := q.Evaluate(a, val)
		if err != nil {
			return err
		}
		s := m.Subnets[i]
		s.Accuracy = r.Accuracy
		if s.Test > 0 && test.N() > 0 {
			if r, err = q.Evaluate(a, test); err != nil {
				return err
			}
			s.Test = r.Accuracy
		}
		m.Int8 = append(m.Int8, s)
		bar.Add(1)
	}
	slices.SortStableFunc(m.Int8, func(a, b bundle.Subnet) int { return cmp.Compare(a.Accuracy, b.Accuracy) })
	m.Ranges = q.Ranges
	return nil
}

// isHalf reports whether fp16 holds all weights, so that they were stored so.
func isHalf(weights []float32) bool {
	for _, v := range weights {
		if safetensors.FromF16(safetensors.ToF16(v)) != v {
			return false
		}
	}
	return true
}
