package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"weft/bundle/builtin"
	"weft/experiments/engine"
	"weft/kernel"
	"weft/serve"
	"weft/supernet"
)

// engineJob puts bursty loads on a real server.
type engineJob struct {
	load          engine.Load
	loads, cv2    []float64
	out           string
	quiet, asJSON bool
}

func newEngineCmd() *cobra.Command {
	var job engineJob
	cmd := &cobra.Command{
		Use:   "engine",
		Short: "SuperServe's bursty loads, scaled to this machine, on a real server",
		Long: `Measure what this machine does with the smallest subnet of the built-in model, through the whole server, and put bursty
loads of parts of that on it: open loop, over HTTP on loopback, one worker of one thread, a server of its own for each
policy. Ends with tables, plots and verdicts, beside what no schedule could exceed. Leave the machine alone meanwhile.
What was measured is kept in --out: a run that was stopped goes on where it was.`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return job.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	job.flags(cmd.Flags())
	jsonFlag(cmd, &job.asJSON)
	return cmd
}

func (j *engineJob) flags(f *pflag.FlagSet) {
	f.IntVar(&j.load.Query, "images", 16, "images a request")
	f.IntVar(&j.load.Batch, "batch", 16, "requests in a full batch")
	f.DurationVar(&j.load.SLO, "slo", 50*time.Millisecond, "deadline of each request")
	f.DurationVar(&j.load.Margin, "margin", 5*time.Millisecond, "time that the server keeps free before each deadline")
	f.DurationVar(&j.load.Length, "length", 10*time.Second, "length of each load")
	f.Uint64Var(&j.load.Seed, "seed", 1, "seed of the traces")
	f.Float64SliceVar(&j.loads, "load", []float64{0.4, 0.8, 0.95}, "mean rates, as parts of what the server does with the smallest subnet")
	f.Float64SliceVar(&j.cv2, "cv2", []float64{2, 4, 8}, "squared coefficients of variation of the gaps")
	f.StringVar(&j.out, "out", "weft-engine", "folder to keep results, plots and report in")
	f.BoolVar(&j.quiet, "quiet", false, "show no progress")
}

func (j *engineJob) validate() error {
	above0 := func(v float64) bool { return v > 0 && v <= 100 }
	switch {
	case j.load.Query < 1 || j.load.Query > maxBatch:
		return usagef("--images %d: choose 1 to %d", j.load.Query, maxBatch)
	case j.load.Batch < 1 || j.load.Batch > 64:
		return usagef("--batch %d: choose 1 to 64", j.load.Batch)
	case j.load.SLO <= j.load.Margin || j.load.SLO > serve.MaxTimeout || j.load.Margin < 0:
		return usagef("--slo %v --margin %v: the deadline must be above the margin and at most %v", j.load.SLO, j.load.Margin, serve.MaxTimeout)
	case j.load.Length < 100*time.Millisecond || j.load.Length > time.Hour:
		return usagef("--length %v: choose 100ms to 1h", j.load.Length)
	case len(j.loads) == 0 || len(j.cv2) == 0 || slices.ContainsFunc(slices.Concat(j.loads, j.cv2), func(v float64) bool { return !above0(v) }):
		return usagef("--load %v --cv2 %v: give numbers above 0", j.loads, j.cv2)
	}
	return nil
}

func (j *engineJob) run(ctx context.Context, out, errw io.Writer) error {
	if err := j.validate(); err != nil {
		return err
	}
	if err := os.MkdirAll(j.out, 0o755); err != nil {
		return err
	}
	r, err := j.measure(ctx, errw)
	if err != nil {
		return err
	}
	b := thisBuild()
	machine := fmt.Sprintf("%s, %d cores, kernels %s, %s", b.CPU, b.Cores, b.Kernel, b.Go)
	if err := engine.Write(j.out, j.command(), machine, r); err != nil {
		return err
	}
	if j.asJSON {
		return printJSON(out, r)
	}
	fmt.Fprintln(out, r.Note())
	for _, t := range append(r.Tables(), r.Verdicts()) {
		if err := printReportTable(out, t); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out, "\nReport with plots: %s\n", filepath.Join(j.out, "report.html"))
	return err
}

// measure runs the loads, with progress.
func (j *engineJob) measure(ctx context.Context, errw io.Writer) (*engine.Report, error) {
	program, err := programDigest()
	if err != nil {
		return nil, err
	}
	bars := newProgress(errw, j.quiet, time.Now)
	defer bars.Close()
	m, err := openModel("")
	if err != nil {
		return nil, err
	}
	p, err := m.profile(ctx, conditions{1, usual}, false, bars)
	if p == nil {
		return nil, err // that they could not be kept matters not here
	}
	images, _, err := builtin.Samples()
	if err != nil {
		return nil, err
	}
	log := newLogger(errw)
	pool := kernel.NewPool(1, kernel.Nice(computeNice))
	defer pool.Close()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(runtime.NumCPU() + 1))
	var bar *job
	r, err := engine.Run(ctx, engine.Options{
		Bundle: m.Bundle, Tuning: p.Tuning, Worker: supernet.NewWorker(pool), Images: images,
		Prepare: func() { lowerPriority(log) },
		Load:    j.load, Loads: j.loads, CV2: j.cv2, Dir: j.out, Program: program,
		Progress: func(_, total int) {
			if bar == nil {
				bar = bars.Start("engine", "runs", 0, int64(total))
			}
			bar.Add(1)
		},
	})
	if bar != nil {
		bar.End()
	}
	return r, err
}

// command is the command line that measures the same.
func (j *engineJob) command() string {
	numbers := func(all []float64) string { return strings.ReplaceAll(strings.Trim(fmt.Sprint(all), "[]"), " ", ",") }
	return fmt.Sprintf("weft experiment engine --images %d --batch %d --slo %v --margin %v --length %v --seed %d --load %s --cv2 %s --out %s",
		j.load.Query, j.load.Batch, j.load.SLO, j.load.Margin, j.load.Length, j.load.Seed, numbers(j.loads), numbers(j.cv2), j.out)
}
