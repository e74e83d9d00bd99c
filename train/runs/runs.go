// Package runs answers: what has been trained here, and how did it go? It reads the folders that package train writes,
// keeps an index of them that can always be made again, compares them, and writes them for TensorBoard.
package runs

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"weft/atomicfile"
	"weft/train"
)

// recordFile is the file of a run folder that says how the run came about and ended.
const recordFile = "run.json"

// Record says how a run came about and ended. Folders written before there were records have none.
type Record struct {
	Version string    `json:"version,omitempty"` // of weft
	Commit  string    `json:"commit,omitempty"`  // git revision that weft was built from
	CPU     string    `json:"cpu,omitempty"`
	Kernel  string    `json:"kernel,omitempty"` // tier of the kernels, on which the bits depend
	Threads int       `json:"threads,omitempty"`
	Started time.Time `json:"started,omitzero"` // the first time
	Resumed int       `json:"resumed,omitempty"`
	Ended   time.Time `json:"ended,omitzero"` // the last time
	Failure string    `json:"failure,omitempty"`
}

// ReadRecord returns the record of the run in dir, which is empty where there is none.
func ReadRecord(dir string) (Record, error) {
	var r Record
	path := filepath.Join(dir, recordFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s: %w; remove the file, the run does not need it", path, err)
	}
	return r, nil
}

// Begin notes that the run in dir begins, or goes on, at now under these circumstances.
func Begin(dir string, how Record, now time.Time) error {
	old, err := ReadRecord(dir)
	if err != nil {
		return err
	}
	how.Started = now
	if !old.Started.IsZero() {
		how.Started, how.Resumed = old.Started, old.Resumed+1
	}
	return how.write(dir)
}

// End notes that the run in dir ended at now, by that error if it is not nil.
func End(dir string, failed error, now time.Time) error {
	r, err := ReadRecord(dir)
	if err != nil {
		return err
	}
	r.Ended = now
	if failed != nil {
		r.Failure = failed.Error()
	}
	return r.write(dir)
}

func (r Record) write(dir string) error {
	return writeJSON(filepath.Join(dir, recordFile), r)
}

func writeJSON(path string, v any) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(v)
	})
}

// Run is one training, finished or not.
type Run struct {
	Name    string // its folder below the one that was scanned
	Dir     string
	Config  train.Config
	Record  Record
	Metrics []train.Metrics
}

// Open reads the run in dir.
func Open(dir string) (*Run, error) {
	r := &Run{Name: filepath.Base(dir), Dir: dir}
	var err error
	if r.Config, err = train.ReadConfig(dir); err != nil {
		return nil, err
	}
	if r.Record, err = ReadRecord(dir); err != nil {
		return nil, err
	}
	if r.Metrics, err = train.ReadMetrics(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return r, nil
}

// Last returns the latest accuracy of the net of that name ("max", "min", …), or NaN.
func (r *Run) Last(net string) float64 {
	points := r.Accuracy(net)
	if len(points) == 0 {
		return math.NaN()
	}
	return points[len(points)-1].Accuracy
}

// Point is an accuracy on the validation images and what had been spent by then.
type Point struct {
	Step     int
	Epoch    float64
	Flops    float64
	Beta     float64 // of the smaller subnets at that step
	Accuracy float64
}

// Accuracy returns the course of the accuracy of the net of that name.
func (r *Run) Accuracy(net string) []Point {
	var points []Point
	for i := range r.Metrics {
		m := &r.Metrics[i]
		for name, e := range named(m.Eval) {
			if name == net {
				points = append(points, Point{m.Step, m.Epoch, m.Flops, m.Beta, e.Accuracy})
			}
		}
	}
	return points
}

// Nets returns the names of the nets that were evaluated, in the order of their first evaluation.
func (r *Run) Nets() []string {
	var names []string
	seen := map[string]bool{}
	for i := range r.Metrics {
		for name := range named(r.Metrics[i].Eval) {
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names
}

// named yields evaluations by names that tell them apart: the second random subnet is "random 2". They come in the same
// order in all lines of a run.
func named(evals []train.NetEval) iter.Seq2[string, *train.NetEval] {
	return func(yield func(string, *train.NetEval) bool) {
		times := map[string]int{}
		for i := range evals {
			name := evals[i].Net
			if times[name]++; times[name] > 1 {
				name += " " + strconv.Itoa(times[name])
			}
			if !yield(name, &evals[i]) {
				return
			}
		}
	}
}

// Single evaluations at a high learning rate vary by as much as a dip may be deep, so that the last before less the lowest
// of many after is above zero where nothing happened. Means of so many in a row, within so many epochs, are compared.
const (
	dipEvals  = 8
	dipEpochs = 0.25 // the accuracy climbs by more than it falls in a longer time
)

// Dip returns by how much the accuracy of the largest subnet fell when the smaller ones joined: the mean of the last eight
// evaluations before, less the lowest mean of eight in a row in the stretch after that is as long as an epoch past the end of
// the ramp; of fewer where eight take longer than a quarter of an epoch. It reports false where nothing joined, or was evaluated on
// both sides.
func Dip(largest []Point) (dip float64, ok bool) {
	var before, after []Point
	joined := math.Inf(1)
	for _, p := range largest {
		switch {
		case p.Beta == 0:
			before = append(before, p)
		case p.Epoch <= joined+1:
			after = append(after, p)
		}
		if p.Beta >= 1 {
			joined = min(joined, p.Epoch)
		}
	}
	if len(before) == 0 || len(after) == 0 {
		return 0, false
	}
	lowest := math.Inf(1)
	for first := range after {
		mean, last := meanUpTo(after[first:])
		if last && first > 0 {
			break // fewer than there could be
		}
		lowest = min(lowest, mean)
	}
	slices.Reverse(before)
	mean, _ := meanUpTo(before)
	return mean - lowest, true
}

// meanUpTo is the mean accuracy of the first points, up to dipEvals of them within dipEpochs, and whether there are too few to tell
// where it would have ended.
func meanUpTo(points []Point) (mean float64, short bool) {
	n := 0
	for n < len(points) && n < dipEvals && math.Abs(points[n].Epoch-points[0].Epoch) <= dipEpochs {
		mean += points[n].Accuracy
		n++
	}
	return mean / float64(n), n == len(points) && n < dipEvals
}

// Dip returns the dip of the run.
func (r *Run) Dip() (dip float64, ok bool) { return Dip(r.Accuracy("max")) }

// AtFlops returns the accuracy of the net when so many flops had been spent, in a straight line between evaluations. It
// is NaN outside of them.
func (r *Run) AtFlops(net string, flops float64) float64 {
	points := r.Accuracy(net)
	for i, p := range points {
		switch {
		case p.Flops == flops:
			return p.Accuracy
		case p.Flops > flops && i > 0:
			q := points[i-1]
			return q.Accuracy + (p.Accuracy-q.Accuracy)*(flops-q.Flops)/(p.Flops-q.Flops)
		case p.Flops > flops:
			return math.NaN()
		}
	}
	return math.NaN()
}

// FlopsTo returns how many flops it took until the net first had that accuracy, in a straight line between evaluations;
// NaN if it never had.
func (r *Run) FlopsTo(net string, accuracy float64) float64 {
	points := r.Accuracy(net)
	for i, p := range points {
		switch {
		case p.Accuracy < accuracy:
		case i == 0 || p.Accuracy == accuracy:
			return p.Flops
		default:
			q := points[i-1]
			return q.Flops + (p.Flops-q.Flops)*(accuracy-q.Accuracy)/(p.Accuracy-q.Accuracy)
		}
	}
	return math.NaN()
}
