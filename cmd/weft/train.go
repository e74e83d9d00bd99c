package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/data"
	"weft/kernel"
	"weft/supernet"
	"weft/train"
)

// newTrainCmd returns the train command.
func newTrainCmd() *cobra.Command {
	var (
		from dataFlags
		job  trainJob
		cfg  = train.Defaults("deps", "resnet-28", "fashion-mnist")
	)
	cmd := &cobra.Command{
		Use:   "train --out RUN",
		Short: "Train a supernet",
		Long: `Train a supernet on a data set and keep the run in a folder: its settings, a line of metrics every few steps and a
checkpoint after every epoch. A run that was stopped goes on with --resume and ends with the same weights as one that
was not.

Recipes: ` + "`deps`" + ` trains the largest subnet alone first, then lets the smaller ones join with a rising learning rate
and learn from the largest; ` + "`max`" + ` trains the largest subnet alone.`,
		Example: `  weft train --space resnet-28 --data fashion-mnist --epochs 30 --out runs/fashion
  weft train --space resnet-32 --data cifar10 --data-dir cifar-10-batches-bin --out runs/cifar
  weft train --out runs/fashion --resume`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if job.dir == "" {
				return usagef("missing --out, the folder of the run")
			}
			if err := job.settle(cmd, &cfg); err != nil {
				return err
			}
			set, err := from.load(cmd.Context(), cfg.Data, cmd.ErrOrStderr(), cfg.Val)
			if err != nil {
				return err
			}
			bars := newProgress(cmd.ErrOrStderr(), job.quiet, time.Now)
			defer bars.Close()
			pool := kernel.NewPool(job.threads)
			defer pool.Close()
			last, err := job.run(cmd.Context(), cfg, set, pool, bars)
			if err != nil {
				return err
			}
			return job.print(cmd.OutOrStdout(), cfg, set.Val.N(), last)
		},
	}
	f := cmd.Flags()
	from.add(cmd)
	f.StringVar(&job.dir, "out", "", "folder of the run")
	f.BoolVar(&job.resume, "resume", false, "go on with the run in --out, with its settings")
	f.IntVar(&job.threads, "threads", runtime.NumCPU(), "compute threads; the result does not depend on them")
	f.BoolVar(&job.quiet, "quiet", false, "show no progress")
	f.IntVar(&job.probe, "probe", 0, "evaluate every so many steps around the switch to the joint phase")
	jsonFlag(cmd, &job.asJSON)
	f.StringVar(&cfg.Recipe, "recipe", cfg.Recipe, "how to train: "+strings.Join(train.Recipes(), " or "))
	f.StringVar(&cfg.Space, "space", cfg.Space, "what may vary: "+strings.Join(supernet.Names(), ", "))
	f.StringVar(&cfg.Data, "data", cfg.Data, "data set: "+strings.Join(data.Names(), ", ")+" or a folder of images a class")
	f.IntVar(&cfg.Epochs, "epochs", cfg.Epochs, "passes over the training images")
	f.IntVar(&cfg.Batch, "batch", cfg.Batch, "images a step")
	f.Float64Var(&cfg.LR, "lr", cfg.LR, "learning rate at the start")
	f.Float64Var(&cfg.Momentum, "momentum", cfg.Momentum, "Nesterov momentum")
	f.Float64Var(&cfg.Decay, "decay", cfg.Decay, "weight decay")
	f.Float64Var(&cfg.Smoothing, "smoothing", cfg.Smoothing, "label smoothing")
	f.Float64Var(&cfg.Warmup, "warmup", cfg.Warmup, "deps: share of the run before the joint phase")
	f.Float64Var(&cfg.Ramp, "ramp", cfg.Ramp, "deps: share of the run that the ramp of the smaller subnets' rate takes, the end of the warm-up")
	f.IntVar(&cfg.Nets, "nets", cfg.Nets, "deps: subnets a joint step, largest and smallest included")
	f.BoolVar(&cfg.Coupled, "coupled", cfg.Coupled, "deps: draw depth and expansion together")
	f.BoolVar(&cfg.Sort, "sort", cfg.Sort, "deps: order channels by importance at the switch")
	f.IntVar(&cfg.Pad, "pad", cfg.Pad, "shift images by up to so many pixels")
	f.BoolVar(&cfg.Flip, "flip", cfg.Flip, "mirror every other image")
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "seed of weights, order, augmentation and sampling")
	f.IntVar(&cfg.Val, "val", 0, "training images held out for validation (default 5000, at most a tenth)")
	must(cmd.MarkFlagDirname("out"))
	must(cmd.RegisterFlagCompletionFunc("recipe", cobra.FixedCompletions(train.Recipes(), cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("space", cobra.FixedCompletions(supernet.Names(), cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("data", cobra.FixedCompletions(data.Names(), cobra.ShellCompDirectiveDefault)))
	return cmd
}

// trainJob is how a run is carried out, which does not change what it computes.
type trainJob struct {
	dir           string
	resume, quiet bool
	asJSON        bool
	threads       int
	probe         int
}

// runFlags are the flags that a run remembers.
var runFlags = []string{
	"recipe", "space", "data", "epochs", "batch", "lr", "momentum", "decay", "smoothing", "warmup",
	"ramp", "nets", "coupled", "sort", "pad", "flip", "seed", "val",
}

// settle decides on the configuration: that of the folder when resuming, else that of the flags, with the data set's
// own defaults for flags that were not given.
func (j *trainJob) settle(cmd *cobra.Command, cfg *train.Config) error {
	if j.threads < 1 {
		return usagef("--threads %d: choose at least 1", j.threads)
	}
	old, err := train.ReadConfig(j.dir)
	if j.resume {
		for _, f := range runFlags {
			if cmd.Flags().Changed(f) {
				return usagef("--%s cannot change when a run is resumed", f)
			}
		}
		*cfg = old
		return err
	}
	if err == nil {
		return fmt.Errorf("%s already holds a run; add --resume to go on with it, or choose another folder", j.dir)
	}
	switch entries, err := os.ReadDir(j.dir); {
	case len(entries) > 0:
		return fmt.Errorf("%s holds other files; choose a new folder for the run", j.dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	def := train.Defaults(cfg.Recipe, cfg.Space, cfg.Data)
	if !cmd.Flags().Changed("flip") {
		cfg.Flip = def.Flip
	}
	if !cmd.Flags().Changed("pad") {
		cfg.Pad = def.Pad
	}
	if err := cfg.Validate(); err != nil {
		return usagef("%v", err)
	}
	if cmd.Flags().Changed("val") && cfg.Val < 1 {
		return usagef("--val %d: hold out at least 1 image, weft search compares subnets on them", cfg.Val)
	}
	if !slices.Contains(supernet.Names(), cfg.Space) {
		return usagef("no space is called %q: choose one of %s", cfg.Space, strings.Join(supernet.Names(), ", "))
	}
	return nil
}

// run trains until the end and returns the last line of metrics.
func (j *trainJob) run(ctx context.Context, cfg train.Config, set *data.Set, pool *kernel.Pool, bars *progress) (last train.Metrics, err error) {
	t, err := train.New(cfg, set, pool)
	if err != nil {
		return last, err
	}
	if err := train.WriteConfig(j.dir, cfg); err != nil {
		return last, err
	}
	unlock, err := train.Lock(j.dir)
	if err != nil {
		return last, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := t.Load(j.dir); err != nil {
		return last, err
	}
	log, err := train.OpenLog(j.dir, t.Step)
	if err != nil {
		return last, err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	observe, end, err := keepRun(j.dir, j.threads)
	if err != nil {
		return last, err
	}
	defer func() { err = errors.Join(err, end(err)) }()
	if lines, err := train.ReadMetrics(j.dir); err == nil && len(lines) > 0 {
		last = lines[len(lines)-1]
	}
	bar := bars.Start("train", "images", int64(t.Step*cfg.Batch), int64(t.Schedule.Total*cfg.Batch))
	defer bar.End()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t.Probe = j.probe
	note := ""
	done := t.Step
	t.Observe = func(m train.Metrics) {
		werr := errors.Join(log.Write(m), observe(m))
		if m.Loss == 0 { // a probe measures accuracy alone
			m.Loss, m.GFlops, m.ImagesPS = last.Loss, last.GFlops, last.ImagesPS
		}
		last = m
		if werr != nil && err == nil {
			err = fmt.Errorf("write the metrics of %s: %w; go on with 'weft train --out %s --resume'", j.dir, werr, j.dir)
			stop()
		}
		for _, e := range m.Eval {
			if e.Net == "max" {
				note = ""
			}
			note += fmt.Sprintf(", %s %.2f %%", e.Net, 100*e.Accuracy)
		}
		bar.Note("%.0f GF/s, loss %.3f%s", m.GFlops, m.Loss, note)
		bar.Add(int64((m.Step - done) * cfg.Batch))
		done = m.Step
	}
	var saved error
	rerr := t.Run(ctx, func() error {
		saved = t.Save(j.dir)
		return saved
	})
	switch {
	case err != nil:
		return last, err
	case saved != nil:
		return last, saved
	case errors.Is(rerr, context.Canceled):
		return last, fmt.Errorf("interrupted at step %d of %d; go on with 'weft train --out %s --resume'", t.Step, t.Schedule.Total, j.dir)
	}
	return last, rerr
}

// print says how the run ended.
func (j *trainJob) print(w io.Writer, cfg train.Config, val int, last train.Metrics) error {
	if j.asJSON {
		return printJSON(w, last)
	}
	fmt.Fprintf(w, "%s on %s: %d epochs, %.2g flops in %s\n", cfg.Space, cfg.Data, cfg.Epochs, last.Flops,
		short(time.Duration(last.Seconds*float64(time.Second))))
	for _, e := range last.Eval {
		fmt.Fprintf(w, "  %-3s %6.2f %% on %d validation images, %.2f M MACs, %s\n", e.Net, 100*e.Accuracy, val, float64(e.MACs)/1e6, e.Subnet)
	}
	_, err := fmt.Fprintf(w, "Next: weft search %s -o model.weft\n", j.dir)
	return err
}
