// Package superserve reproduces, in virtual time, the serving experiments of SuperServe
// (Khare et al., NSDI 2025): Figures 8a with 8c, 9, 10, 11a, 11b, 11c and 13. Each gives a table,
// plots, and a verdict on every claim that the paper makes of it: the paper's figure,
// ours, and whether it holds. The schedulers are those that serve; only the batches are
// simulated, by a table of latencies.
package superserve

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"weft/experiments/kept"
	"weft/experiments/report"
	"weft/sched"
)

// Options of Run.
type Options struct {
	Profile Profile
	Figures []string // of Figures(); none: all of them
	Seed    uint64   // of the traces
	// Dir is where cells are kept for a run that goes on later; "": nowhere.
	Dir string
	// Program identifies the code that computes: another program computes cells again.
	Program string
	Jobs    int // loads simulated at a time; 0: 1
	// Progress, if set, is called when there are done cells of total, from any goroutine.
	Progress func(done, total int)
}

// Report is what the figures came to under one profile.
type Report struct {
	Profile string   `json:"profile"`
	Note    string   `json:"note"`
	Subnets []Timing `json:"subnets"`
	Figures []Figure `json:"figures"`
}

// Timing is a subnet of the profile.
type Timing struct {
	Name      string    `json:"name"`
	Accuracy  float64   `json:"accuracy"`
	LatencyMS []float64 `json:"latency_ms"`
}

// Figure is one of the paper's.
type Figure struct {
	ID     string         `json:"id"`
	Title  string         `json:"title"`
	Note   string         `json:"note"`
	Rows   []Row          `json:"rows"`
	Rivals []Rival        `json:"rivals,omitempty"`
	Claims []report.Claim `json:"claims"`
	Plots  []report.Plot  `json:"-"`
	// Columns is how many plots stand beside each other.
	Columns int `json:"-"`
}

// Row is what a policy did under a load, or in a part of it.
type Row struct {
	Case       string  `json:"case"`
	Policy     string  `json:"policy"`
	Attainment float64 `json:"attainment"`
	Accuracy   float64 `json:"accuracy"`
	Effective  float64 `json:"effective"`
	// OfBound is the part of what the upper bound leaves above the smallest subnet that the
	// policy gets, in effective accuracy; absent where no bound was computed.
	OfBound *float64 `json:"of_bound,omitempty"`
	// PerSecond is the throughput, where the experiment is about that.
	PerSecond float64 `json:"per_second,omitempty"`
}

// figure is how one is made.
type figure struct {
	id, title, note string
	columns         int
	cases           func(s *setting) []Case
	policies        func(s *setting) []string
	finish          func(s *setting, f *Figure, cases []Case)
}

var figures = []figure{figure8, figure9, figure10, figure11a, figure11b, figure11c, figure13}

// Figures returns the names of those that can be reproduced.
func Figures() []string {
	var ids []string
	for _, f := range figures {
		ids = append(ids, f.id)
	}
	return ids
}

// store keeps cells.
type store = kept.Store[Cell, Result]

// newStore returns the store in the folder of a run, or one that keeps nothing for "".
func newStore(dir, program string, p *sched.Profile) (*store, error) {
	if dir != "" {
		dir = filepath.Join(dir, "cells")
	}
	return kept.New[Cell, Result](dir, program, p)
}

// setting is what the figures of a report share.
type setting struct {
	Profile
	seed    uint64
	mu      sync.Mutex
	results map[string]Result // by key
}

// key identifies a cell within a report.
func key(c Case, policy string) string {
	return fmt.Sprint(c.Trace, c.Seed, c.SLO, c.Workers, c.Images, c.Faults, policy)
}

// of returns the result of a cell that was planned.
func (s *setting) of(c Case, policy string) Result {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.results[key(c, policy)]
}

// Run computes the figures.
func Run(ctx context.Context, o Options) (*Report, error) {
	chosen, err := choose(o.Figures)
	if err != nil {
		return nil, err
	}
	st, err := newStore(o.Dir, o.Program, o.Profile.Profile)
	if err != nil {
		return nil, err
	}
	s := &setting{Profile: o.Profile, seed: o.Seed, results: map[string]Result{}}
	cases := make([][]Case, len(chosen))
	cells := map[string]Cell{}
	for i, f := range chosen {
		cases[i] = f.cases(s)
		for _, c := range cases[i] {
			for _, policy := range f.policies(s) {
				cells[key(c, policy)] = Cell{c, policy}
			}
		}
	}
	if err := s.compute(ctx, st, cells, o); err != nil {
		return nil, err
	}
	r := &Report{Profile: o.Profile.Name, Note: o.Profile.Note}
	for _, sub := range o.Profile.Subnets {
		t := Timing{Name: sub.Name, Accuracy: sub.Accuracy}
		for _, l := range sub.Latency {
			t.LatencyMS = append(t.LatencyMS, l.Seconds()*1000)
		}
		r.Subnets = append(r.Subnets, t)
	}
	for i, f := range chosen {
		to := Figure{ID: f.id, Title: f.title, Note: f.note, Columns: f.columns}
		f.finish(s, &to, cases[i])
		for k := range to.Plots {
			to.Plots[k].ID = fmt.Sprintf("%s-%s-%d", r.Profile, f.id, k)
		}
		r.Figures = append(r.Figures, to)
	}
	return r, nil
}

// choose finds the figures of these names.
func choose(ids []string) ([]figure, error) {
	if len(ids) == 0 {
		return figures, nil
	}
	var chosen []figure
	for _, id := range ids {
		i := slices.Index(Figures(), strings.ToLower(id))
		if i < 0 {
			return nil, fmt.Errorf("figure %q is not one of %s", id, strings.Join(Figures(), ", "))
		}
		chosen = append(chosen, figures[i])
	}
	return chosen, nil
}

// compute fills in the results of the cells, those of one load one after the other, so
// that its requests are made but once.
func (s *setting) compute(ctx context.Context, st *store, cells map[string]Cell, o Options) error {
	loads := map[string][]string{}
	for _, k := range slices.Sorted(maps.Keys(cells)) {
		load := key(cells[k].Case, "")
		loads[load] = append(loads[load], k)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(o.Jobs, 1))
	for _, load := range slices.Sorted(maps.Keys(loads)) {
		group.Go(func() error {
			var requests []sched.Request
			for _, k := range loads[load] {
				if err := ctx.Err(); err != nil {
					return err
				}
				r, err := s.cell(st, cells[k], &requests)
				if err != nil {
					return fmt.Errorf("%s under %s: %w", cells[k].Trace, cells[k].Policy, err)
				}
				s.mu.Lock()
				s.results[k] = r
				done := len(s.results)
				s.mu.Unlock()
				if o.Progress != nil {
					o.Progress(done, len(cells))
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// cell returns what is kept of a cell, or simulates it; requests are made when they are first needed.
func (s *setting) cell(st *store, c Cell, requests *[]sched.Request) (Result, error) {
	unnamed := c
	unnamed.Label = "" // the same load under another name is the same load
	r, ok, err := st.Get(unnamed)
	if err != nil || ok {
		return r, err
	}
	if *requests == nil {
		if *requests, err = c.requests(); err != nil {
			return r, err
		}
	}
	if r, err = c.simulate(s.Profile.Profile, *requests); err != nil {
		return r, err
	}
	return r, st.Put(unnamed, r)
}
