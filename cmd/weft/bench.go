package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weft/bundle/builtin"
	"weft/data"
	"weft/oip"
	"weft/sched"
	"weft/serve"
	"weft/workload"
)

// benchJob is a load on a server.
type benchJob struct {
	url, model, trace string
	slo               time.Duration
	images            int
	seed              uint64
	subnet, late      string
	minAccuracy       float64
	bin               time.Duration
	retry             bool
	client            clientFlags
	sim               simJob
}

// newBenchCmd returns the bench command.
func newBenchCmd() *cobra.Command {
	var (
		from          dataFlags
		name          string
		quiet, asJSON bool
		job           benchJob
	)
	cmd := &cobra.Command{
		Use:   "bench {URL | --sim [model.weft]} --trace SPEC",
		Short: "Put load with deadlines on a server, or on a simulated one, and account for every request",
		Long: `Send the requests of a trace at their times, whatever the server makes of them (open loop), with real images, check
the answers, and account: how many met their deadline, with what accuracy, how fast.

With --sim there is no server: the scheduler meets the trace in virtual time, on as many workers as you say, with the
latencies of the bundle on this machine; nothing but computing takes time.

Traces, where FILE has arrival times in seconds, rates second by second, or is one of the Azure Functions and LLM traces:
` + "  " + strings.Join(workload.Forms(), "\n  "),
		Example: `  weft bench http://127.0.0.1:8080 --trace bursty:base=300,var=700,cv2=4,for=10s --slo 30ms
  weft bench --sim --trace maf:mean=40000,for=30s --policy slackfit --workers 8 --slo 5ms`,
		Args: job.args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if job.sim.on {
				s, err := job.simulate(cmd.Context(), args, cmd.ErrOrStderr(), quiet)
				if err != nil {
					return err
				}
				return showSummary(cmd.OutOrStdout(), asJSON, s)
			}
			job.url = args[0]
			load, err := loadImages(cmd, &from, name)
			if err != nil {
				return err
			}
			bars := newProgress(cmd.ErrOrStderr(), quiet, time.Now)
			defer bars.Close()
			s, err := job.run(cmd.Context(), load, bars, "bench")
			if err != nil {
				return err
			}
			err = showSummary(cmd.OutOrStdout(), asJSON, s)
			if err == nil && s.Failed > 0 {
				err = fmt.Errorf("%d of %d requests failed", s.Failed, s.Sent)
			}
			return err
		},
	}
	from.add(cmd)
	f := cmd.Flags()
	f.StringVar(&job.trace, "trace", "bursty:base=300,var=700,cv2=4,for=10s", "arrivals")
	f.StringVar(&job.model, "model", "", "model to call (default: the only one)")
	f.DurationVar(&job.slo, "slo", serve.DefaultSLO, "deadline of each request")
	f.IntVar(&job.images, "images", 1, "images a request")
	f.Uint64Var(&job.seed, "seed", 1, "seed of the trace")
	f.StringVar(&job.subnet, "subnet", "", "pin all requests to one subnet")
	f.StringVar(&job.late, "late", "reject", "what the server does with requests that it can't answer in time: reject or serve")
	f.Float64Var(&job.minAccuracy, "min-accuracy", 0, "least profiled accuracy that requests accept, 0..1")
	f.DurationVar(&job.bin, "bin", 100*time.Millisecond, "width of the timeline's bins, in the JSON")
	f.BoolVar(&job.retry, "retry", false, "send requests again that the server refuses for its load, when it says, if their deadline leaves the time")
	job.client.flags(f)
	f.StringVar(&name, "data", "", "data set whose test images to send (default: a few dozen Fashion-MNIST images built in)")
	f.BoolVar(&quiet, "quiet", false, "show no progress")
	job.sim.add(cmd)
	jsonFlag(cmd, &asJSON)
	return cmd
}

// args wants a URL, or with --sim a bundle or nothing.
func (j *benchJob) args(cmd *cobra.Command, args []string) error {
	if !j.sim.on {
		for _, name := range simOnly {
			if cmd.Flags().Changed(name) {
				return usagef("--%s is for a simulation: add --sim, or give it to 'weft serve'", name)
			}
		}
		return takes("URL")(cmd, args)
	}
	if len(args) > 1 {
		return usagef("unexpected argument %q", args[1])
	}
	return nil
}

// loadImages returns the images to send: a data set's test images, or those built in.
func loadImages(cmd *cobra.Command, from *dataFlags, name string) (data.Split, error) {
	if name == "" {
		images, labels, err := builtin.Samples()
		return data.Split{Images: images, Labels: labels}, err
	}
	set, err := from.load(cmd.Context(), name, cmd.ErrOrStderr(), 0)
	if err != nil {
		return data.Split{}, err
	}
	return set.Test, nil
}

// parseTrace makes the arrivals.
func (j *benchJob) parseTrace() (*workload.Trace, error) {
	trace, err := workload.Parse(j.trace, j.seed)
	if errors.Is(err, fs.ErrNotExist) && !strings.HasPrefix(j.trace, "file:") {
		return nil, usagef("--trace %s is neither a file nor of a form such as %s", j.trace, workload.Forms()[0])
	}
	if err != nil {
		return nil, usagef("--trace: %v", err)
	}
	return trace, nil
}

// latePolicy reads --late.
func (j *benchJob) latePolicy() (sched.LatePolicy, error) {
	switch j.late {
	case "reject":
		return sched.Reject, nil
	case "serve":
		return sched.Serve, nil
	}
	return 0, usagef("--late %q: choose reject or serve", j.late)
}

