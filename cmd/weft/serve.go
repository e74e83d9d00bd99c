package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"weft/kernel"
	"weft/oip"
	"weft/sched"
	"weft/serve"
)

// computeNice is the nice value of compute threads: low enough that threads of the network, woken by a packet, run at
// once (docs/performance.md, HTTP under full compute).
const computeNice = 5

// serveJob says how to serve.
type serveJob struct {
	http, policy     string
	slo, margin      time.Duration
	workers, threads int
	quiet            bool
}

// newServeCmd returns the serve command.
func newServeCmd() *cobra.Command {
	var job serveJob
	cmd := &cobra.Command{
		Use:   "serve [model.weft ...]",
		Short: "Serve every subnet of a bundle over the Open Inference Protocol",
		Long: `Serve bundles over HTTP: each request names its deadline and gets the most accurate subnet that meets it. Without a
bundle the one built in is served as model "fashion". Latencies are measured first where there are none for this
machine yet. SIGTERM and Ctrl-C drain: requests that are in get their answers, new ones are refused.`,
		Example: "  weft serve\n  weft serve fashion.weft --http :8080 --slo 30ms --policy slackfit",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{""}
			}
			return job.run(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringVar(&job.http, "http", "127.0.0.1:8080", "address to listen on; port 0 takes a free one")
	f.StringVar(&job.policy, "policy", sched.DefaultPolicy, fmt.Sprintf("how to choose subnet and batch: %v", sched.Policies()))
	f.DurationVar(&job.slo, "slo", serve.DefaultSLO, "deadline of requests that name none")
	f.DurationVar(&job.margin, "margin", time.Millisecond, "time kept free before each deadline for what is not computing")
	f.IntVar(&job.workers, "workers", max(runtime.NumCPU()-1, 1), "workers of each model")
	f.IntVar(&job.threads, "threads", 1, "compute threads of a worker")
	f.BoolVar(&job.quiet, "quiet", false, "show no progress")
	return cmd
}

func (j *serveJob) validate() error {
	switch {
	case j.workers < 1 || j.threads < 1:
		return usagef("--workers %d --threads %d: both must be at least 1", j.workers, j.threads)
	case j.slo <= 0 || j.slo > serve.MaxTimeout:
		return usagef("--slo %v: choose more than 0 and at most %v", j.slo, serve.MaxTimeout)
	case !sched.KnownPolicy(j.policy):
		return usagef("--policy %s: choose one of %s", j.policy, strings.Join(sched.Policies(), ", "))
	case j.margin < 0:
		return usagef("--margin %v is negative", j.margin)
	}
	return nil
}

// run serves until ctx ends.
func (j *serveJob) run(ctx context.Context, paths []string, out, errw io.Writer) error {
	if err := j.validate(); err != nil {
		return err
	}
	ln, err := listen(ctx, j.http)
	if err != nil {
		return err
	}
	defer ln.Close()
	var (
		models  []serve.Model
		closers []func()
	)
	bars := newProgress(errw, j.quiet, time.Now)
	for _, path := range paths {
		m, closeModel, err := j.load(ctx, path, bars, errw)
		if err != nil {
			bars.Close()
			return err
		}
		closers = append(closers, closeModel)
		models = append(models, m)
	}
	bars.Close()
	runtime.GOMAXPROCS(runtime.NumCPU() + j.workers*j.threads*len(models))
	log := newLogger(errw)
	s, err := serve.New(models, serve.Options{
		Policy: j.policy, SLO: j.slo, Sched: sched.Options{Margin: j.margin}, Log: log,
		Prepare: func() { lowerPriority(log) },
	})
	if err != nil {
		return err
	}
	h := oip.NewHandler(s, oip.Options{Version: thisBuild().Version, Log: log})
	for _, m := range models {
		p := m.Profile.Subnets
		fmt.Fprintf(out, "Serving %s on http://%s: %d subnets of %.2f to %.2f %%, policy %s, %s of %s\n",
			m.Name, ln.Addr(), len(p), 100*p[0].Accuracy, 100*p[len(p)-1].Accuracy, s.Router(m.Name).Policy(),
			count(j.workers, "worker"), count(j.threads, "thread"))
	}
	if err := h.Serve(ctx, ln, h); err != nil {
		return err // a batch may still run on the pools
	}
	for _, c := range closers {
		c()
	}
	return nil
}

// load reads a bundle, measures it where needed and warns where its latencies are not what the policies rely on.
func (j *serveJob) load(ctx context.Context, path string, bars *progress, errw io.Writer) (serve.Model, func(), error) {
	m, err := openModel(path)
	if err != nil {
		return serve.Model{}, nil, err
	}
	p, err := m.profile(ctx, j.threads, false, bars)
	if p == nil {
		return serve.Model{}, nil, err
	}
	if err != nil {
		newLogger(errw).Warn("the latencies are not kept and will be measured again next time", slog.Any("error", err))
	}
	pools := make([]*kernel.Pool, j.workers)
	for i := range pools {
		pools[i] = kernel.NewPool(j.threads, kernel.Nice(computeNice))
	}
	closeAll := func() {
		for _, pool := range pools {
			pool.Close()
		}
	}
	model, err := serve.Local(m.Name, m.Bundle, p, pools)
	if err != nil {
		closeAll()
		return model, nil, err
	}
	if w := model.Profile.Check(); len(w) > 0 {
		newLogger(errw).Warn("latencies are out of order, which costs the policies accuracy; run weft profile on an idle machine",
			slog.String("model", m.Name), slog.Int("places", len(w)), slog.String("first", w[0]))
	}
	return model, closeAll, nil
}

func lowerPriority(log *slog.Logger) {
	if err := kernel.LowerPriority(computeNice); err != nil {
		log.Warn("compute threads keep their priority", slog.Any("error", err))
	}
}

// listen opens the address, with a sentence on what to do when it is taken.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the address %s is in use; stop what listens there or choose another one with --http", addr)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("no permission to listen on %s; choose a port above 1023 with --http", addr)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return ln, nil
}

// count says how many there are of something.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
