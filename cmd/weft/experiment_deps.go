package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/data"
	"weft/experiments/deps"
	"weft/experiments/report"
	"weft/kernel"
	"weft/train"
)

// depsJob compares DepS with other recipes.
type depsJob struct {
	out, only, cifar string
	budget           time.Duration
	threads          int
	quiet, asJSON    bool
}

func newDepsCmd() *cobra.Command {
	var job depsJob
	cmd := &cobra.Command{
		Use:   "deps",
		Short: "DepS beside OFA, CompOFA, BigNAS and naive training",
		Long: `Train supernets by DepS, OFA, CompOFA, BigNAS and naively, each with its published schedule in proportion and at equal
cost, on Fashion-MNIST (three seeds) and CIFAR-10, with the parts of DepS left out one by one. Each training takes
minutes, all of them about four hours on two cores. Results are kept in --out, a small file each: what is there is not trained
again, and a training that was stopped goes on from its last epoch.`,
		Example: "  weft experiment deps --only 'fashion-.*-1$'\n  weft experiment deps --cifar-dir cifar-10-batches-bin --out experiments/deps",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilHangup(cmd.Context())
			defer stop()
			return job.run(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&job.out, "out", "weft-deps", "folder to keep runs, results, plots and report in")
	f.StringVar(&job.only, "only", "", "train only the cells whose ID matches this regular expression, such as 'fashion-.*-1$'")
	f.StringVar(&job.cifar, "cifar-dir", "", "folder that holds CIFAR-10 (default: look for it, then fetch it)")
	f.DurationVar(&job.budget, "budget", 15*time.Minute, "longest that one training may take; 0: any time")
	f.IntVar(&job.threads, "threads", runtime.NumCPU(), "compute threads; results do not depend on them")
	f.BoolVar(&job.quiet, "quiet", false, "show no progress")
	jsonFlag(cmd, &job.asJSON)
	return cmd
}

func (j *depsJob) run(ctx context.Context, out, errw io.Writer) error {
	if j.threads < 1 || j.budget < 0 {
		return usagef("--threads %d --budget %v: choose at least 1 thread, and no negative time", j.threads, j.budget)
	}
	only, err := regexp.Compile(j.only)
	if err != nil {
		return usagef("--only %s: %v", j.only, err)
	}
	pool := kernel.NewPool(j.threads)
	defer pool.Close()
	bars := newProgress(errw, j.quiet, time.Now)
	defer bars.Close()
	var bar *job
	done := 0
	end := func() {
		if bar != nil {
			bar.End()
			bar = nil
		}
	}
	defer end()
	b := thisBuild()
	results, err := deps.Run(ctx, deps.Options{
		Dir: j.out, Only: only, Budget: j.budget, Pool: pool,
		Machine: deps.Machine{CPU: b.CPU, Kernel: b.Kernel, Threads: j.threads, Version: b.Version},
		Load: func(ctx context.Context, name string, val int) (*data.Set, error) {
			var from dataFlags
			if name == "cifar10" {
				from.dir = j.cifar
			}
			return from.load(ctx, name, errw, val)
		},
		Cell: func(c deps.Cell, i, total int) {
			end()
			fmt.Fprintf(errw, "%d of %d: %s\n", i+1, total, c.ID)
		},
		Observe: func(c deps.Cell, m train.Metrics, steps int) {
			if bar == nil {
				bar, done = bars.Start(c.ID, "steps", int64(m.Step-1), int64(steps)), m.Step-1
			}
			bar.Add(int64(m.Step - done))
			done = m.Step
		},
	})
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("interrupted; the same command goes on")
	}
	end()
	if len(results) > 0 { // whatever became of the others
		err = errors.Join(err, j.report(results, out))
	}
	return err
}

func (j *depsJob) report(results []deps.Result, out io.Writer) error {
	reports, err := deps.Reports(results)
	if err != nil {
		return err
	}
	if err := deps.Write(j.out, j.command(), reports); err != nil {
		return err
	}
	if j.asJSON {
		return printJSON(out, results)
	}
	for _, r := range reports {
		fmt.Fprintf(out, "\n%s\n", r.Title)
		for _, t := range []report.Table{r.Table(), report.Verdicts(r.Claims)} {
			if err := printReportTable(out, t); err != nil {
				return err
			}
		}
	}
	_, err = fmt.Fprintf(out, "\nReport with plots: %s\n", filepath.Join(j.out, "report.html"))
	return err
}

// command is the command line that gives the same report.
func (j *depsJob) command() string {
	parts := []string{"weft experiment deps"}
	if j.only != "" {
		parts = append(parts, "--only '"+j.only+"'")
	}
	return strings.Join(append(parts, "--out "+j.out), " ")
}
