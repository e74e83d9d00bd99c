package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"weft/sched"
	"weft/serve"
	"weft/workload"
)

// simJob is what a simulated load needs beside the load.
type simJob struct {
	on               bool
	policy           string
	workers, threads int
}

// simOnly names the flags that make no sense for a load on a server.
var simOnly = []string{"policy", "workers", "threads"}

func (j *simJob) add(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&j.on, "sim", false, "simulate the scheduler in virtual time instead of calling a server")
	f.StringVar(&j.policy, "policy", sched.DefaultPolicy, fmt.Sprintf("with --sim, how to choose subnet and batch: %v", sched.Policies()))
	f.IntVar(&j.workers, "workers", 1, "with --sim, number of workers")
	f.IntVar(&j.threads, "threads", 1, "with --sim, threads of a worker for which latencies were measured")
}

// simulate puts the load on the scheduler and accounts for it.
func (j *benchJob) simulate(ctx context.Context, paths []string, errw io.Writer, quiet bool) (workload.Summary, error) {
	trace, err := j.parseTrace()
	if err != nil {
		return workload.Summary{}, err
	}
	if j.sim.workers < 1 || j.sim.threads < 1 {
		return workload.Summary{}, usagef("--workers %d --threads %d: both must be at least 1", j.sim.workers, j.sim.threads)
	}
	p, err := measured(ctx, strings.Join(paths, ""), j.sim.threads, errw, quiet)
	if err != nil {
		return workload.Summary{}, err
	}
	requests, err := j.requests(trace.Arrivals, p)
	if err != nil {
		return workload.Summary{}, err
	}
	if _, err := sched.ParsePolicy(j.sim.policy, p, sched.Options{}); err != nil {
		return workload.Summary{}, usagef("--policy: %v", err)
	}
	sim := sched.Sim{Profile: p, Policy: j.sim.policy, Workers: j.sim.workers, Requests: requests}
	outcomes, err := sim.Run()
	if err != nil {
		return workload.Summary{}, err
	}
	return workload.Account(simulated(p, requests, outcomes), j.bin), nil
}

// measured returns the latencies of a bundle as the scheduler wants them, measured now if they never were.
func measured(ctx context.Context, path string, threads int, errw io.Writer, quiet bool) (*sched.Profile, error) {
	m, err := openModel(path)
	if err != nil {
		return nil, err
	}
	bars := newProgress(errw, quiet, time.Now)
	p, err := m.profile(ctx, conditions{threads, usual}, false, bars)
	bars.Close()
	if p == nil {
		return nil, err
	}
	return serve.Profile(m.Bundle, p) // that they could not be kept matters not here
}

// requests makes those of the load out of its arrivals.
func (j *benchJob) requests(arrivals []time.Duration, p *sched.Profile) ([]sched.Request, error) {
	late, err := j.latePolicy()
	if err != nil {
		return nil, err
	}
	if j.slo <= 0 {
		return nil, usagef("--slo %v: give a duration above 0", j.slo)
	}
	if j.images < 1 || j.images > p.MaxBatch {
		return nil, usagef("--images %d: choose 1 to %d", j.images, p.MaxBatch)
	}
	subnet := sched.AnySubnet
	if j.subnet != "" {
		if subnet = p.Index(j.subnet); subnet < 0 {
			return nil, usagef("--subnet %s is not served: weft inspect lists the subnets", j.subnet)
		}
	}
	requests := sched.OpenLoop(arrivals, j.slo)
	for i := range requests {
		r := &requests[i]
		r.Size, r.MinAccuracy, r.Subnet, r.Late = j.images, j.minAccuracy, subnet, late
	}
	return requests, nil
}

// simulated turns what became of requests in virtual time into what is accounted for.
func simulated(p *sched.Profile, requests []sched.Request, outcomes []sched.Outcome) []workload.Outcome {
	all := make([]workload.Outcome, len(outcomes))
	for i, o := range outcomes {
		r := &requests[i]
		w := workload.Outcome{Intended: r.Arrival, Sent: r.Arrival, Finished: o.Finished, Deadline: r.Deadline}
		w.Images, w.Correct = r.Size, -1
		switch o.Dropped {
		case 0:
			s := &p.Subnets[o.Subnet]
			w.Subnet, w.Accuracy, w.BatchSize = s.Name, s.Accuracy, o.Images
			w.Queue, w.Compute = o.Started-r.Arrival, o.Finished-o.Started
		case sched.Late, sched.Full:
			w.Status = workload.Dropped
		default:
			w.Status, w.Err = workload.Failed, "no subnet meets --min-accuracy and --subnet"
		}
		all[i] = w
	}
	return all
}
