// Package engine answers: what does the whole server attain on this machine? It puts
// SuperServe's bursty loads (Khare et al., NSDI 2025, Figure 9), scaled to what the
// machine can do, on a real server: HTTP on loopback, a scheduler, a worker that computes.
// Each load is also judged by what no schedule can exceed (package optimum).
package engine

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"time"

	"weft/bundle"
	"weft/experiments/kept"
	"weft/experiments/report"
	"weft/optimum"
	"weft/sched"
	"weft/supernet"
	"weft/workload"
)

// Options of Run.
type Options struct {
	Bundle *bundle.Bundle
	Tuning *supernet.Tuning // of the profile; nil: by rule
	Worker *supernet.Worker // on which the server computes
	Images []uint8          // to send, in turns: [n][H*W*C]
	// Prepare is serve.Options.Prepare.
	Prepare func()

	Load
	Loads []float64 // mean rates, as parts of what the server can do with the smallest subnet
	CV2   []float64

	// Dir is where results are kept for a run that goes on later; "": nowhere.
	Dir string
	// Program identifies the code that runs: another program measures again.
	Program string
	// Progress, if set, is called when there are done runs of total.
	Progress func(done, total int)
}

// Load is what all loads have in common.
type Load struct {
	Query  int           `json:"images"` // of a request
	Batch  int           `json:"batch"`  // requests in a full batch
	SLO    time.Duration `json:"slo_ns"`
	Margin time.Duration `json:"margin_ns"` // sched.Options.Margin
	Length time.Duration `json:"length_ns"`
	Seed   uint64        `json:"seed"`
}

// Case is a load on the server.
type Case struct {
	Load float64 `json:"load"`
	CV2  float64 `json:"cv2"`
	// Server is what Machine.Server was just before.
	Server float64 `json:"server_per_s"`
	// Trace is of a form that workload.Parse reads.
	Trace string `json:"trace"`
}

// Label is the case in words.
func (c Case) Label() string { return fmt.Sprintf("%.0f %%, CV² %v", 100*c.Load, c.CV2) }

// cell is a case under a policy.
type cell struct {
	Case
	Policy string `json:"policy"`
}

// Bound is the policy of a row that no schedule can exceed, even one that knows the future.
const Bound = "bound"

// Row is what a policy did under a load.
type Row struct {
	Case
	Policy     string  `json:"policy"`
	Requests   int     `json:"requests"`
	Attainment float64 `json:"attainment"` // answers that were there by the deadline, at the client
	Accuracy   float64 `json:"accuracy"`   // mean over those in time, as the bundle states it
	Effective  float64 `json:"effective"`  // attainment x accuracy
	Dropped    int     `json:"dropped"`
	Late       int     `json:"late"`
	Failed     int     `json:"failed"`
	P50        float64 `json:"p50_ms"` // from the intended arrival to the answer
	P99        float64 `json:"p99_ms"`
	LagP99     float64 `json:"lag_p99_ms"` // by how much the generator sent late
}

// Report is what Run found.
type Report struct {
	Load
	Machine  Machine        `json:"machine"`
	Policies []string       `json:"policies"`
	Rows     []Row          `json:"rows"`
	Claims   []report.Claim `json:"claims"`
	Plots    []report.Plot  `json:"-"`
}

// Run measures the machine, then sends each load to a server for each policy.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Dir != "" {
		o.Dir = filepath.Join(o.Dir, "cells")
	}
	measured, err := kept.New[string, Machine](o.Dir, o.Program, o.Load)
	if err != nil {
		return nil, err
	}
	rows, err := kept.New[cell, Row](o.Dir, o.Program, o.Load)
	if err != nil {
		return nil, err
	}
	l, err := newLab(ctx, &o, measured)
	if err != nil {
		return nil, err
	}
	r := &Report{Load: o.Load, Machine: l.machine, Policies: l.policies()}
	servers, err := kept.New[Case, float64](o.Dir, o.Program, o.Load)
	if err != nil {
		return nil, err
	}
	for _, c := range l.cases() {
		if c, err = l.scale(ctx, servers, c); err != nil {
			return nil, err
		}
		for _, policy := range r.Policies {
			row, err := l.row(ctx, rows, cell{c, policy})
			if err != nil {
				return nil, fmt.Errorf("%s under %s: %w", c.Trace, policy, err)
			}
			r.Rows = append(r.Rows, row)
			if o.Progress != nil {
				o.Progress(len(r.Rows), len(l.cases())*len(r.Policies))
			}
		}
	}
	r.conclude()
	return r, nil
}

// cases returns the loads, not scaled yet.
func (l *lab) cases() (all []Case) {
	for _, load := range l.Loads {
		for _, cv2 := range l.CV2 {
			all = append(all, Case{Load: load, CV2: cv2})
		}
	}
	return all
}

// scale makes the trace of a case, scaled to what the server does now: machines that are
// shared change their speed from minute to minute. As in the paper, a fifth comes at
// constant gaps.
func (l *lab) scale(ctx context.Context, kept *kept.Store[Case, float64], c Case) (Case, error) {
	server, ok, err := kept.Get(c)
	if err == nil && !ok {
		if server, err = l.capacity(ctx); err == nil {
			err = kept.Put(c, server)
		}
	}
	rate := c.Load * server
	base := math.Round(0.2 * rate)
	c.Server = server
	c.Trace = fmt.Sprintf("bursty:base=%.0f,var=%.0f,cv2=%v,for=%v", base, rate-base, c.CV2, l.Length)
	return c, err
}

// smallest is the policy that always runs the smallest subnet.
const smallest = "infaas"

// policies returns those to compare.
func (l *lab) policies() []string {
	s := l.model.Profile.Subnets
	return []string{
		"weft", "slackfit", "maxbatch", smallest, "fixed:" + s[len(s)/2].Name, "fixed:" + s[len(s)-1].Name, Bound,
	}
}

// row returns what is kept of a cell, or runs it.
func (l *lab) row(ctx context.Context, kept *kept.Store[cell, Row], c cell) (Row, error) {
	row, ok, err := kept.Get(c)
	if err != nil || ok {
		return row, err
	}
	trace, err := workload.Parse(c.Trace, l.Seed)
	if err != nil {
		return row, err
	}
	if c.Policy == Bound {
		row, err = l.bound(trace.Arrivals)
	} else {
		row, err = l.run(ctx, c.Policy, trace.Arrivals)
	}
	if err != nil {
		return row, err
	}
	row.Case, row.Policy = c.Case, c.Policy
	return row, kept.Put(c, row)
}

// bound returns what no schedule can exceed that computes no faster than was measured, of
// attainment and of the sum of accuracies each.
func (l *lab) bound(arrivals []time.Duration) (Row, error) {
	requests := sched.OpenLoop(arrivals, l.SLO)
	for i := range requests {
		requests[i].Size = l.Query
	}
	in := optimum.Instance{Profile: l.model.Profile, Workers: 1, Requests: requests}
	met, err := optimum.BoundMet(in)
	if err != nil {
		return Row{}, err
	}
	sum, err := optimum.Bound(in)
	if err != nil {
		return Row{}, err
	}
	n := float64(len(requests))
	row := Row{Requests: len(requests), Attainment: min(met/n, 1), Effective: sum / n}
	row.Accuracy = row.Effective / row.Attainment
	return row, nil
}
