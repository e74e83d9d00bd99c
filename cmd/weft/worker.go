package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/bundle"
	"weft/kernel"
	"weft/remote"
	"weft/sched"
	"weft/serve"
	"weft/supernet"
)

// workerJob says how to work for a server elsewhere.
type workerJob struct {
	busFlags
	id, listen, advertise string
	workers               int
	insecure              bool
	grace                 time.Duration
	sleep                 string // file with the latencies to sleep for; "": compute
	quiet                 bool
	conditions

	crew []*supernet.Worker // one a slot
}

// newWorkerCmd returns the worker command.
func newWorkerCmd() *cobra.Command {
	var job workerJob
	cmd := &cobra.Command{
		Use:   "worker --bus nats://HOST:PORT",
		Short: "Run batches for a server on another machine",
		Long: `Join a server that was started with --bus or --bus-listen: fetch its bundles, measure them on this machine, and run its
batches. The server connects to this worker, at the address that it tells the bus. SIGTERM and Ctrl-C let the batches
that run end and leave.`,
		Example: "  weft serve --bus-listen 10.0.0.1:4222 --state-dir state --bus-token token\n  weft worker --bus nats://10.0.0.1:4222 --bus-token token --listen 10.0.0.2:7070 --insecure",
		Args:    takes(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return job.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	job.busFlags.flags(f, "NATS servers of the bus, nats://HOST:PORT[,...]")
	f.StringVar(&job.id, "id", "", "name of this worker, unlike those of the others (default: the host's and a random word)")
	f.StringVar(&job.listen, "listen", "127.0.0.1:0", "address to take batches on; port 0 takes a free one")
	f.StringVar(&job.advertise, "advertise", "", "address by which the server reaches --listen, HOST or HOST:PORT (default: the address towards the bus)")
	f.BoolVar(&job.insecure, "insecure", false, "listen beyond this machine without certificates")
	f.IntVar(&job.workers, "workers", max(runtime.NumCPU()-1, 1), "batches at a time")
	f.IntVar(&job.threads, "threads", 1, "compute threads of a batch")
	f.DurationVar(&job.grace, "grace", remote.DefaultGrace, "how long batches may go on after SIGTERM")
	f.StringVar(&job.sleep, "sleep", "", "do not compute but sleep as long as the latencies in this file say, a bundle's .profile.json of any machine: to try clusters larger than one's own")
	job.flag(cmd)
	f.BoolVar(&job.quiet, "quiet", false, "show no progress")
	return cmd
}

func (j *workerJob) validate() error {
	host, _, err := net.SplitHostPort(j.listen)
	switch {
	case len(j.urls) == 0:
		return usagef("name the bus with --bus nats://HOST:PORT")
	case err != nil:
		return usagef("--listen %s: use HOST:PORT", j.listen)
	case j.tls.Cert == "" && !j.insecure && !localHost(host):
		return usagef("--listen %s: images would travel unencrypted; give --cluster-cert, --cluster-key and --cluster-ca, or --insecure", j.listen)
	case j.workers < 1:
		return usagef("--workers %d: choose at least 1", j.workers)
	case j.workers > remote.MaxSlots:
		return usagef("--workers %d: choose at most %d", j.workers, remote.MaxSlots)
	case j.grace <= 0:
		return usagef("--grace %v: choose more than 0", j.grace)
	}
	if err := j.busFlags.validate(); err != nil {
		return err
	}
	return j.conditions.validate()
}

// localHost reports whether only this machine reaches the host.
func localHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// run works until ctx ends.
func (j *workerJob) run(ctx context.Context, out, errw io.Writer) error {
	if err := j.validate(); err != nil {
		return err
	}
	log := newLogger(errw)
	creds, err := j.credentials(true)
	if err != nil {
		return err
	}
	ln, err := listen(ctx, j.listen, "--listen")
	if err != nil {
		return err
	}
	defer ln.Close()
	address, err := j.address(ctx, ln)
	if err != nil {
		return err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("find a folder to keep bundles in: %w", err)
	}
	b, err := j.dial(ctx, "weft worker", log)
	if err != nil {
		return err
	}
	defer b.Close()
	defer j.hire()()
	runtime.GOMAXPROCS(runtime.NumCPU() + j.workers*j.threads)
	id := j.name()
	announce(ctx, log)
	fmt.Fprintf(out, "Worker %s takes batches on %s, %s of %s\n", id, address, count(j.workers, "slot"), count(j.threads, "thread"))
	return remote.Work(ctx, b, remote.WorkerOptions{
		ID: id, Listener: ln, Address: address, Slots: j.workers, Machine: thisMachine(j.threads), Build: thisBuild().Version,
		Cache: filepath.Join(cache, "weft", "bundles"), Credentials: creds, Grace: j.grace, Log: log,
		Prepare: func() { lowerPriority(log) },
		Load: func(ctx context.Context, _, path string, raw []byte) (*remote.Model, []bundle.SubnetTiming, error) {
			return j.load(ctx, path, raw, errw)
		},
	})
}

// hire makes what the slots compute on.
func (j *workerJob) hire() (dismiss func()) {
	var pools []*kernel.Pool
	for range j.workers {
		pool := kernel.NewPool(j.threads, kernel.Nice(computeNice))
		pools = append(pools, pool)
		j.crew = append(j.crew, supernet.NewWorker(pool))
	}
	return func() {
		for _, pool := range pools {
			pool.Close()
		}
	}
}

// notAWord matches what names on the bus may not have.
var notAWord = regexp.MustCompile(`[^a-zA-Z0-9_-]+`)

// name returns the worker's name.
func (j *workerJob) name() string {
	if j.id != "" {
		return notAWord.ReplaceAllString(j.id, "-")
	}
	host, err := os.Hostname()
	if err != nil {
		host = "worker"
	}
	return notAWord.ReplaceAllString(host, "-") + "-" + strings.ToLower(rand.Text()[:6])
}

// address returns where the server reaches the listener.
func (j *workerJob) address(ctx context.Context, ln net.Listener) (string, error) {
	host, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		return "", err
	}
	if j.advertise != "" {
		if _, _, err := net.SplitHostPort(j.advertise); err == nil {
			return j.advertise, nil
		}
		return net.JoinHostPort(j.advertise, port), nil
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsUnspecified() {
		return ln.Addr().String(), nil
	}
	u, err := url.Parse(j.urls[0])
	if err != nil || u.Host == "" {
		return "", usagef("--bus %s: use nats://HOST:PORT", j.urls[0])
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", net.JoinHostPort(u.Hostname(), "4222")) // sends nothing
	if err != nil {
		return "", fmt.Errorf("find this machine's address; name it with --advertise: %w", err)
	}
	defer c.Close()
	host, _, err = net.SplitHostPort(c.LocalAddr().String())
	return net.JoinHostPort(host, port), err
}

// load reads a bundle, measures it unless that was done before, and makes its executors.
func (j *workerJob) load(ctx context.Context, path string, raw []byte, errw io.Writer) (*remote.Model, []bundle.SubnetTiming, error) {
	m, err := decodeModel(raw)
	if err != nil {
		return nil, nil, err
	}
	m.sidecar = bundle.SidecarPath(path)
	p, err := j.profile(ctx, m, errw)
	if err != nil {
		return nil, nil, err
	}
	space := m.Net.Space
	r := &remote.Model{Name: m.Name, Image: space.Input.H * space.Input.W * space.Input.C, Classes: space.Classes, MaxBatch: maxBatch}
	for _, s := range m.Points() {
		r.Subnets = append(r.Subnets, s.Name())
	}
	all, err := profiled(m, p)
	if err != nil {
		return nil, nil, err
	}
	r.Latency = all.Latency
	if j.sleep != "" {
		for range j.workers {
			r.Executors = append(r.Executors, &serve.SleepExecutor{Profile: all, Classes: r.Classes})
		}
	} else if r.Executors, err = serve.Executors(m.Bundle, p, j.crew); err != nil {
		return nil, nil, err
	}
	debug.FreeOSMemory() // the file's contents, and statistics, which plans have folded
	return r, p.Subnets, nil
}

// profile returns the latencies of this machine, or those to sleep for.
func (j *workerJob) profile(ctx context.Context, m *model, errw io.Writer) (*bundle.Profile, error) {
	if j.sleep != "" {
		p, err := bundle.AnyProfile(j.sleep, m.digest)
		if err == nil && p == nil {
			err = fmt.Errorf("%s has no latencies of model %s with digest %.12s", j.sleep, m.Name, m.digest)
		}
		return p, err
	}
	bars := newProgress(errw, j.quiet, time.Now)
	defer bars.Close()
	p, err := m.profile(ctx, j.conditions, false, bars)
	if p != nil && err != nil {
		newLogger(errw).Warn("the latencies are not kept and will be measured again next time", slog.Any("error", err))
		err = nil
	}
	return p, err
}

// profiled returns the latencies of all subnets of the model, in its order, also of those that no scheduler would use.
func profiled(m *model, measured *bundle.Profile) (*sched.Profile, error) {
	timings := measured.Subnets
	p := &sched.Profile{MaxBatch: maxBatch}
	for _, s := range m.Points() {
		i := slices.IndexFunc(timings, func(t bundle.SubnetTiming) bool { return t.Arch == s.Name() })
		if i < 0 || len(timings[i].LatencyUS) < maxBatch {
			return nil, fmt.Errorf("model %s lacks latencies of subnet %s up to %d images: measure it with weft profile", m.Name, s.Name(), maxBatch)
		}
		sub := sched.Subnet{Name: s.Name(), Accuracy: s.Accuracy}
		for _, us := range timings[i].LatencyUS {
			sub.Latency = append(sub.Latency, time.Duration(us*float64(time.Microsecond)))
		}
		p.Subnets = append(p.Subnets, sub)
	}
	return p, nil
}
