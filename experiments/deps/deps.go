// Package deps reproduces the comparison of DepS (Annavajjala et al., ECCV 2024) at a scale that two cores manage: DepS
// beside OFA, CompOFA, BigNAS and naive joint training, each with its published schedule in proportion, and at equal
// cost; the dip of the largest subnet where the others join, with and without the ε ramp; the share of the warm-up; and
// distillation in place with and without it.
package deps

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"time"

	"weft/data"
	"weft/experiments/report"
	"weft/kernel"
	"weft/search"
	"weft/supernet"
	"weft/train"
	"weft/train/runs"
)

// Options of Run.
type Options struct {
	Dir    string         // of runs, in runs/, and of results, one file a cell in results/
	Only   *regexp.Regexp // cells to train, by ID; nil: all
	Budget time.Duration  // of a cell's training; it fails if it takes longer. 0: any
	// Load returns a data set with so many validation images.
	Load func(ctx context.Context, name string, val int) (*data.Set, error)
	Pool *kernel.Pool
	// Machine says where the seconds were spent.
	Machine Machine
	// Cell, if set, is called before a cell is trained, and Observe with its metrics.
	Cell    func(c Cell, done, total int)
	Observe func(c Cell, m train.Metrics, steps int)
	Now     func() time.Time
}

// Machine is where a cell was trained.
type Machine struct {
	CPU     string `json:"cpu"`
	Kernel  string `json:"kernel"`
	Threads int    `json:"threads"`
	Version string `json:"version"`
}

// Net is the accuracy of a subnet on the test images, 0..1, in evaluation mode after recalibration.
type Net struct {
	Subnet   string  `json:"subnet"`
	MACs     int     `json:"macs"`
	Accuracy float64 `json:"accuracy"`
}

// Point of a course: accuracies on the validation images.
type Point struct {
	Epoch float64 `json:"epoch"`
	MACs  float64 `json:"macs"` // spent
	Beta  float64 `json:"beta"`
	Max   float64 `json:"max"`
	Min   float64 `json:"min,omitempty"`
}

// Result is what became of a cell.
type Result struct {
	ID      string       `json:"id"`
	Config  train.Config `json:"config"`
	Machine Machine      `json:"machine"`
	MACs    float64      `json:"macs"`    // spent on training, forwards and backwards
	Seconds float64      `json:"seconds"` // likewise
	Test    []Net        `json:"test"`    // six uniform subnets, the smallest first, or the one that was trained alone
	Course  []Point      `json:"course"`
}

// Run trains the cells that have no result yet, and returns the results of all that have one. What it was stopped in
// goes on where its last checkpoint is. A cell that fails doesn't keep the others from being trained: its error comes with
// the results.
func Run(ctx context.Context, o Options) ([]Result, error) {
	cells, err := Cells()
	if err != nil {
		return nil, err
	}
	var todo []Cell
	for _, c := range cells {
		if _, ok, err := o.kept(c); err != nil {
			return nil, err
		} else if !ok && (o.Only == nil || o.Only.MatchString(c.ID)) {
			todo = append(todo, c)
		}
	}
	var failed error
	sets := map[string]*data.Set{}
	for i, c := range todo {
		set := sets[c.Config.Data]
		if set == nil {
			if set, err = o.Load(ctx, c.Config.Data, c.Config.Val); err != nil {
				return nil, err
			}
			sets[c.Config.Data] = set
		}
		if o.Cell != nil {
			o.Cell(c, i, len(todo))
		}
		r, err := o.train(ctx, c, set)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%s: %w", c.ID, err)
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", c.ID, err))
			continue
		}
		if err := o.keep(r); err != nil {
			return nil, err
		}
	}
	var results []Result
	for _, c := range cells {
		r, ok, err := o.kept(c)
		if err != nil {
			return nil, err
		}
		if ok {
			results = append(results, r)
		}
	}
	if len(results) == 0 && failed == nil {
		return nil, fmt.Errorf("no training has a result in %s and none is chosen; the ID of one is %s", o.Dir, cells[0].ID)
	}
	return results, failed
}

func (o *Options) path(id string) string { return filepath.Join(o.Dir, "results", id+".json") }

