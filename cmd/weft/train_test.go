package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/data"
	"weft/kernel"
	"weft/safetensors"
	"weft/train"
)

// squaresSet draws a data set for runs of the train command.
func squaresSet(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "sq")
	if err := drawSquares(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// weft runs a command line in this process.
func weft(ctx context.Context, args ...string) (status int, stderr string) {
	var out, errs strings.Builder
	status = run(ctx, args, strings.NewReader(""), &out, &errs)
	return status, errs.String()
}

// trainArgs are the arguments of a short run that goes through all phases of DepS.
func trainArgs(set, out string) []string {
	return []string{
		"train", "--space", "resnet-28s", "--data", set, "--epochs", "6", "--batch", "16", "--lr", "0.1",
		"--flip=false", "--ramp", "0.2", "--threads", "1", "--quiet", "--out", out,
	}
}

// TestResumedRunIsTheSame: a run that is interrupted after each of its lines of metrics,
// and one that is killed in between, end with the weights and the momentum of one that
// was left alone.
func TestResumedRunIsTheSame(t *testing.T) {
	if testing.Short() {
		t.Skip("trains three times")
	}
	set, dir := squaresSet(t), t.TempDir()
	alone, stopped, killed := filepath.Join(dir, "alone"), filepath.Join(dir, "stopped"), filepath.Join(dir, "killed")
	if status, errs := weft(t.Context(), trainArgs(set, alone)...); status != exitOK {
		t.Fatal(errs)
	}
	stops, args := 0, trainArgs(set, stopped)
	for {
		lines := metricsLines(stopped)
		ctx, cancel := context.WithCancel(t.Context())
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			for ctx.Err() == nil && metricsLines(stopped) <= lines {
				time.Sleep(time.Millisecond)
			}
			if stops == 1 {
				copyRun(t, stopped, killed) // what a crash at this moment leaves
			}
			cancel()
		}()
		status, errs := weft(ctx, args...)
		cancel()
		<-watched
		if status == exitOK {
			break
		}
		if want := "go on with 'weft train --out " + stopped + " --resume'"; status != exitFailure ||
			!strings.Contains(errs, "weft: interrupted at step ") || !strings.Contains(errs, want) {
			t.Fatalf("status %d, %s", status, errs)
		}
		stops, args = stops+1, []string{"train", "--out", stopped, "--resume", "--quiet", "--threads", "1"}
	}
	if stops < 2 {
		t.Fatalf("the run was interrupted %d times, too few for a test", stops)
	}
	if status, errs := weft(t.Context(), "train", "--out", killed, "--resume", "--quiet"); status != exitOK {
		t.Fatal(errs)
	}
	want := checkpoint(t, alone)
	for _, run := range []string{stopped, killed} {
		sameTensors(t, run, want, checkpoint(t, run))
		checkMetrics(t, run)
	}
}

// metricsLines counts the lines of metrics of a run so far.
func metricsLines(dir string) int {
	b, _ := os.ReadFile(filepath.Join(dir, "metrics.jsonl"))
	return bytes.Count(b, []byte("\n"))
}

// copyRun copies a run that goes on, the checkpoint before the metrics, so that the copy
// holds what a run killed in between leaves.
func copyRun(t *testing.T, from, to string) {
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"config.json", "checkpoint.safetensors", "metrics.jsonl"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(to, name), b, 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

func checkpoint(t *testing.T, dir string) *safetensors.File {
	t.Helper()
	f, err := safetensors.ReadFile(filepath.Join(dir, "checkpoint.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// sameTensors compares weights and momentum bit for bit, and how far the runs have come.
func sameTensors(t *testing.T, name string, want, got *safetensors.File) {
	t.Helper()
	if len(got.Tensors) != len(want.Tensors) || stepOf(t, got) != stepOf(t, want) {
		t.Fatalf("%s: %d tensors at step %d, want %d at %d", name, len(got.Tensors), stepOf(t, got), len(want.Tensors), stepOf(t, want))
	}
	for i := range want.Tensors {
		if !bytes.Equal(want.Tensors[i].Data, got.Tensors[i].Data) {
			t.Errorf("%s: tensor %s differs", name, want.Tensors[i].Name)
		}
	}
}

func stepOf(t *testing.T, f *safetensors.File) int {
	t.Helper()
	var p struct{ Step int }
	if err := json.Unmarshal([]byte(f.Metadata["weft.run"]), &p); err != nil {
		t.Fatal(err)
	}
	return p.Step
}

// checkMetrics checks that no step is told twice.
func checkMetrics(t *testing.T, dir string) {
	t.Helper()
	lines, err := train.ReadMetrics(dir)
	if err != nil || len(lines) < 6 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for i := 1; i < len(lines); i++ {
		if lines[i].Step <= lines[i-1].Step {
			t.Errorf("%s: step %d comes after %d", dir, lines[i].Step, lines[i-1].Step)
		}
	}
}

// TestSettingsOfAnotherRunStay: of two that begin in a folder at once, the one that comes second leaves the first's
// settings as they are, while that trains and after it has stopped.
func TestSettingsOfAnotherRunStay(t *testing.T) {
	set, err := data.Load(t.Context(), squaresSet(t), data.Options{})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cfg := train.Defaults("deps", "resnet-28s", "sq")
	cfg.Batch = 16
	if err := train.WriteConfig(dir, cfg); err != nil {
		t.Fatal(err)
	}
	unlock, err := train.Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	pool := kernel.NewPool(1)
	defer pool.Close()
	bars := newProgress(io.Discard, true, time.Now)
	defer bars.Close()
	if status, errs := weft(t.Context(), "runs", "tensorboard", dir); status != exitFailure || !strings.Contains(errs, "is being trained") {
		t.Errorf("events of a run in training: status %d, %s", status, errs)
	}
	j, second := trainJob{dir: dir, threads: 1, quiet: true}, cfg
	second.Seed++
	for _, want := range []string{"another weft trains in", "holds a run that began meanwhile"} {
		if _, err := j.run(t.Context(), second, set, pool, bars); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v instead of %q", err, want)
		}
		if got, err := train.ReadConfig(dir); err != nil || got != cfg {
			t.Errorf("the settings are now %+v, %v", got, err)
		}
		if err := unlock(); err != nil {
			t.Fatal(err)
		}
		unlock = func() error { return nil }
	}
}

// TestDivergence: a rate that is far too high ends the run with a sentence that names the
// step and the rate, and the last checkpoint is a good one.
func TestDivergence(t *testing.T) {
	set, dir := squaresSet(t), filepath.Join(t.TempDir(), "run")
	status, errs := weft(t.Context(), "train", "--space", "resnet-28s", "--data", set, "--epochs", "40", "--batch", "16",
		"--lr", "50", "--quiet", "--threads", "1", "--out", dir)
	last := errs[strings.LastIndex(strings.TrimSpace(errs), "\n")+1:]
	if status != exitFailure || !strings.HasPrefix(last, "weft: training diverged: ") || !strings.Contains(last, "step") ||
		!strings.HasSuffix(last, "; train again with a lower --lr than 50, into another folder\n") {
		t.Fatalf("status %d, %s", status, errs)
	}
	f := checkpoint(t, dir)
	if step := stepOf(t, f); step < 6 || step%6 != 0 {
		t.Errorf("checkpoint at step %d", step)
	}
	for i := range f.Tensors {
		vals, err := f.Tensors[i].F32()
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range vals {
			if v-v != 0 {
				t.Fatalf("%s holds %v", f.Tensors[i].Name, v)
			}
		}
	}
}
