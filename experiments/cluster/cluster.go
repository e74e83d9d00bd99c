package cluster

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"weft/experiments/report"
	"weft/remote"
)

// Result is what became of the requests of a scenario.
type Result struct {
	Scenario string         `json:"scenario"`
	Note     string         `json:"note"`              // what happens in it
	Skipped  string         `json:"skipped,omitempty"` // why it was not run
	Parts    []Part         `json:"parts"`
	Times    []Timing       `json:"times,omitempty"`
	Claims   []report.Claim `json:"claims"`
}

// Part is the account of a stretch of time.
type Part struct {
	Name     string `json:"name"`
	*Account        // of the whole, it has what the router counts too
}

// Timing is how long something took.
type Timing struct {
	What string  `json:"what"`
	MS   float64 `json:"ms"`
}

// scenario is one of them.
type scenario struct {
	name, note string
	run        func(ctx context.Context, r *run) error
}

var scenarios = []scenario{killed, halved, frozen, cut, threeBuses, restarted}

// Scenarios returns their names.
func Scenarios() (names []string) {
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// Options of Run.
type Options struct {
	Program   string   // weft
	Scenarios []string // of Scenarios(); none: all
	// Brief is by how much loads are shortened (0: not).
	Brief    float64
	Log      io.Writer         // gets what the processes say; nil: nobody
	Progress func(name string) // is called before each scenario; nil: is not
}

// Run runs scenarios one after the other.
func Run(ctx context.Context, o Options) (results []*Result, err error) {
	for _, s := range scenarios {
		if len(o.Scenarios) > 0 && !slices.Contains(o.Scenarios, s.name) {
			continue
		}
		if o.Progress != nil {
			o.Progress(s.name)
		}
		r, err := s.in(ctx, &o)
		if err != nil {
			return results, fmt.Errorf("scenario %s: %w", s.name, err)
		}
		results = append(results, r)
	}
	return results, nil
}

// in runs the scenario in a lab of its own.
func (s *scenario) in(ctx context.Context, o *Options) (*Result, error) {
	dir, err := os.MkdirTemp("", "weft-cluster-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	lab, err := NewLab(o.Program, dir, o.Log)
	if err != nil {
		return nil, err
	}
	defer lab.Close()
	r := &run{Lab: lab, Result: &Result{Scenario: s.name, Note: s.note}, scale: 1}
	if o.Brief > 0 {
		r.scale = 1 / o.Brief
	}
	return r.Result, s.run(ctx, r)
}

// run is a scenario on its way.
type run struct {
	*Lab
	*Result
	scale  float64 // of times
	server *Server
}

// The conditions of all scenarios.
const (
	slo   = 500 * time.Millisecond
	lease = remote.DefaultLease
	seed  = 1
)

// largest is how many images a second a worker's executor runs by the largest subnet.
var largest = 16 / Latency(1, 16).Seconds()

// serve starts a router that is its own bus, with so many workers.
func (r *run) serve(ctx context.Context, workers int) (all []*Process, err error) {
	r.server, err = r.Serve(ctx, "--http", "127.0.0.1:0", "--bus-listen", "127.0.0.1:0", "--state-dir", filepath.Join(r.Dir, "state"),
		"--lease", lease.String())
	if err != nil {
		return nil, err
	}
	if all, err = r.Workers(r.server.Bus, workers); err != nil {
		return nil, err
	}
	return all, r.server.Ready(ctx, workers)
}

// event is something that happens a time after the load began.
type event struct {
	at time.Duration
	do func() error
}

// load puts a load on the router while events happen, and records it as a part.
func (r *run) load(ctx context.Context, name string, rate float64, length time.Duration, events ...event) (*Account, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	begun := time.Now()
	failed := make(chan error, 1)
	go func() {
		for _, e := range events {
			select {
			case <-time.After(r.scaled(e.at) - time.Since(begun)):
			case <-ctx.Done():
				failed <- ctx.Err()
				return
			}
			if err := e.do(); err != nil {
				stop() // the load
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	a, err := r.server.Load(ctx, rate, slo, r.scaled(length), seed)
	if err == nil {
		err = <-failed
	} else if cause := <-failed; cause != nil {
		err = cause
	}
	if err == nil {
		r.Parts = append(r.Parts, Part{name, a})
	}
	return a, err
}

func (r *run) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) * r.scale) }

// noticed waits until the router has so many workers and records how long that took.
func (r *run) noticed(ctx context.Context, what string, workers int) error {
	start := time.Now()
	err := r.server.AwaitWorkers(ctx, workers)
	r.Times = append(r.Times, Timing{what, float64(time.Since(start).Microseconds()) / 1000})
	return err
}

// kept claims that no request was lost or answered twice, and at least so many in time.
func (r *run) kept(a *Account, attainment float64) {
	r.claim("no request is lost", "0", strconv.Itoa(a.Lost), a.Lost == 0)
	r.claim("no request is answered twice", "0", strconv.Itoa(a.Twice), a.Twice == 0)
	r.claim("requests are answered in time", fmt.Sprintf("at least %.3f", attainment), fmt.Sprintf("%.4f", a.Attainment), a.Attainment >= attainment)
}

func (r *run) claim(text, criterion, value string, holds bool) {
	r.Claims = append(r.Claims, report.Claim{
		Text: text, Criterion: criterion,
		Verdicts: []report.Verdict{{Policy: r.Scenario, Value: value, Holds: holds}},
	})
}
