package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weft/bundle"
	"weft/data"
	"weft/experiments/report"
	"weft/kernel"
	"weft/serve"
	"weft/train"
	"weft/workload"
)

// demoJob trains a small supernet, serves it under a bursty trace by several policies, and reports.
type demoJob struct {
	dir     string
	epochs  int
	seconds int
	images  int           // a request
	slo     time.Duration // of each request
	load    float64       // mean rate, as a multiple of what the largest subnet can serve
	quiet   bool
	asJSON  bool
}

const (
	demoFixed  = 6                    // fixed subnets to compare with
	demoMargin = 3 * time.Millisecond // what the servers keep free before each deadline
)

// newDemoCmd returns the demo command.
func newDemoCmd() *cobra.Command {
	job := demoJob{}
	var from dataFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Train a supernet, serve it under bursty load, and compare policies",
		Long: `The whole of weft in a few minutes on two cores: get Fashion-MNIST, train a small supernet with DepS, find and profile
the subnets worth serving, then serve them over HTTP at a rate that is too much for the largest, under the same
bursty trace by SlackFit, by weft's own policy and by fixed subnets. Ends with a table and a page of plots. What was
trained is kept in --dir and used again.`,
		Args: takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return job.run(cmd, &from)
		},
	}
	from.add(cmd)
	f := cmd.Flags()
	f.StringVar(&job.dir, "dir", "weft-demo", "folder to keep the run, the bundle and the report in")
	f.IntVar(&job.epochs, "epochs", 6, "passes over the training images")
	f.IntVar(&job.seconds, "seconds", 6, "length of the trace")
	f.IntVar(&job.images, "images", 4, "images a request")
	f.DurationVar(&job.slo, "slo", 30*time.Millisecond, "deadline of each request")
	f.Float64Var(&job.load, "load", 1.3, "mean rate as a multiple of what the largest subnet can serve")
	f.BoolVar(&job.quiet, "quiet", false, "show no progress")
	jsonFlag(cmd, &job.asJSON)
	return cmd
}

func (j *demoJob) validate() error {
	switch {
	case j.epochs < 1 || j.seconds < 1:
		return usagef("--epochs %d --seconds %d: both must be at least 1", j.epochs, j.seconds)
	case j.images < 1 || j.images > maxBatch:
		return usagef("--images %d: choose 1 to %d", j.images, maxBatch)
	case j.slo <= 2*demoMargin || j.slo > serve.MaxTimeout:
		return usagef("--slo %v: choose more than %v and at most %v", j.slo, 2*demoMargin, serve.MaxTimeout)
	case !(j.load > 0 && j.load <= 100):
		return usagef("--load %g: choose more than 0 and at most 100", j.load)
	}
	return nil
}

func (j *demoJob) run(cmd *cobra.Command, from *dataFlags) error {
	if err := j.validate(); err != nil {
		return err
	}
	ctx, out, errw := cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr()
	if err := os.MkdirAll(j.dir, 0o755); err != nil {
		return err
	}
	j.say(errw, "1/5 data: Fashion-MNIST")
	cfg := train.Defaults("deps", "resnet-28s", "fashion-mnist")
	cfg.Epochs, cfg.Ramp, cfg.Pad = j.epochs, 0.08, 0 // a short run learns more from unshifted images
	set, err := from.load(ctx, cfg.Data, io.Discard, cfg.Val)
	if err != nil {
		return err
	}
	m, err := j.model(ctx, cfg, set, errw)
	if err != nil {
		return err
	}
	j.say(errw, "4/5 profile: latency of every subnet at every batch size")
	bars := newProgress(errw, j.quiet, time.Now)
	p, err := m.profile(ctx, conditions{1, usual}, false, bars)
	bars.Close()
	if err != nil {
		return err
	}
	trace, policies, err := j.plan(m, p)
	if err != nil {
		return err
	}
	j.say(errw, "5/5 serve: %s, %d images a request, SLO %v, one worker with one thread", trace, j.images, j.slo)
	rows, err := j.compare(ctx, trace, policies, set.Test, errw)
	if err != nil {
		return err
	}
	page := filepath.Join(j.dir, "report.html")
	if err := j.report(page, trace, m, p, rows); err != nil {
		return err
	}
	if j.asJSON {
		return printJSON(out, rows)
	}
	if err := printTable(out, false, rows); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%s\nReport with plots: %s\nServe it yourself: weft serve %s\n", verdict(rows), page, j.bundlePath())
	return nil
}

func (j *demoJob) say(w io.Writer, format string, args ...any) {
	if !j.quiet {
		fmt.Fprintf(w, format+"\n", args...)
	}
}

func (j *demoJob) runDir() string     { return filepath.Join(j.dir, "run") }
func (j *demoJob) bundlePath() string { return filepath.Join(j.dir, "demo.weft") }

