package train

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"weft/atomicfile"
	"weft/safetensors"
)

// Files of a run folder.
const (
	configFile     = "config.json"
	metricsFile    = "metrics.jsonl"
	checkpointFile = "checkpoint.safetensors"
)

// LockFile is what Lock makes in the folder of a run, before anything else is there.
const LockFile = "lock"

// Files returns the names of a run folder's files that tell how the run goes; every run has the first.
func Files() []string { return []string{configFile, metricsFile, checkpointFile} }

// progress is the part of a checkpoint that is not weights.
type progress struct {
	Config Config `json:"config"`
	Step   int    `json:"step"`
	Total  int    `json:"total"`
	Cost
	Digest string `json:"data_digest"`
	Trial  *tally `json:"trial,omitempty"` // none in older ones
}

// Save writes the checkpoint of a run into dir, whole or not at all: the weights, the
// momentum, averaged weights and the frozen teacher's in canonical order, fp32, and how far
// the run has come. Weights that are not
// finite are not saved, so that the checkpoint stays a good one.
func (t *Trainer) Save(dir string) error {
	trial := t.trial
	trial.join(&t.since)
	meta, err := json.Marshal(progress{t.Config, t.Step, t.Total, t.Spent, t.Set.Digest, &trial})
	if err != nil {
		return err
	}
	f := safetensors.File{Metadata: map[string]string{"weft.run": string(meta)}}
	for i := range t.Net.W.Params {
		p := &t.Net.W.Params[i]
		for _, v := range t.vectors() {
			vals := t.Net.W.Canonical(v.data, i)
			if j := slices.IndexFunc(vals, notFinite); j >= 0 {
				return fmt.Errorf("%w: a value of %s%s is %v after step %d; train again with a lower --lr than %g, into another folder",
					ErrDiverged, v.prefix, p.Name, vals[j], t.Step, t.Config.LR)
			}
			f.Tensors = append(f.Tensors, safetensors.NewF32(v.prefix+p.Name, p.Shape, vals))
		}
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
		return false, fmt.Errorf("%s holds a run with other settings (%s); resume it without changing them or choose another folder",
			dir, strings.Join(p.Config.differing(&t.Config), ", "))
	case p.Digest != t.Set.Digest:
		return false, fmt.Errorf("%s was trained on other images of %s than these; name the same files, and the same --size", dir, t.Config.Data)
	case p.Step < 0 || p.Step > t.Total:
		return false, fmt.Errorf("%s: checkpoint at step %d of %d; remove the file and train again", dir, p.Step, t.Total)
	}
	byName := f.ByName()
	if byName["teacher."+t.Net.W.Params[0].Name] != nil {
		t.hire()
	}
	for _, v := range t.vectors() {
		for i := range t.Net.W.Params {
			if err := t.restore(v.data, i, byName[v.prefix+t.Net.W.Params[i].Name]); err != nil {
				return false, fmt.Errorf("%s: %w", filepath.Join(dir, checkpointFile), err)
			}
		}
	}
	t.exec.Changed()
	t.Step, t.Spent = p.Step, p.Cost
	t.trial.begin(t)
	if p.Trial != nil {
		t.trial = *p.Trial
	}
	return true, nil
}

// differing names the settings that are not the same.
func (c *Config) differing(other *Config) []string {
	var names []string
	a, b := reflect.ValueOf(*c), reflect.ValueOf(*other)
	for _, f := range reflect.VisibleFields(a.Type()) {
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && !a.FieldByIndex(f.Index).Equal(b.FieldByIndex(f.Index)) {
			names = append(names, name)
		}
	}
	return names
}

func notFinite(v float32) bool { return v-v != 0 }

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
	if slices.ContainsFunc(vals, notFinite) {
		return fmt.Errorf("tensor %s has values that are not finite; the file is damaged: remove it and train again", name)
	}
	t.Net.W.SetCanonical(vec, i, vals)
	return nil
}

func readCheckpoint(dir string) (*safetensors.File, progress, error) {
	var p progress
	path := filepath.Join(dir, checkpointFile)
	f, err := safetensors.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, p, err
	}
	if err == nil {
		if err = json.Unmarshal([]byte(f.Metadata["weft.run"]), &p); err != nil {
			err = fmt.Errorf("%s is not a checkpoint of weft: %w", path, err)
		}
	}
	if err != nil {
		return nil, p, fmt.Errorf("%w; restore the file, or remove it to train from the start with --resume", err)
	}
	p.Config.modernise()
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
		return c, fmt.Errorf("%s is damaged (%w); restore it, or train again into another folder", filepath.Join(dir, configFile), explain(err))
	}
	c.modernise()
	if err := c.Validate(); err != nil {
		return c, fmt.Errorf("%s holds settings that no run has: %w", filepath.Join(dir, configFile), err)
	}
	return c, nil
}

// modernise renames what older runs called differently: the training of the largest subnet
// alone was the recipe max, which kept settings that it had no use for.
func (c *Config) modernise() {
	if c.Recipe == "max" {
		c.Recipe = singleRecipe.name
		c.Sandwich = Defaults(c.Recipe, c.Space, c.Data).Sandwich
	}
}

// Subject is what a configuration is about, which decides on the defaults of the rest.
type Subject struct {
	Recipe string `json:"recipe"`
	Space  string `json:"space"`
	Data   string `json:"data"`
}

// ParseSubject reads what the configuration is about. Fields that are left out are those of base.
func ParseSubject(b []byte, base Subject) (Subject, error) {
	err := json.Unmarshal(b, &base)
	return base, explain(err)
}

// ParseConfig reads a configuration as config.json holds it. Fields that are left out are those of base.
func ParseConfig(b []byte, base Config) (Config, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&base); err != nil {
		return base, explain(err)
	}
	base.modernise()
	return base, nil
}

// explain says which field holds what it should not, without the types of Go.
func explain(err error) error {
	wrong := new(json.UnmarshalTypeError)
	if !errors.As(err, &wrong) {
		return err
	}
	if wrong.Field == "" {
		return fmt.Errorf("%s where {…} with the settings should be", wrong.Value)
	}
	return fmt.Errorf("%s cannot be a %s", wrong.Field, wrong.Value)
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
