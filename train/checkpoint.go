package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"weft/atomicfile"
	"weft/safetensors"
)

// Files of a run folder.
const (
	configFile     = "config.json"
	metricsFile    = "metrics.jsonl"
	checkpointFile = "checkpoint.safetensors"
	lockFile       = "lock"
)

// Files returns the names of a run folder's files that tell how the run goes; every run has the first.
func Files() []string { return []string{configFile, metricsFile, checkpointFile} }

// progress is the part of a checkpoint that is not weights.
type progress struct {
	Config  Config  `json:"config"`
	Step    int     `json:"step"`
	Total   int     `json:"total"`
	Flops   float64 `json:"flops"`
	Seconds float64 `json:"seconds"`
	Digest  string  `json:"data_digest"`
}

// Save writes the checkpoint of a run into dir, whole or not at all: the weights and the
// momentum in canonical order, fp32, and how far the run has come. Weights that are not
// finite are not saved, so that the checkpoint stays a good one.
func (t *Trainer) Save(dir string) error {
	meta, err := json.Marshal(progress{t.Config, t.Step, t.Schedule.Total, t.Flops, t.Seconds, t.Set.Digest})
	if err != nil {
		return err
	}
	f := safetensors.File{Metadata: map[string]string{"weft.run": string(meta)}}
	for i := range t.Net.W.Params {
		p := &t.Net.W.Params[i]
		vals := t.Net.W.Canonical(t.Net.W.Data, i)
		if j := slices.IndexFunc(vals, func(v float32) bool { return v-v != 0 }); j >= 0 {
			return fmt.Errorf("%w: a weight of %s is %v after step %d; start again with a lower --lr than %g",
				ErrDiverged, p.Name, vals[j], t.Step, t.Config.LR)
		}
		f.Tensors = append(f.Tensors,
			safetensors.NewF32(p.Name, p.Shape, vals),
			safetensors.NewF32("momentum."+p.Name, p.Shape, t.Net.W.Canonical(t.velocity, i)))
	}
	if err := f.WriteFile(filepath.Join(dir, checkpointFile)); err != nil {
		return fmt.Errorf("save the checkpoint: %w", err)
	}
	return nil
}

// Load puts the checkpoint of dir into a new Trainer of the same configuration. It
// reports false when there is none yet.
func (t *Trainer) Load(dir string) (bool, error) {
	f, p, err := readCheckpoint(dir)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	switch {
	case p.Config != t.Config:
		return false, fmt.Errorf("%s holds a run with other settings; resume it without changing them or choose another folder", dir)
	case p.Digest != t.Set.Digest:
		return false, fmt.Errorf("%s was trained on other files of %s than these; name the same ones or choose another folder", dir, t.Config.Data)
	case p.Step < 0 || p.Step > t.Schedule.Total:
		return false, fmt.Errorf("%s: checkpoint at step %d of %d; remove the file and train again", dir, p.Step, t.Schedule.Total)
	}
	byName := f.ByName()
	for _, v := range []struct {
		prefix string
		vec    []float32
	}{{"", t.Net.W.Data}, {"momentum.", t.velocity}} {
		for i := range t.Net.W.Params {
			if err := t.restore(v.vec, i, byName[v.prefix+t.Net.W.Params[i].Name]); err != nil {
				return false, fmt.Errorf("%s: %w", filepath.Join(dir, checkpointFile), err)
			}
		}
	}
	t.exec.Changed()
	t.Step, t.Flops, t.Seconds = p.Step, p.Flops, p.Seconds
	return true, nil
}

func (t *Trainer) restore(vec []float32, i int, tensor *safetensors.Tensor) error {
	name := t.Net.W.Params[i].Name
	if tensor == nil {
		return fmt.Errorf("tensor %s is missing; the checkpoint is of another space or damaged", name)
	}
	vals, err := tensor.F32()
	if err != nil {
		return err
	}
	if want := len(t.Net.W.Canonical(vec, i)); len(vals) != want {
		return fmt.Errorf("tensor %s has %d values instead of %d; the checkpoint is of another space", name, len(vals), want)
	}
	t.Net.W.SetCanonical(vec, i, vals)
	return nil
}

func readCheckpoint(dir string) (*safetensors.File, progress, error) {
	var p progress
	path := filepath.Join(dir, checkpointFile)
	f, err := safetensors.ReadFile(path)
	if err != nil {
		return nil, p, err
	}
	if err := json.Unmarshal([]byte(f.Metadata["weft.run"]), &p); err != nil {
		return nil, p, fmt.Errorf("%s is not a checkpoint of weft: %w", path, err)
	}
	return f, p, nil
}

// ReadConfig returns the configuration of the run in dir.
func ReadConfig(dir string) (Config, error) {
	var c Config
	b, err := os.ReadFile(filepath.Join(dir, configFile))
	if errors.Is(err, os.ErrNotExist) {
		return c, fmt.Errorf("%s is not the folder of a run: it has no %s; train one with 'weft train --out %s'", dir, configFile, dir)
	}
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fmt.Errorf("%s: %w", filepath.Join(dir, configFile), err)
	}
	return c, nil
}

// WriteConfig makes dir the folder of a run with this configuration.
func WriteConfig(dir string, c Config) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return atomicfile.Write(filepath.Join(dir, configFile), func(w io.Writer) error {
		_, err := w.Write(append(b, '\n'))
		return err
	})
}

// Finished reports whether the run in dir has a checkpoint of its last step.
func Finished(dir string) bool {
	_, p, err := readCheckpoint(dir)
	return err == nil && p.Step > 0 && p.Step == p.Total
}

// ReadMetrics returns the lines of metrics of the run in dir; a torn last line, from a
// run that was killed, is left out.
func ReadMetrics(dir string) ([]Metrics, error) {
	path := filepath.Join(dir, metricsFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	whole := b[:bytes.LastIndexByte(b, '\n')+1]
	var lines []Metrics
	for i, text := range bytes.Split(whole, []byte{'\n'}) {
		if len(text) == 0 {
			continue
		}
		var m Metrics
		if err := json.Unmarshal(text, &m); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w; mend or remove the file", path, i+1, err)
		}
		lines = append(lines, m)
	}
	return lines, nil
}

// Log is the metrics file of a run. Lines of steps after the checkpoint that the run
// resumes from are cut off, so that no step is told twice.
type Log struct{ f *os.File }

// OpenLog opens the metrics file of a run that is about to go on from a step.
func OpenLog(dir string, step int) (*Log, error) {
	lines, err := ReadMetrics(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	path := filepath.Join(dir, metricsFile)
	err = atomicfile.Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		for _, m := range lines {
			if m.Step <= step {
				if err := e.Encode(m); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o644)
	return &Log{f}, err
}

// Write appends one line.
func (l *Log) Write(m Metrics) error { return json.NewEncoder(l.f).Encode(m) }

// Close closes the file.
func (l *Log) Close() error { return l.f.Close() }
