package runs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/train"
)

// An index that was written by other rules, such as of the dip, is made anew though no run has changed.
func TestIndexOfOtherRules(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a"), config(4, 1), course...)
	want := scan(t, dir)[0]
	path := filepath.Join(dir, ".weft-runs.json")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, old := range map[string]string{
		"none":    strings.Replace(string(b), `"version": 4,`, "", 1),
		"another": strings.Replace(string(b), `"version": 4,`, `"version": 1,`, 1),
	} {
		if old = strings.Replace(old, `"max": 0.9`, `"max": 0.5`, 1); !strings.Contains(old, `"max": 0.5`) || strings.Contains(old, `"version": 4`) {
			t.Fatalf("not what an index is like any more:\n%s", b)
		}
		if err := os.WriteFile(path, []byte(old), 0o644); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, scan(t, dir)[0]); diff != "" {
			t.Errorf("version %s: %s", name, diff)
		}
	}
}

// A run that could not be read is read again, whether or not its files are newer.
func TestIndexForgetsWhatCouldNotBeRead(t *testing.T) {
	dir := t.TempDir()
	run := filepath.Join(dir, "a")
	write(t, run, config(4, 1), course...)
	path := filepath.Join(run, "metrics.jsonl")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+"~"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	if s := scan(t, dir)[0]; s.Failure == "" {
		t.Fatalf("%+v could be read", s)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		t.Fatal(err)
	}
	if s := scan(t, dir)[0]; s.Failure != "" || s.Max != 0.9 {
		t.Errorf("still %+v", s)
	}
}

// Random subnets have courses of their own.
func TestNetsOfTheSameName(t *testing.T) {
	dir := t.TempDir()
	lines := []train.Metrics{line(1, 0, 0.5, 0), line(2, 0, 0.6, 0)}
	for i := range lines {
		lines[i].Eval = append(lines[i].Eval, train.NetEval{Net: "random", Accuracy: 0.1 * float64(i+1)}, train.NetEval{Net: "random", Accuracy: 0.3 * float64(i+1)})
	}
	write(t, dir, config(4, 1), lines...)
	r := open(t, dir)
	if diff := cmp.Diff([]string{"max", "random", "random 2"}, r.Nets()); diff != "" {
		t.Error(diff)
	}
	for net, want := range map[string][]float64{"random": {0.1, 0.2}, "random 2": {0.3, 0.6}} {
		var got []float64
		for _, p := range r.Accuracy(net) {
			got = append(got, p.Accuracy)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", net, diff)
		}
	}
	var b strings.Builder
	if err := r.WriteEvents(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Count(b.String(), "accuracy/random 2") != 2 || strings.Count(b.String(), "accuracy/random") != 4 {
		t.Error("TensorBoard gets two values of one curve at a step")
	}
}
