package runs

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"weft/train"
)

// indexFile keeps the summaries of the runs below a folder. It only saves time: whatever is missing in it, or older than
// the run's files, is read again.
const indexFile = ".weft-runs.json"

// depth is how far below the scanned folder runs are looked for.
const depth = 3

// State is what became of a run.
type State string

// States of a run.
const (
	Running  State = "running"  // a process trains in it now
	Stopped  State = "stopped"  // it can be resumed
	Finished State = "finished" // it has done all its steps
	Diverged State = "diverged" // its loss was lost
)

// Summary is a run in a list. Accuracies are on validation images, 0..1, and 0 before the first evaluation.
type Summary struct {
	Name    string    `json:"name"`
	State   State     `json:"state"`
	Recipe  string    `json:"recipe"`
	Space   string    `json:"space"`
	Data    string    `json:"data"`
	Seed    uint64    `json:"seed"`
	Epoch   float64   `json:"epoch"`
	Epochs  int       `json:"epochs"`
	Max     float64   `json:"max"` // accuracy of the largest subnet
	Min     float64   `json:"min"` // and of the smallest
	Dip     *float64  `json:"dip,omitempty"`
	Flops   float64   `json:"flops"`
	Seconds float64   `json:"seconds"` // of training
	Commit  string    `json:"commit,omitempty"`
	Started time.Time `json:"started,omitzero"`
	Changed time.Time `json:"changed"`           // the newest of its files
	Failure string    `json:"failure,omitempty"` // or what keeps it from being read
}

// Summary says how the run went. Whether a process trains in it is for Scan to say.
func (r *Run) Summary() Summary {
	s := Summary{
		Name: r.Name, State: Stopped, Recipe: r.Config.Recipe, Space: r.Config.Space, Data: r.Config.Data, Seed: r.Config.Seed,
		Epochs: r.Config.Epochs, Commit: r.Record.Commit, Started: r.Record.Started, Failure: r.Record.Failure,
		Changed: newest(r.Dir),
	}
	if n := len(r.Metrics); n > 0 {
		last := &r.Metrics[n-1]
		s.Epoch, s.Flops, s.Seconds = last.Epoch, last.Flops, last.Seconds
	}
	if p := r.Accuracy("max"); len(p) > 0 {
		s.Max = p[len(p)-1].Accuracy
	}
	if p := r.Accuracy("min"); len(p) > 0 {
		s.Min = p[len(p)-1].Accuracy
	}
	if dip, ok := r.Dip(); ok {
		s.Dip = &dip
	}
	switch {
	case s.Epochs > 0 && s.Epoch >= float64(s.Epochs) && s.Failure == "" && (r.Record.Started.IsZero() || !r.Record.Ended.IsZero()):
		// Otherwise it failed to keep its last checkpoint, or was killed before.
		s.State = Finished
	case strings.Contains(s.Failure, train.ErrDiverged.Error()):
		s.State = Diverged
	}
	return s
}

// index is the file. What was read by other rules is read again.
type index struct {
	Version int       `json:"version"`
	Runs    []Summary `json:"runs"`
}

// indexVersion tells by which rules summaries are made of runs. Raise it with every change of what Summary returns.
const indexVersion = 4

// Scan returns the runs below dir, by name. It reads those that changed since the index was written, and writes the index
// anew where it can.
func Scan(dir string) ([]Summary, error) {
	known := map[string]Summary{}
	path := filepath.Join(dir, indexFile)
	var old index
	if b, err := os.ReadFile(path); err == nil && json.Unmarshal(b, &old) == nil && old.Version == indexVersion {
		for _, s := range old.Runs {
			known[s.Name] = s
		}
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", dir)
	}
	var found []Summary
	err := filepath.WalkDir(dir, func(at string, d fs.DirEntry, err error) error {
		switch {
		case err != nil && at == dir:
			return err
		case err != nil || !d.IsDir():
			return nil
		}
		name, err := filepath.Rel(dir, at)
		if err != nil {
			return err
		}
		if changed := newest(at); !changed.IsZero() {
			found = append(found, summarise(at, filepath.ToSlash(name), changed, known))
			return fs.SkipDir
		}
		if strings.Count(filepath.ToSlash(name), "/") >= depth-1 && at != dir {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(found, func(a, b Summary) int { return strings.Compare(a.Name, b.Name) })
	if now := (index{indexVersion, found}); len(found) > 0 && !same(now, old) {
		// A folder that can't be written to is listed all the same.
		_ = writeJSON(path, now)
	}
	for i := range found {
		if train.Training(filepath.Join(dir, found[i].Name)) {
			found[i].State = Running
		}
	}
	return found, nil
}

// summarise returns what is known of the run, or reads it. One that could not be read may be readable now, though no file
// has changed.
func summarise(dir, name string, changed time.Time, known map[string]Summary) Summary {
	if s, ok := known[name]; ok && s.Changed.Equal(changed) && s.Recipe != "" {
		return s
	}
	r, err := Open(dir)
	if err != nil {
		return Summary{Name: name, State: Stopped, Failure: err.Error(), Changed: changed}
	}
	s := r.Summary()
	s.Name, s.Changed = name, changed
	return s
}

// newest returns when the files of the run in dir were last written to; zero if dir is not a run's folder.
func newest(dir string) time.Time {
	var newest time.Time
	for i, name := range train.Files() {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil && i == 0 {
			return time.Time{}
		}
		if err == nil && info.ModTime().After(newest) {
			newest = info.ModTime()
		}
	}
	if info, err := os.Stat(filepath.Join(dir, recordFile)); err == nil && info.ModTime().After(newest) {
		newest = info.ModTime()
	}
	return newest.UTC()
}

func same(a, b index) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}
