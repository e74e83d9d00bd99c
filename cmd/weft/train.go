package main

import (
	"cmp"
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
		cfg  = defaultSettings("deps", "resnet-28", "fashion-mnist")
	)
	cmd := &cobra.Command{
		Use:   "train --out RUN",
		Short: "Train a supernet",
		Long: `Train a supernet on a data set and keep the run in a folder: its settings, a line of metrics every few steps and a
checkpoint after every epoch. A run that was stopped goes on with --resume and ends with the same weights as one that
was not.

Recipes:
` + describeRecipes() + `
A setting that is not given has the default of its recipe, space and data set, or the value in the file that --config
names. A setting that the recipe does not read is refused.`,
		Example: `  weft train --space resnet-28 --data fashion-mnist --epochs 30 --out runs/fashion
  weft train --recipe ofa --space mbv3-28-k35 --data fashion-mnist --out runs/ofa
  weft train --space resnet-32 --data cifar10 --data-dir cifar-10-batches-bin --cutout 8 --out runs/cifar
  weft train --config runs/fashion/config.json --seed 2 --out runs/again
  weft train --out runs/fashion --resume`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if job.dir == "" {
				return usagef("missing --out, the folder of the run")
			}
			if err := job.settle(cmd, &cfg, &from); err != nil {
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
			ctx, stop := untilHangup(cmd.Context())
			defer stop()
			last, err := job.run(ctx, cfg.Config, set, pool, bars)
			if err != nil {
				return err
			}
			return job.print(cmd.OutOrStdout(), cfg.Config, set.Val, last)
		},
	}
	f := cmd.Flags()
	from.add(cmd)
	f.StringVar(&job.dir, "out", "", "folder of the run")
	f.BoolVar(&job.resume, "resume", false, "go on with the run in --out, with its settings")
	f.IntVar(&job.threads, "threads", runtime.NumCPU(), "compute threads; the result does not depend on them")
	f.BoolVar(&job.quiet, "quiet", false, "show no progress")
	f.IntVar(&job.probe, "probe", 0, "evaluate every so many steps around the switches between phases")
	jsonFlag(cmd, &job.asJSON)
	f.IntVar(&job.random, "eval-random", 2, "random subnets to evaluate beside the largest, middle and smallest")
	cfg.flags(f)
	must(cmd.MarkFlagDirname("out"))
	must(cmd.MarkFlagFilename("config", "json"))
	must(cmd.RegisterFlagCompletionFunc("recipe", cobra.FixedCompletions(train.Recipes(), cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("space", cobra.FixedCompletions(supernet.Names(), cobra.ShellCompDirectiveDefault)))
	must(cmd.RegisterFlagCompletionFunc("schedule", cobra.FixedCompletions(train.Curves, cobra.ShellCompDirectiveNoFileComp)))
	must(cmd.RegisterFlagCompletionFunc("aggregate", cobra.FixedCompletions(train.Aggregates, cobra.ShellCompDirectiveNoFileComp)))
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
	random        int
}

// describeRecipes lists the recipes, a line each.
func describeRecipes() string {
	var b strings.Builder
	for _, name := range train.Recipes() {
		fmt.Fprintf(&b, "  %-14s %s\n", name, train.About(name))
	}
	return b.String()
}

// settle decides on the settings: those of the folder when resuming, else those of the flags.
func (j *trainJob) settle(cmd *cobra.Command, cfg *settings, from *dataFlags) error {
	if j.threads < 1 {
		return usagef("--threads %d: choose at least 1", j.threads)
	}
	if j.probe < 0 || j.random < 0 {
		return usagef("--probe %d --eval-random %d: choose 0 or more", j.probe, j.random)
	}
	old, err := train.ReadConfig(j.dir)
	if j.resume {
		for _, f := range runFlags() {
			if cmd.Flags().Changed(f) {
				return usagef("--%s cannot change when a run is resumed", f)
			}
		}
		cfg.Config = old
		return errors.Join(err, from.scaleAs(old))
	}
	if err == nil && train.Training(j.dir) {
		return fmt.Errorf("another weft trains in %s; choose another folder", j.dir)
	}
	if err == nil {
		return fmt.Errorf("%s already holds a run; add --resume to go on with it, or choose another folder", j.dir)
	}
	if info, err := os.Stat(j.dir); err == nil && !info.IsDir() {
		return fmt.Errorf("%s is a file; choose a new folder for the run", j.dir)
	}
	entries, err := os.ReadDir(j.dir)
	started := func(e os.DirEntry) bool { return e.Name() == train.LockFile } // all that a run leaves that can't write its settings
	switch {
	case len(slices.DeleteFunc(entries, started)) > 0:
		return fmt.Errorf("%s holds other files; choose a new folder for the run", j.dir)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := cfg.settle(cmd); err != nil {
		return err
	}
	if cmd.Flags().Changed("size") {
		cfg.Size = from.size
	}
	from.size = cfg.Size
	if err := cfg.Validate(); err != nil {
		return usagef("%v", err)
	}
	if cmd.Flags().Changed("val") && cfg.Val < 1 {
		return usagef("--val %d: hold out at least 1 image, weft search compares subnets on them", cfg.Val)
	}
	if cfg.Definition == "" && !slices.Contains(supernet.Names(), cfg.Space) {
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
	if err := os.MkdirAll(j.dir, 0o755); err != nil {
		return last, err
	}
	unlock, err := train.Lock(j.dir)
	if err != nil {
		return last, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := train.ReadConfig(j.dir); !j.resume && err == nil {
		return last, fmt.Errorf("%s holds a run that began meanwhile; choose another folder", j.dir)
	}
	if err := train.WriteConfig(j.dir, cfg); err != nil {
		return last, err
	}
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
	bar := bars.Start("train", "images", int64(t.Step*cfg.Batch), int64(t.Total*cfg.Batch))
	defer bar.End()
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t.Probe, t.Random = j.probe, j.random
	note := ""
	done := t.Step
	t.Observe = func(m train.Metrics) {
		werr := errors.Join(log.Write(m), observe(m))
		if m.ImagesPS == 0 { // a probe measures accuracy alone
			m.Loss, m.SubLoss, m.GFlops, m.ImagesPS, m.ImageMACs = last.Loss, last.SubLoss, last.GFlops, last.ImagesPS, last.ImageMACs
		}
		last = m
		if werr != nil && err == nil {
			err = fmt.Errorf("write the metrics of %s: %w; go on with 'weft train --out %s --resume'", j.dir, werr, j.dir)
			stop()
		}
		if len(m.Eval) > 0 {
			note = accuracyNote(m.Eval)
		}
		bar.Note("%s, %.0f GF/s, loss %.3f%s", m.Phase, m.GFlops, cmp.Or(m.Loss, m.SubLoss), note)
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
	case errors.Is(saved, train.ErrDiverged):
		return last, saved
	case saved != nil:
		return last, fmt.Errorf("%w; go on with 'weft train --out %s --resume'", saved, j.dir)
	case errors.Is(rerr, context.Canceled):
		return last, fmt.Errorf("interrupted at step %d of %d; go on with 'weft train --out %s --resume'", t.Step, t.Total, j.dir)
	}
	return last, rerr
}

// accuracyNote lists the accuracies of named subnets.
func accuracyNote(nets []train.NetEval) string {
	var note strings.Builder
	for _, e := range nets {
		if e.Net != "random" {
			fmt.Fprintf(&note, ", %s %.2f %%", e.Net, 100*e.Accuracy)
		}
	}
	return note.String()
}

// print says how the run ended.
func (j *trainJob) print(w io.Writer, cfg train.Config, val data.Split, last train.Metrics) error {
	if j.asJSON {
		return printJSON(w, last)
	}
	fmt.Fprintf(w, "%s on %s by %s: %s, %.3g multiply-accumulates forwards and backwards (%.2f M an image), %.2g flops, %s\n",
		cfg.Space, cfg.Data, cfg.Recipe, count(cfg.Epochs, "epoch"), last.MACs, last.MACs/float64(max(last.Step*cfg.Batch, 1))/1e6, last.Flops,
		short(time.Duration(last.Seconds*float64(time.Second))))
	for _, e := range last.Eval {
		fmt.Fprintf(w, "  %-6s %6.2f %% on %s, %.2f M MACs, %s\n", e.Net, 100*e.Accuracy, count(val.N(), "validation image"), float64(e.MACs)/1e6, e.Subnet)
	}
	next := fmt.Sprintf("Next: weft search %s -o model.weft", j.dir)
	share := commonest(val)
	if i := slices.IndexFunc(last.Eval, func(e train.NetEval) bool { return e.Accuracy <= share }); i >= 0 {
		lost := fmt.Sprintf("The %s subnet is no better than always naming the commonest class, %.2f %%: train again for more --epochs or with a lower --lr than %g, into another folder",
			last.Eval[i].Net, 100*share, cfg.LR)
		if i > 0 {
			lost += "\n" + next
		}
		next = lost // alone where the largest is lost: there is nothing to search
	}
	_, err := fmt.Fprintln(w, next)
	return err
}

// commonest is the share of the images that the largest class has.
func commonest(s data.Split) float64 {
	images, most := map[int32]int{}, 0
	for _, l := range s.Labels {
		images[l]++
		most = max(most, images[l])
	}
	return float64(most) / float64(max(s.N(), 1))
}
