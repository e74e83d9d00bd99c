package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/bundle"
	"weft/data"
	"weft/kernel"
	"weft/search"
	"weft/supernet"
	"weft/train"
)

// newEvalCmd returns the eval command.
func newEvalCmd() *cobra.Command {
	var (
		from          dataFlags
		which, name   string
		split         string
		threads       int
		quiet, asJSON bool
		quantised     bool
	)
	cmd := &cobra.Command{
		Use:   "eval [model.weft]",
		Short: "Measure the accuracy of subnets",
		Long: `Measure subnets of a bundle in evaluation mode: with the statistics that the bundle holds where it has them,
recalibrated on training images where it has not. With --int8 each is measured in int8 as well, with the ranges of
activations that the bundle holds where it has them, found on training images where it has not. Without a bundle the
one built in is measured.`,
		Example: "  weft eval fashion.weft --data fashion-mnist\n  weft eval fashion.weft --subnet uniform --split val\n  weft eval fashion.weft --int8",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if threads < 1 {
				return usagef("--threads %d: choose at least 1", threads)
			}
			m, err := openModel(strings.Join(args, ""))
			if err != nil {
				return err
			}
			if name == "" {
				name = m.Provenance.Data
			}
			archs, err := chooseSubnets(m, which)
			if err != nil {
				return err
			}
			set, on, err := evalSplit(cmd, &from, name, split, m)
			if err != nil {
				return err
			}
			bars := newProgress(cmd.ErrOrStderr(), quiet, time.Now)
			defer bars.Close()
			pool := kernel.NewPool(threads)
			defer pool.Close()
			rows, err := evaluate(cmd.Context(), m, set, on, archs, quantised, pool, bars)
			if err != nil {
				return err
			}
			return printTable(cmd.OutOrStdout(), asJSON, rows)
		},
	}
	from.add(cmd)
	f := cmd.Flags()
	f.StringVar(&which, "subnet", "pareto", "subnets to measure: pareto, uniform, max, min, or one architecture")
	f.StringVar(&name, "data", "", "data set (default: the one that the bundle was trained on)")
	f.StringVar(&split, "split", "test", "images to measure on: test or val")
	f.IntVar(&threads, "threads", runtime.NumCPU(), "compute threads")
	f.BoolVar(&quantised, "int8", false, "measure in int8 as well")
	f.BoolVar(&quiet, "quiet", false, "show no progress")
	jsonFlag(cmd, &asJSON)
	must(cmd.RegisterFlagCompletionFunc("split", cobra.FixedCompletions([]string{"test", "val"}, cobra.ShellCompDirectiveNoFileComp)))
	return cmd
}

// evalSplit loads the data set and picks the images.
func evalSplit(cmd *cobra.Command, from *dataFlags, name, split string, m *model) (*data.Set, data.Split, error) {
	if split != "test" && split != "val" {
		return nil, data.Split{}, usagef("--split %q: choose test or val", split)
	}
	val := 0
	if name == m.Provenance.Data { // hold out the images that training held out
		val = m.Provenance.ValImages
		var recipe train.Config
		if json.Unmarshal(m.Provenance.Recipe, &recipe) == nil && from.size == 0 {
			from.size = recipe.Size
		}
	}
	set, err := from.load(cmd.Context(), name, cmd.ErrOrStderr(), val)
	if err == nil && val == 0 && set.Digest == m.Provenance.DataDigest && set.Val.N() != m.Provenance.ValImages {
		set, err = from.load(cmd.Context(), name, cmd.ErrOrStderr(), m.Provenance.ValImages) // the same, by another path
	}
	if err != nil {
		return nil, data.Split{}, err
	}
	if err := fits(m.Bundle, set, name); err != nil {
		return nil, data.Split{}, err
	}
	if split == "val" {
		return set, set.Val, nil
	}
	return set, set.Test, nil
}

// chooseSubnets turns the --subnet flag into architectures.
func chooseSubnets(m *model, which string) ([]supernet.Arch, error) {
	space := m.Net.Space
	switch which {
	case "uniform":
		return space.Uniform(), nil
	case "max":
		return []supernet.Arch{space.Max()}, nil
	case "min":
		return []supernet.Arch{space.Min()}, nil
	case "pareto":
		archs := make([]supernet.Arch, len(m.Subnets))
		for i, s := range m.Subnets {
			var err error
			if archs[i], err = space.Parse(s.Arch); err != nil {
				return nil, err
			}
		}
		return archs, nil
	}
	a, err := space.Parse(which)
	if err != nil {
		return nil, usagef("--subnet: %v", err)
	}
	return []supernet.Arch{a}, nil
}

// evalRow is a line of the table of accuracies.
type evalRow struct {
	Arch     string  `json:"arch" col:"subnet"`
	Accuracy float64 `json:"accuracy" col:"accuracy,%.4f"`
	Images   int     `json:"images" col:"images"`
	MMACs    float64 `json:"mmacs" col:"M MACs,%.2f"`
}

// calibration returns the images that the bundle's statistics were measured on. A bundle of one network has those that
// it needs, and one that was imported as it was has no others, so that none are.
func calibration(m *model, set *data.Set) ([][]float32, error) {
	switch imported := len(m.Provenance.Recipe) == 0; {
	case m.Net.Space.Family == supernet.Fixed || imported && m.Provenance.Calibration == 0:
		return nil, nil
	case imported:
		return plainSample(m.Net, set, m.Provenance.Calibration)
	}
	var recipe train.Config
	if err := json.Unmarshal(m.Provenance.Recipe, &recipe); err != nil {
		return nil, fmt.Errorf("the bundle does not say how it was trained, so new subnets cannot be calibrated alike: %w", err)
	}
	return recipe.Calibration(set, m.Provenance.Calibration)
}

func evaluate(ctx context.Context, m *model, set *data.Set, on data.Split, archs []supernet.Arch, quantised bool, pool *kernel.Pool, bars *progress) ([]evalRow, error) {
	calib, err := calibration(m, set)
	if err != nil {
		return nil, err
	}
	e := search.NewEvaluator(m.Net, m.Norms, calib, pool)
	measure := []func(supernet.Arch, data.Split) (search.Result, error){e.Evaluate}
	if quantised {
		plain, err := plainSample(m.Net, set, rangeImages)
		if err != nil {
			return nil, err
		}
		ranges := supernet.Ranges{}
		maps.Copy(ranges, m.Ranges)
		measure = append(measure, e.Int8(ranges, plain, pool).Evaluate)
	}
	bar := bars.Start("eval", "subnets", 0, int64(len(archs)))
	defer bar.End()
	rows := make([]evalRow, 0, len(archs))
	for _, a := range archs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		name := m.Net.Space.Format(a)
		for _, f := range measure {
			r, err := f(a, on)
			if err != nil {
				return nil, err
			}
			rows = append(rows, evalRow{name, r.Accuracy, on.N(), float64(r.MACs) / 1e6})
			name += bundle.Int8Suffix
		}
		bar.Add(1)
	}
	return rows, nil
}
