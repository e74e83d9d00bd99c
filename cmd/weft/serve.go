package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/kernel"
	"weft/oip"
	"weft/sched"
	"weft/serve"
	"weft/supernet"
)

// computeNice is the nice value of compute threads: low enough that threads of the network, woken by a packet, run at
// once (docs/performance.md, HTTP under full compute).
const computeNice = 5

// serveJob says how to serve.
type serveJob struct {
	http, grpc  string // addresses; grpc "": none
	policy      string
	slo, margin time.Duration
	workers     int
	fixed       bool // models are neither loaded nor unloaded
	simple      bool // the models of Triton's examples are served too
	quiet       bool
	flight      flightFlags
	trace       traceFlags
	guard       guardFlags
	cluster     clusterFlags
	dash        dashFlags
	conditions
	crew []*supernet.Worker // one a worker, on which every model runs
}

// newServeCmd returns the serve command.
func newServeCmd() *cobra.Command {
	var job serveJob
	cmd := &cobra.Command{
		Use:   "serve [model.weft ...]",
		Short: "Serve every subnet of a bundle over the Open Inference Protocol",
		Long: `Serve bundles over HTTP and gRPC: each request names its deadline and gets the most accurate subnet that meets it. Without a
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
	f.StringVar(&job.grpc, "grpc", "127.0.0.1:8081", `address to listen on for gRPC; "" for none`)
	f.StringVar(&job.policy, "policy", sched.DefaultPolicy, fmt.Sprintf("how to choose subnet and batch: %v", sched.Policies()))
	f.DurationVar(&job.slo, "slo", serve.DefaultSLO, "deadline of requests that name none")
	f.DurationVar(&job.margin, "margin", time.Millisecond, "time kept free before each deadline for what is not computing")
	f.IntVar(&job.workers, "workers", max(runtime.NumCPU()-1, 1), "workers, which all models share")
	f.IntVar(&job.threads, "threads", 1, "compute threads of a worker")
	f.BoolVar(&job.fixed, "fixed", false, "refuse to load, reload and unload models at the wish of clients")
	f.BoolVar(&job.simple, "simple", false, "serve the models simple and simple_string too, which the examples of Triton's clients call")
	job.flight.flags(f)
	job.trace.flags(f)
	job.guard.flags(f)
	job.cluster.flags(f)
	job.dash.flags(f)
	job.flag(cmd)
	f.BoolVar(&job.quiet, "quiet", false, "show no progress")
	return cmd
}

func (j *serveJob) validate() error {
	switch {
	case j.workers < 0 || j.workers == 0 && !j.cluster.on() || j.threads < 1:
		return usagef("--workers %d --threads %d: both must be at least 1, or --workers 0 with a bus that has workers", j.workers, j.threads)
	case j.slo <= 0 || j.slo > serve.MaxTimeout:
		return usagef("--slo %v: choose more than 0 and at most %v", j.slo, serve.MaxTimeout)
	case !sched.KnownPolicy(j.policy):
		return usagef("--policy %s: choose one of %s", j.policy, strings.Join(sched.Policies(), ", "))
	case j.margin < 0:
		return usagef("--margin %v is negative", j.margin)
	}
	return cmp.Or(j.flight.validate(), j.trace.validate(), j.guard.validate(), j.cluster.validate(), j.conditions.validate())
}

// run serves until ctx ends.
func (j *serveJob) run(ctx context.Context, paths []string, out, errw io.Writer) error {
	if err := j.validate(); err != nil {
		return err
	}
	if err := j.guard.open(time.Now()); err != nil {
		return err
	}
	on, err := j.listen(ctx)
	if err != nil {
		return err
	}
	defer on.close()
	log := newLogger(errw)
	shut, err := j.cluster.open(ctx, log)
	if err != nil {
		return err
	}
	defer shut()
	dismiss := j.hire()
	models, from, err := j.loadAll(ctx, paths, errw)
	if err != nil {
		return err
	}
	runtime.GOMAXPROCS(runtime.NumCPU() + j.workers*j.threads)
	j.guard.warn(log, on)
	defer j.guard.watch(ctx, log)()
	s, err := serve.New(models, serve.Options{
		Policy: j.policy, SLO: j.slo, Sched: sched.Options{Margin: j.margin, MaxAttempts: j.cluster.attempts(), Shares: j.guard.keys.Shares()}, Log: log,
		Prepare: func() { lowerPriority(log) }, Repository: from,
	})
	if err != nil {
		return err
	}
	unfollow, err := j.cluster.follow(s, from.Names(), log)
	if err != nil {
		return err
	}
	defer unfollow()
	asked, stop, err := j.flight.start(ctx, s, log)
	if err != nil {
		return err
	}
	defer stop()
	opt := oip.Options{Version: thisBuild().Version, Log: log, FixedModels: j.fixed, Flight: asked}
	traced, flush, err := j.trace.start(ctx, &opt, log)
	if err != nil {
		return err
	}
	defer flush()
	j.guard.apply(&opt)
	opt.Services = append(opt.Services, scaler(ctx, s))
	if j.simple {
		opt.Models = oip.Simple()
	}
	for _, m := range models {
		p := m.Profile.Subnets
		fmt.Fprintf(out, "Serving %s on %s://%s: %d subnets of %.2f to %.2f %%, policy %s, %s\n",
			m.Name, j.guard.scheme(), on.http.Addr(), len(p), 100*p[0].Accuracy, 100*p[len(p)-1].Accuracy, s.Router(m.Name).Policy(),
			j.cluster.crewName(j.workers, j.threads))
	}
	if len(models) > 1 {
		fmt.Fprintf(out, "The %d models share the workers\n", len(models))
	}
	h := oip.NewHandler(s, opt)
	root, stopDash := j.dash.start(ctx, s, h, log)
	defer stopDash()
	announce(ctx, log)
	if err := on.serve(ctx, h, traced(root), out); err != nil {
		return err // a batch may still run
	}
	dismiss()
	return nil
}

// hire makes what the workers compute on.
func (j *serveJob) hire() (dismiss func()) {
	pools := make([]*kernel.Pool, j.workers)
	j.crew = make([]*supernet.Worker, j.workers)
	for i := range pools {
		pools[i] = kernel.NewPool(j.threads, kernel.Nice(computeNice))
		j.crew[i] = supernet.NewWorker(pools[i])
	}
	return func() {
		for _, pool := range pools {
			pool.Close()
		}
	}
}

// loadAll loads the bundles at the paths, and returns where to load them from again.
func (j *serveJob) loadAll(ctx context.Context, paths []string, errw io.Writer) ([]serve.Model, *bundles, error) {
	bars := newProgress(errw, j.quiet, time.Now)
	defer bars.Close()
	from := &bundles{job: j, errw: errw, paths: make(map[string]string, len(paths))}
	var models []serve.Model
	for _, path := range paths {
		m, err := j.load(ctx, path, bars, errw)
		if err != nil {
			return nil, nil, err
		}
		models = append(models, m)
		from.paths[m.Name] = path
	}
	debug.FreeOSMemory() // the files' contents, and statistics, which plans have folded
	return models, from, nil
}

// load reads a bundle, measures it where needed and warns where its latencies are not what the policies rely on.
func (j *serveJob) load(ctx context.Context, path string, bars *progress, errw io.Writer) (serve.Model, error) {
	m, err := openModel(path)
	if err != nil {
		return serve.Model{}, err
	}
	if err := j.cluster.publish(ctx, m); err != nil {
		return serve.Model{}, err
	}
	model, err := j.measure(ctx, m, bars, errw)
	if err != nil {
		return model, err
	}
	model.Digest = m.digest
	if w := model.Profile.Check(); len(w) > 0 {
		newLogger(errw).Warn("latencies are out of order, which costs the policies accuracy; run weft profile on an idle machine",
			slog.String("model", m.Name), slog.Int("places", len(w)), slog.String("first", w[0]))
	}
	return model, nil
}

// measure returns the model with its latencies: those on this machine or, if it has no workers, on another one.
func (j *serveJob) measure(ctx context.Context, m *model, bars *progress, errw io.Writer) (serve.Model, error) {
	if j.workers == 0 {
		p, err := j.cluster.measured(ctx, m, newLogger(errw))
		if err != nil {
			return serve.Model{}, err
		}
		return routed(m, p)
	}
	p, err := m.profile(ctx, j.conditions, false, bars)
	if p == nil {
		return serve.Model{}, err
	}
	if err != nil {
		newLogger(errw).Warn("the latencies are not kept and will be measured again next time", slog.Any("error", err))
	}
	return serve.Local(m.Name, m.Bundle, p, j.crew)
}

func lowerPriority(log *slog.Logger) {
	if err := kernel.LowerPriority(computeNice); err != nil {
		log.Warn("compute threads keep their priority", slog.Any("error", err))
	}
}

// count says how many there are of something.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