// kept returns the result of the cell, if there is one of its configuration.
func (o *Options) kept(c Cell) (r Result, ok bool, err error) {
	b, err := os.ReadFile(o.path(c.ID))
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err != nil {
		return r, false, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, false, fmt.Errorf("%s: %w; remove the file to train the cell again", o.path(c.ID), err)
	}
	return r, reflect.DeepEqual(r.Config, c.Config), nil
}

func (o *Options) keep(r Result) error {
	if err := os.MkdirAll(filepath.Join(o.Dir, "results"), 0o755); err != nil {
		return err
	}
	return report.WriteJSON(o.path(r.ID), r)
}

// train trains a cell, or goes on with it, and measures its uniform subnets on the test images.
func (o *Options) train(ctx context.Context, c Cell, set *data.Set) (Result, error) {
	dir := filepath.Join(o.Dir, "runs", c.ID)
	t, err := train.New(c.Config, set, o.Pool)
	if err != nil {
		return Result{}, err
	}
	if err := o.finish(ctx, c, t, dir); err != nil {
		return Result{}, err
	}
	run, err := runs.Open(dir)
	if err != nil {
		return Result{}, err
	}
	r := Result{ID: c.ID, Config: c.Config, Machine: o.Machine, MACs: t.Spent.MACs, Seconds: t.Spent.Seconds, Course: course(run)}
	r.Test, err = o.judge(ctx, t, set)
	return r, err
}

// finish does what is left of a training.
func (o *Options) finish(ctx context.Context, c Cell, t *train.Trainer, dir string) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	unlock, err := train.Lock(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := t.Load(dir); err != nil {
		return err
	}
	if err := train.WriteConfig(dir, c.Config); err != nil {
		return err
	}
	log, err := train.OpenLog(dir, t.Step)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var written, saved error
	t.Probe = c.Probe
	t.Observe = func(m train.Metrics) {
		if werr := log.Write(m); werr != nil && written == nil {
			written = fmt.Errorf("write the metrics: %w", werr)
			stop(written)
		}
		if o.Budget > 0 && m.Seconds > o.Budget.Seconds() {
			stop(fmt.Errorf("its training takes longer than %v; give it more with --budget", o.Budget))
		}
		if o.Observe != nil {
			o.Observe(c, m, t.Total)
		}
	}
	err = t.Run(ctx, func() error {
		saved = t.Save(dir)
		return saved
	})
	switch cause := context.Cause(ctx); {
	case written != nil: // the last line too, which the course would lack
		return written
	case saved != nil:
		return saved
	case err != nil && cause != nil:
		return cause
	}
	return err
}

// judge measures the six uniform subnets, or the one that was trained alone, on the test images.
func (o *Options) judge(ctx context.Context, t *train.Trainer, set *data.Set) ([]Net, error) {
	calib, err := t.Config.Calibration(set, 2000)
	if err != nil {
		return nil, err
	}
	e := search.NewEvaluator(t.Net, supernet.Norms{}, calib, o.Pool)
	archs := six(t.Net.Space)
	if t.Config.Alone() {
		a, err := t.Config.Trained(t.Net.Space)
		if err != nil {
			return nil, err
		}
		archs = []supernet.Arch{a}
	}
	var judged []Net
	for _, a := range archs {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		r, err := e.Evaluate(a, set.Test)
		if err != nil {
			return nil, err
		}
		judged = append(judged, Net{t.Net.Space.Format(a), r.MACs, r.Accuracy})
	}
	return judged, nil
}

// nets is how many subnets are judged.
const nets = 6

// six returns six of the uniform subnets, evenly spaced in the list by rising cost, its ends included.
func six(space *supernet.Space) []supernet.Arch {
	all := space.Uniform()
	n := min(nets, len(all))
	archs := make([]supernet.Arch, n)
	for i := range archs {
		archs[i] = all[i*(len(all)-1)/max(n-1, 1)]
	}
	return archs
}

// course is the accuracy of the largest and the smallest subnet over a run.
func course(r *runs.Run) []Point {
	var points []Point
	for i := range r.Metrics {
		m := &r.Metrics[i]
		if len(m.Eval) == 0 {
			continue
		}
		p := Point{Epoch: m.Epoch, MACs: m.MACs, Beta: m.Beta}
		for _, e := range m.Eval {
			switch e.Net {
			case "max":
				p.Max = e.Accuracy
			case "min":
				p.Min = e.Accuracy
			}
		}
		points = append(points, p)
	}
	return points
}