// dial returns a client of the server.
func (j *benchJob) dial() (*oip.Client, error) {
	if err := j.client.validate(); err != nil {
		return nil, err
	}
	opt, err := j.client.options()
	if err != nil {
		return nil, err
	}
	opt.Retry = j.retry
	return oip.Dial(j.url, opt)
}

// run puts the load on the server and accounts for it.
func (j *benchJob) run(ctx context.Context, load data.Split, bars *progress, label string) (workload.Summary, error) {
	trace, err := j.parseTrace()
	if err != nil {
		return workload.Summary{}, err
	}
	client, err := j.dial()
	if err != nil {
		return workload.Summary{}, err
	}
	defer client.Close()
	s, err := newSender(ctx, client, j, load)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return workload.Summary{}, fmt.Errorf("nothing listens at %s; start 'weft serve' or name its address", j.url)
	}
	if err != nil {
		return workload.Summary{}, err
	}
	bar := bars.Start(label, "requests", 0, int64(len(trace.Arrivals)))
	defer bar.End()
	shown := 0
	outcomes, err := workload.Run(ctx, workload.Config{
		Arrivals: trace.Arrivals, SLO: j.slo, Sender: s,
		Progress: func(n int) {
			if n-shown >= 100 || n == len(trace.Arrivals) {
				bar.Add(int64(n - shown))
				shown = n
			}
		},
	})
	return workload.Account(outcomes, j.bin), err
}

// sender sends the images in turns; it implements workload.Sender.
type sender struct {
	model *oip.ClientModel
	job   *benchJob
	late  sched.LatePolicy
	load  data.Split
	size  int // bytes of an image
}

func newSender(ctx context.Context, client *oip.Client, j *benchJob, load data.Split) (*sender, error) {
	s := &sender{job: j, load: load}
	var err error
	if s.late, err = j.latePolicy(); err != nil {
		return nil, err
	}
	name := j.model
	if name == "" {
		names, err := client.Models(ctx)
		if err != nil {
			return nil, err
		}
		if len(names) != 1 {
			return nil, usagef("%s serves %v: choose one with --model", j.url, names)
		}
		name = names[0]
	}
	m, err := client.Model(ctx, name)
	if err != nil {
		return nil, err
	}
	s.model, s.size = m, m.H*m.W*m.C
	if load.N() == 0 || len(load.Images) != load.N()*s.size {
		return nil, fmt.Errorf("model %s takes images of %dx%dx%d and these have %d bytes; choose others with --data", name, m.H, m.W, m.C, len(load.Images)/max(load.N(), 1))
	}
	if most := min(load.N(), maxBatch); j.images < 1 || j.images > most {
		return nil, usagef("--images %d: choose 1 to %d", j.images, most)
	}
	return s, nil
}

// Send sends request i and checks its answer.
func (s *sender) Send(ctx context.Context, i int, left time.Duration) (workload.Reply, error) {
	n := s.job.images
	first := i * n % (s.load.N() - n + 1)
	req := serve.Request{
		N: n, Pixels: s.load.Images[first*s.size : (first+n)*s.size], Timeout: max(left, time.Microsecond),
		MinAccuracy: s.job.minAccuracy, Subnet: s.job.subnet, Late: s.late,
	}
	reply := workload.Reply{Images: n}
	var resp serve.Response
	if err := s.model.InferInto(ctx, &req, &resp); err != nil {
		switch serve.CodeOf(err) {
		case serve.Late, serve.Full:
			reply.Status = workload.Dropped
			return reply, nil
		}
		return reply, err
	}
	reply.Subnet, reply.Accuracy, reply.BatchSize = resp.Subnet, resp.Accuracy, resp.Batch
	reply.Queue, reply.Compute = resp.Queue, resp.Compute
	for k, label := range resp.Labels {
		if label == int64(s.load.Labels[first+k]) {
			reply.Correct++
		}
	}
	return reply, nil
}

// summaryRow is the outcome of a load as a table shows it.
type summaryRow struct {
	Requests   int     `col:"requests"`
	Attainment float64 `col:"met their deadline,%.4f"`
	Dropped    int     `col:"dropped"`
	Late       int     `col:"late"`
	Failed     int     `col:"failed"`
	Accuracy   float64 `col:"mean accuracy of the subnets (validation),%.4f"`
	Answers    string  `col:"answers that were right (of the images sent)"`
	Goodput    float64 `col:"goodput (images/s),%.0f"`
	P50        float64 `col:"p50 (ms),%.2f"`
	P99        float64 `col:"p99 (ms),%.2f"`
}

// showSummary prints it as JSON or as a table.
func showSummary(w io.Writer, asJSON bool, s workload.Summary) error {
	if asJSON {
		return printJSON(w, s)
	}
	answers := "unknown"
	if s.AnswerAccuracy >= 0 {
		answers = fmt.Sprintf("%.4f", s.AnswerAccuracy)
	}
	err := printRecord(w, false, summaryRow{
		s.Sent, s.Attainment, s.Dropped, s.Late, s.Failed, s.MeanAccuracy, answers,
		s.Goodput, s.LatencyMS.P50, s.LatencyMS.P99,
	})
	for _, e := range s.Errors {
		fmt.Fprintf(w, "%d requests failed: %s\n", e.Count, e.Message)
	}
	return err
}