// model trains and searches, or takes up what an earlier demo left.
func (j *demoJob) model(ctx context.Context, cfg train.Config, set *data.Set, errw io.Writer) (*model, error) {
	old, err := train.ReadConfig(j.runDir())
	if err == nil && old != cfg {
		return nil, fmt.Errorf("%s holds a run with other settings; remove it or choose another --dir", j.runDir())
	}
	pool := kernel.NewPool(runtime.NumCPU())
	defer pool.Close()
	if train.Finished(j.runDir()) {
		j.say(errw, "2/5 train: done before, in %s", j.runDir())
	} else {
		j.say(errw, "2/5 train: %s with DepS, %d epochs, into %s", cfg.Space, cfg.Epochs, j.runDir())
		bars := newProgress(errw, j.quiet, time.Now)
		tj := trainJob{dir: j.runDir(), probe: 100}
		_, err := tj.run(ctx, cfg, set, pool, bars)
		bars.Close()
		if errors.Is(err, context.Canceled) {
			return nil, fmt.Errorf("%w; run the demo again and it goes on from its last checkpoint", context.Canceled)
		}
		if err != nil {
			return nil, err
		}
		if err := os.Remove(j.bundlePath()); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	if fileExists(j.bundlePath()) {
		j.say(errw, "3/5 search: done before, in %s", j.bundlePath())
		return openModel(j.bundlePath())
	}
	j.say(errw, "3/5 search: the subnets worth serving, into %s", j.bundlePath())
	bars := newProgress(errw, j.quiet, time.Now)
	defer bars.Close()
	var sj searchJob
	sj.defaults()
	sj.out, sj.name, sj.samples, sj.calibration = j.bundlePath(), "demo", 40, 1000
	if _, _, err := sj.run(ctx, j.runDir(), cfg, set, pool, bars, errw); err != nil {
		return nil, err
	}
	return openModel(j.bundlePath())
}

// plan chooses the trace and the policies: SlackFit, weft's own, and fixed subnets spread evenly over the Pareto set,
// the largest and the smallest among them.
func (j *demoJob) plan(m *model, p *bundle.Profile) (trace string, policies []string, err error) {
	rows := profileRows(m, p)
	if len(rows) < 2 {
		return "", nil, errors.New("the search found fewer than two subnets to serve; remove the folder and try again")
	}
	rate := j.load * rows[len(rows)-1].PerSecond / float64(j.images)
	base := math.Round(0.3 * rate)
	trace = fmt.Sprintf("bursty:base=%.0f,var=%.0f,cv2=8,for=%ds", base, math.Round(rate)-base, j.seconds)
	policies = []string{"slackfit", "weft"}
	n := min(demoFixed, len(rows))
	for i := range n {
		policies = append(policies, "fixed:"+rows[i*(len(rows)-1)/(n-1)].Arch)
	}
	return trace, policies, nil
}

// demoRow is the outcome of one policy.
type demoRow struct {
	Policy     string           `json:"policy" col:"policy"`
	Attainment float64          `json:"attainment" col:"attainment,%.4f"`
	Accuracy   float64          `json:"mean_accuracy" col:"mean accuracy,%.4f"`
	Answers    float64          `json:"answer_accuracy" col:"right answers,%.4f"`
	Goodput    float64          `json:"goodput_img_s" col:"images/s in time,%.0f"`
	P50        float64          `json:"p50_ms" col:"p50 ms,%.2f"`
	P99        float64          `json:"p99_ms" col:"p99 ms,%.2f"`
	Summary    workload.Summary `json:"summary"`
}

// compare runs the same trace against a server of its own for each policy.
func (j *demoJob) compare(ctx context.Context, trace string, policies []string, test data.Split, errw io.Writer) ([]demoRow, error) {
	bars := newProgress(errw, j.quiet, time.Now)
	defer bars.Close()
	var rows []demoRow
	for _, policy := range policies {
		s, err := j.measure(ctx, policy, trace, test, bars)
		if err != nil {
			return nil, fmt.Errorf("policy %s: %w", policy, err)
		}
		rows = append(rows, demoRow{policy, s.Attainment, s.MeanAccuracy, s.AnswerAccuracy, s.Goodput, s.LatencyMS.P50, s.LatencyMS.P99, s})
	}
	return rows, nil
}

// listening finds the address in what a server prints first.
var listening = regexp.MustCompile(`http://[0-9.:]+[0-9]`)

// measure starts a server process, puts the load on it and drains it.
func (j *demoJob) measure(ctx context.Context, policy, trace string, test data.Split, bars *progress) (workload.Summary, error) {
	self, err := os.Executable()
	if err != nil {
		return workload.Summary{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := exec.CommandContext(ctx, self, "serve", j.bundlePath(), "--http", "127.0.0.1:0", "--grpc", "", "--policy", policy,
		"--slo", j.slo.String(), "--margin", demoMargin.String(), "--workers", "1", "--threads", "1", "--quiet")
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	server.WaitDelay = 15 * time.Second
	var log bytes.Buffer
	server.Stderr = &log
	stdout, err := server.StdoutPipe()
	if err != nil {
		return workload.Summary{}, err
	}
	if err := server.Start(); err != nil {
		return workload.Summary{}, err
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	url := listening.FindString(line)
	if err != nil || url == "" {
		cancel()
		return workload.Summary{}, errors.Join(fmt.Errorf("the server did not start: %s", bytes.TrimSpace(log.Bytes())), server.Wait())
	}
	b := benchJob{url: url, trace: trace, slo: j.slo, images: j.images, seed: 1, late: "reject", bin: 100 * time.Millisecond}
	s, err := b.run(ctx, test, bars, policy)
	cancel()
	if werr := server.Wait(); err == nil && werr != nil && !errors.Is(werr, context.Canceled) {
		err = werr
	}
	return s, err
}

// verdict says in a sentence what the table shows.
func verdict(rows []demoRow) string {
	fit, largest := rows[0], rows[len(rows)-1]
	best := -1
	for i, r := range rows {
		if i >= 2 && r.Attainment >= fit.Attainment && (best < 0 || r.Accuracy > rows[best].Accuracy) {
			best = i
		}
	}
	s := fmt.Sprintf("SlackFit met %.2f %% of the deadlines at a mean accuracy of %.2f %%; the largest subnet alone met %.2f %%",
		100*fit.Attainment, 100*fit.Accuracy, 100*largest.Attainment)
	if best < 0 {
		return s + ", and no fixed subnet met as many as SlackFit."
	}
	return fmt.Sprintf("%s. The best fixed subnet that met as many, %s, has %.2f %%.", s, rows[best].Policy[len("fixed:"):], 100*rows[best].Accuracy)
}

// report writes the page of plots.
func (j *demoJob) report(path, trace string, m *model, p *bundle.Profile, rows []demoRow) error {
	b := thisBuild()
	d := report.Data{
		Title: "weft: one supernet, every deadline", Summary: verdict(rows),
		Machine:  fmt.Sprintf("%s, %d cores, kernels %s, %s", b.CPU, b.Cores, b.Kernel, b.Go),
		Commands: []string{"make demo", fmt.Sprintf("weft bench URL --trace %s --images %d --slo %v --data fashion-mnist", trace, j.images, j.slo)},
		SLO:      j.slo, Batches: []int{1, 4, 16},
	}
	for _, r := range profileRows(m, p) {
		d.Subnets = append(d.Subnets, report.Subnet{
			Group: "searched", Name: r.Arch, MACs: r.MMACs * 1e6, Accuracy: float64(r.Accuracy),
			Latency: []time.Duration{micros(r.LatencyUS[0]), micros(r.LatencyUS[3]), micros(r.LatencyUS[15])},
		})
	}
	for _, r := range rows {
		d.Results = append(d.Results, report.Result{
			Policy: r.Policy, Attainment: r.Attainment, MeanAccuracy: float64(r.Accuracy),
			AnswerAccuracy: r.Answers, Goodput: r.Goodput, P50: micros(1e3 * r.P50), P99: micros(1e3 * r.P99),
		})
		d.Timelines = append(d.Timelines, timelineOf(r))
	}
	lines, err := train.ReadMetrics(j.runDir())
	if err != nil {
		return err
	}
	d.Curves = curves(lines)
	return report.Write(path, d)
}

func micros(us float64) time.Duration { return time.Duration(us * float64(time.Microsecond)) }

func timelineOf(r demoRow) report.Timeline {
	const bin = 100 * time.Millisecond
	t := report.Timeline{Policy: r.Policy, Bin: bin}
	bins := r.Summary.Timeline
	for _, b := range bins[:max(len(bins)-1, 0)] { // the last one is not full
		met, acc := math.NaN(), math.NaN()
		if b.Arrivals > 0 {
			met = float64(b.Met) / float64(b.Arrivals)
		}
		if b.Answered > 0 {
			acc = b.Accuracy
		}
		rate := float64(b.Arrivals) / bin.Seconds()
		t.Bins = append(t.Bins, report.Bin{Arrivals: rate, Queue: rate * b.QueueMS / 1e3, Accuracy: acc, Batch: b.BatchSize, Attainment: met})
	}
	return t
}

// curves returns the course of training: the loss of the largest subnet, and the accuracy of both ends on the
// validation images.
func curves(lines []train.Metrics) []report.Curve {
	largest, smallest := report.Curve{Name: "largest subnet"}, report.Curve{Name: "smallest subnet"}
	loss := math.NaN()
	for i, l := range lines {
		if l.Loss > 0 {
			loss = l.Loss
		}
		if l.Beta > 0 && (i == 0 || lines[i-1].Beta == 0) {
			largest.Marks = append(largest.Marks, report.Mark{Epoch: l.Epoch, Label: "smaller subnets join"})
		}
		for _, e := range l.Eval {
			switch e.Net {
			case "max":
				largest.Points = append(largest.Points, report.Epoch{Epoch: l.Epoch, Loss: loss, Accuracy: e.Accuracy})
			case "min":
				smallest.Points = append(smallest.Points, report.Epoch{Epoch: l.Epoch, Loss: l.SubLoss, Accuracy: e.Accuracy})
			}
		}
	}
	return []report.Curve{largest, smallest}
}
