package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"weft/bundle"
	"weft/data"
	"weft/experiments/kept"
	"weft/kernel"
	"weft/search"
	"weft/supernet"
	"weft/train"
)

// searchJob says how a run becomes a bundle.
type searchJob struct {
	out         string
	name        string
	samples     int
	calibration int
	seed        uint64
	half        bool
	test        bool
	threads     int
	hunt        hunt
}

// newSearchCmd returns the search command.
func newSearchCmd() *cobra.Command {
	var (
		from          dataFlags
		job           searchJob
		quiet, asJSON bool
	)
	cmd := &cobra.Command{
		Use:   "search RUN -o model.weft",
		Short: "Find the subnets worth serving and write the bundle",
		Long: `Measure a sample of the subnets of a trained run, each in evaluation mode with its normalisation recalibrated on
training images, keep those that no other beats in accuracy and cost, and write the bundle: weights, statistics, the
Pareto set, and the largest and smallest subnet for reference. Subnets are chosen on the validation images; the test
images are used once, at the end, for the chosen ones.

With a --method other than sample, a predictor of accuracy is made from the sample, subnets that were not measured are
looked at through it (all of them, or by evolution), and the best of these are measured too. What is measured is kept in
the folder of the run and not measured again.`,
		Example: `  weft search runs/fashion -o fashion.weft
  weft search runs/fashion -o fashion.weft --samples 1000 --method nsga2 --cost latency --plot front.svg
  weft search runs/fashion -o small.weft --method evolution --max-latency 200us --min-accuracy 0.9`,
		Args: takes("RUN"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if job.out == "" {
				return usagef("missing -o, the file to write")
			}
			if err := job.validate(); err != nil {
				return err
			}
			cfg, err := train.ReadConfig(args[0])
			if err != nil {
				return err
			}
			if err := from.scaleAs(cfg); err != nil {
				return err
			}
			set, err := from.load(cmd.Context(), cfg.Data, cmd.ErrOrStderr(), cfg.Val)
			if err != nil {
				return err
			}
			bars := newProgress(cmd.ErrOrStderr(), quiet, time.Now)
			defer bars.Close()
			pool := kernel.NewPool(job.threads)
			defer pool.Close()
			b, front, err := job.run(cmd.Context(), args[0], cfg, set, pool, bars, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return printTable(cmd.OutOrStdout(), asJSON, job.hunt.rows(b, front))
		},
	}
	from.add(cmd)
	job.defaults()
	f := cmd.Flags()
	f.StringVarP(&job.out, "output", "o", "", "bundle to write")
	f.StringVar(&job.name, "name", "", "name of the model when served (default: the file's name)")
	f.IntVar(&job.samples, "samples", job.samples, "subnets to measure beside the uniform ones")
	f.IntVar(&job.calibration, "calibration", job.calibration, "training images that recalibrate a subnet")
	f.Uint64Var(&job.seed, "seed", job.seed, "seed of the sample and of the search")
	f.BoolVar(&job.half, "half", false, "store weights as fp16, at half the size; accuracies are measured on the rounded weights")
	f.BoolVar(&job.test, "test", true, "measure the chosen subnets on the test images")
	f.IntVar(&job.threads, "threads", runtime.NumCPU(), "compute threads")
	f.BoolVar(&quiet, "quiet", false, "show no progress")
	job.hunt.flags(f)
	jsonFlag(cmd, &asJSON)
	return cmd
}

func (j *searchJob) defaults() {
	*j = searchJob{
		samples: 100, calibration: 2000, seed: 1, test: true, threads: runtime.NumCPU(),
		hunt: defaultHunt(),
	}
}

// validate finds what would only fail once the search is over.
func (j *searchJob) validate() error {
	switch {
	case j.samples < 0 || j.samples > mostMeasured:
		return usagef("--samples %d: choose 0 to %d", j.samples, mostMeasured)
	case j.calibration < 2:
		return usagef("--calibration %d: choose at least 2", j.calibration)
	case j.threads < 1:
		return usagef("--threads %d: choose at least 1", j.threads)
	}
	if err := writable(j.out); err != nil {
		return err
	}
	if err := j.hunt.validate(); err != nil {
		return err
	}
	var files []string
	for _, path := range []string{j.out, j.hunt.plot, j.hunt.keepPredictor, j.hunt.predictor} {
		if path == "" {
			continue
		}
		name, err := realPath(path)
		if err != nil {
			return err
		}
		if slices.Contains(files, name) {
			return usagef("two files cannot both be %s; name another for one of them", path)
		}
		files = append(files, name)
	}
	if j.modelName() == "" {
		return usagef("-o %s leaves the model without a name; give it one with --name", j.out)
	}
	return nil
}

// run searches, writes the bundle and returns it with the results of its subnets.
func (j *searchJob) run(ctx context.Context, dir string, cfg train.Config, set *data.Set, pool *kernel.Pool, bars *progress, errw io.Writer) (*bundle.Bundle, []search.Result, error) {
	t, err := train.New(cfg, set, pool)
	if err != nil {
		return nil, nil, err
	}
	found, err := t.Load(dir)
	if err != nil {
		return nil, nil, err
	}
	if train.Training(dir) {
		return nil, nil, fmt.Errorf("%s is being trained; wait for the end", dir)
	}
	if !found || t.Step < t.Total {
		return nil, nil, fmt.Errorf("the run in %s is not finished (step %d of %d); go on with 'weft train --out %s --resume'", dir, t.Step, t.Total, dir)
	}
	if j.half {
		if err := bundle.Halve(t.Net.W); err != nil {
			return nil, nil, err
		}
	}
	j.calibration = min(j.calibration, set.Train.N())
	calib, err := cfg.Calibration(set, j.calibration)
	if err != nil {
		return nil, nil, err
	}
	e := search.NewEvaluator(t.Net, supernet.Norms{}, calib, pool)
	j.hunt.seed, j.hunt.trained = j.seed, cfg.Sampling()
	archs, err := j.candidates(cfg, t.Net.Space)
	if err != nil {
		return nil, nil, err
	}
	val := set.Val
	if val.N() == 0 {
		return nil, nil, errors.New("the run held out no validation images, so subnets cannot be compared; train with some (--val)")
	}
	digest := weightsDigest(t.Net)
	if err := j.hunt.feasible(t.Net.Space, len(archs), digest); err != nil {
		return nil, nil, err
	}
	if err := j.hunt.measureLatencies(ctx, t.Net, pool, errw); err != nil {
		return nil, nil, err
	}
	m := &measuring{job: j, e: e, val: val, bars: bars, errw: errw, digest: digest}
	if m.kept, err = kept.New[string, search.Result](filepath.Join(dir, "measured"), m.digest, j.calibration, set.Digest, val.N()); err != nil {
		return nil, nil, fmt.Errorf("keep what is measured in the folder of the run: %w; make it writable, or search a copy", err)
	}
	results, err := m.measure(ctx, "search", archs)
	if err != nil {
		return nil, nil, err
	}
	more, err := j.hunt.find(ctx, t.Net.Space, results, cfg.Data, m.digest, bars, errw)
	if err != nil {
		return nil, nil, err
	}
	confirmed, err := m.measure(ctx, "confirm", more)
	if err != nil {
		return nil, nil, err
	}
	results = append(results, confirmed...)
	front, err := j.choose(t.Net.Space, results)
	if err != nil {
		return nil, nil, err
	}
	if err := j.hunt.draw(results, search.Front(search.Within(results, j.hunt.limits), search.Costs[j.hunt.cost])); err != nil {
		return nil, nil, err
	}
	if _, err := fmt.Fprintf(errw, "front: hypervolume %.5f of %d measured subnets\n", hypervolume(results, search.Costs[j.hunt.cost]), len(results)); err != nil {
		return nil, nil, err
	}
	b := &bundle.Bundle{Net: t.Net}
	if b.Norms, err = e.Trim(ctx, front); err != nil {
		return nil, nil, err
	}
	recipe, err := json.Marshal(cfg)
	if err != nil {
		return nil, nil, err
	}
	b.Info = bundle.Info{Name: j.modelName(), ClassNames: set.ClassNames, Provenance: bundle.Provenance{
		Weft: thisBuild().Version, Data: cfg.Data, DataDigest: set.Digest, Recipe: recipe, Flops: t.Spent.Flops, Seconds: t.Spent.Seconds,
		Calibration: j.calibration, ValImages: val.N(), Evaluated: len(archs) + len(more), Seed: j.seed,
	}}
	if err := j.fill(ctx, b, e, front, set.Test, bars); err != nil {
		return nil, nil, err
	}
	return b, front, b.Write(j.out, j.half)
}

// candidates are the subnets to measure first: the one that was trained alone, or a sample of those that share weights.
func (j *searchJob) candidates(cfg train.Config, space *supernet.Space) ([]supernet.Arch, error) {
	if !cfg.Alone() {
		return search.Candidates(space, search.Config{Samples: j.samples, Seed: j.seed, Trained: j.hunt.trained})
	}
	if j.hunt.method != bySample && j.hunt.method != automatic {
		return nil, usagef("--method %s: the run trained one subnet alone, there are no others to look for", j.hunt.method)
	}
	if j.hunt.keepPredictor != "" || j.hunt.predictor != "" {
		return nil, usagef("the run trained one subnet alone: a predictor has nothing to foretell")
	}
	j.hunt.method = bySample
	a, err := cfg.Trained(space)
	return []supernet.Arch{a}, err
}

// hypervolume is the part that results dominate of what lies between no cost and that of the dearest one, and between the accuracy
// of the cheapest one and 1. The largest and the smallest subnet are always measured, so that it compares searches of a run.
func hypervolume(results []search.Result, cost func(*search.Result) float64) float64 {
	cheapest, dearest := &results[0], &results[0]
	for i := range results {
		switch r := &results[i]; {
		case cost(r) < cost(cheapest):
			cheapest = r
		case cost(r) > cost(dearest):
			dearest = r
		}
	}
	worst, least := cost(dearest), cheapest.Accuracy
	if least == 1 {
		return 0 // there is no more to gain
	}
	return search.Hypervolume(results, cost, worst, least) / (worst * (1 - least))
}

// fill lists the chosen subnets and measures them on the test images.
func (j *searchJob) fill(ctx context.Context, b *bundle.Bundle, e *search.Evaluator, front []search.Result, test data.Split, bars *progress) error {
	for _, r := range front {
		b.Subnets = append(b.Subnets, bundle.Subnet{Arch: b.Net.Space.Format(r.Arch), Accuracy: r.Accuracy, MACs: r.MACs, Params: r.Params})
	}
	if !j.test || test.N() == 0 {
		return nil
	}
	b.Provenance.TestImages = test.N()
	bar := bars.Start("test", "subnets", 0, int64(len(front)))
	defer bar.End()
	for i, r := range front {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, err := e.Evaluate(r.Arch, test)
		if err != nil {
			return err
		}
		b.Subnets[i].Test = t.Accuracy
		bar.Add(1)
	}
	return nil
}

func (j *searchJob) modelName() string {
	if j.name != "" {
		return j.name
	}
	base := filepath.Base(j.out)
	return base[:len(base)-len(filepath.Ext(base))]
}

// subnetRow is a line of the table of a bundle's subnets.
type subnetRow struct {
	Arch     string   `json:"arch" col:"subnet"`
	Accuracy accuracy `json:"accuracy" col:"validation,%v"`
	Test     accuracy `json:"test_accuracy,omitempty" col:"test,%v"`
	MMACs    float64  `json:"mmacs" col:"M MACs,%.2f"`
	Params   int      `json:"params" col:"parameters"`
	// Costs that a search looked at.
	Memory  int     `json:"memory,omitempty" col:"bytes,%d,optional"`
	Latency float64 `json:"latency_us,omitempty" col:"µs a batch,%.1f,optional"`
}

// accuracy is 0 if nobody measured it, as that of a network from elsewhere.
type accuracy float64

func (a accuracy) String() string {
	if a == 0 {
		return "unknown"
	}
	return strconv.FormatFloat(float64(a), 'f', 4, 64)
}

func printSubnets(w io.Writer, asJSON bool, b *bundle.Bundle) error {
	return printTable(w, asJSON, subnetRows(b))
}

func subnetRows(b *bundle.Bundle) []subnetRow {
	points := b.Points()
	rows := make([]subnetRow, len(points))
	for i, s := range points {
		rows[i] = subnetRow{Arch: s.Name(), Accuracy: accuracy(s.Accuracy), Test: accuracy(s.Test), MMACs: float64(s.MACs) / 1e6, Params: s.Params}
	}
	return rows
}

// writable reports why no file can be written to path, as far as that can be told before.
func writable(path string) error {
	if dir := filepath.Dir(path); !fileExists(dir) {
		return fmt.Errorf("there is no folder %s to write %s into; make it first", dir, filepath.Base(path))
	}
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file, name another path", path)
	}
	if err == nil && slices.Contains(train.Files(), filepath.Base(path)) {
		return fmt.Errorf("%s looks like the file of a run, name another path", path)
	}
	return nil
}

// realPath is the path of a file that may not be there yet, in a folder that is, without symbolic links.
func realPath(path string) (string, error) {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return filepath.Abs(resolved)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Abs(filepath.Join(dir, filepath.Base(path)))
}

// fileExists reports whether there is something at path.
func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
