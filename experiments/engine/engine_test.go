package engine

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/bundle"
	"weft/bundle/builtin"
	"weft/kernel"
	"weft/safetensors"
	"weft/supernet"
)

// options are those of a short run with the built-in model.
func options(t *testing.T) Options {
	t.Helper()
	f, err := safetensors.Decode(builtin.Model())
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	images, _, err := builtin.Samples()
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(1)
	t.Cleanup(pool.Close)
	return Options{
		Bundle: b, Worker: supernet.NewWorker(pool), Images: images, Program: "test", Dir: t.TempDir(),
		Load:  Load{Query: 4, Batch: 4, SLO: 200 * time.Millisecond, Margin: 10 * time.Millisecond, Length: 200 * time.Millisecond, Seed: 1},
		Loads: []float64{0.2}, CV2: []float64{2},
	}
}

// TestRun sends a light load with a distant deadline: all of it is answered, in time, by
// good subnets, and what was measured is not measured again.
func TestRun(t *testing.T) {
	if testing.Short() {
		t.Skip("runs a server for some seconds")
	}
	o := options(t)
	done := 0
	o.Progress = func(d, total int) {
		if done++; d != done || total != 7 {
			t.Errorf("%d of %d are done after %d", d, total, done)
		}
	}
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 7 || r.Machine.Server <= 0 || r.Machine.Kernel <= 0 {
		t.Fatalf("%d rows, %+v", len(r.Rows), r.Machine)
	}
	c := r.cases()[0]
	least, most := r.Machine.Subnets[0].Accuracy, r.Machine.Subnets[0].Accuracy
	for _, s := range r.Machine.Subnets {
		least, most = min(least, s.Accuracy), max(most, s.Accuracy)
	}
	for _, row := range r.Rows {
		if row.Requests != r.Rows[0].Requests || row.Requests == 0 {
			t.Errorf("%s meets %d requests", row.Policy, row.Requests)
		}
		if row.Policy == Bound {
			continue
		}
		if row.Failed > 0 {
			t.Errorf("%s: %d requests failed", row.Policy, row.Failed)
		}
		if answered := row.Attainment > 0; answered && (row.Accuracy < least-1e-9 || row.Accuracy > most+1e-9) {
			t.Errorf("%s: mean accuracy %v is none of %v to %v", row.Policy, row.Accuracy, least, most)
		}
		if diff := row.Effective - row.Attainment*row.Accuracy; diff > 1e-9 || diff < -1e-9 {
			t.Errorf("%s: %v of %v is not %v", row.Policy, row.Accuracy, row.Attainment, row.Effective)
		}
	}
	if w, low := r.of(c, "weft"), r.of(c, smallest); w.Attainment < 0.5 || low.Attainment < 0.5 {
		t.Errorf("at a fifth of the capacity weft attains %v and infaas %v", w.Attainment, low.Attainment)
	}
	done = 0
	again, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(r, again); diff != "" {
		t.Errorf("the run goes on with other results: %s", diff)
	}
	write(t, r)
}

func write(t *testing.T, r *Report) {
	t.Helper()
	dir := t.TempDir()
	if err := Write(dir, "weft experiment engine", "a machine", r); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"report.html": "Bursty loads on the real server", "engine.md": "![attainment over accuracy](engine.svg)", "engine.svg": "</svg>",
	} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if text := string(raw); !strings.Contains(text, want) || strings.Contains(text, "NaN") || strings.Contains(text, "%!") {
			t.Errorf("%s: %.2000s", name, text)
		}
	}
	raw, err := os.ReadFile(filepath.Join(dir, "engine.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(raw, &back); err != nil {
		t.Fatal(err)
	}
	back.Plots = r.Plots
	if diff := cmp.Diff(r, &back); diff != "" {
		t.Error(diff)
	}
}

// TestProfile: measured sizes keep their latencies, those between lie between.
func TestProfile(t *testing.T) {
	l := &lab{Options: &Options{Load: Load{Query: 4, Batch: 6}}}
	if got, want := l.sizes(), []int{1, 2, 4, 6}; !slices.Equal(got, want) {
		t.Fatalf("sizes %v, want %v", got, want)
	}
	p := l.profile([]Timing{{Name: "a", LatencyUS: []float64{10, 18, 34, 50}}})
	want := []float64{
		10, 10, 10, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 42, 44, 46, 48, 50,
	}
	if diff := cmp.Diff(want, p.Subnets[0].LatencyUS); diff != "" {
		t.Error(diff)
	}
}

// TestClaims judges rows that are made up.
func TestClaims(t *testing.T) {
	c := Case{Load: 0.5, CV2: 2}
	r := &Report{Policies: []string{"weft", "slackfit", smallest, Bound}}
	add := func(policy string, attainment, accuracy float64) {
		r.Rows = append(r.Rows, Row{Case: c, Policy: policy, Attainment: attainment, Accuracy: accuracy, Effective: attainment * accuracy})
	}
	add("weft", 0.9995, 0.78)
	add("slackfit", 0.99, 0.76)
	add(smallest, 1, 0.74)
	add(Bound, 1, 0.79)
	r.conclude()
	var got []bool
	for _, claim := range r.Claims {
		for _, v := range claim.Verdicts {
			got = append(got, v.Holds)
		}
	}
	// weft attains 0.999, slackfit does not; weft is not below slackfit; weft has 0.79 of
	// what there is to gain, slackfit 0.25.
	if want := []bool{true, false, true, false, false}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v: %+v", got, want, r.Claims)
	}
	r.Rows[3].Attainment = 0.9899 // the bound
	r.conclude()
	if v := r.Claims[0].Verdicts[1]; !v.Holds {
		t.Errorf("slackfit attains all that is possible: %+v", v)
	}
}
