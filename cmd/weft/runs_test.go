package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/train"
	"weft/train/runs"
)

// weft runs list, show and compare tell the same of a run, finished, stopped or under way.
func TestRunsAgree(t *testing.T) {
	dir := t.TempDir()
	run := filepath.Join(dir, "a")
	if status, errs := weft(t.Context(), append(trainArgs(squaresSet(t), run), "--epochs", "1")...); status != exitOK {
		t.Fatal(errs)
	}
	for _, state := range []runs.State{runs.Finished, runs.Running} {
		if state == runs.Running {
			unlock, err := train.Lock(run)
			if err != nil {
				t.Fatal(err)
			}
			defer unlock()
		}
		list, err := runs.Scan(dir)
		if err != nil || len(list) != 1 || list[0].State != state || time.Since(list[0].Changed) > time.Hour {
			t.Fatalf("%+v, %v", list, err)
		}
		r, err := findRun(dir, "a")
		if err != nil {
			t.Fatal(err)
		}
		c, err := compareRuns([]*runs.Run{r})
		if err != nil {
			t.Fatal(err)
		}
		for name, got := range map[string]runs.Summary{"show": summary(r), "compare": c.Runs[0]} {
			if diff := cmp.Diff(list[0], got); diff != "" {
				t.Errorf("runs %s: %s", name, diff)
			}
		}
	}
}
