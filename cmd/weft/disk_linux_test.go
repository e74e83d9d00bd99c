package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestFullDisk: each command that writes says in one sentence that the disk is full,
// fails, and leaves nothing half-written.
func TestFullDisk(t *testing.T) {
	full := t.TempDir()
	if err := syscall.Mount("tmpfs", full, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("no small file system can be mounted: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(full, 0); err != nil {
			t.Error(err)
		}
	}()
	set, dir := squaresSet(t), t.TempDir()
	run, model := filepath.Join(dir, "run"), filepath.Join(full, "m.weft")
	args := func(out string) []string { return append(trainArgs(set, out), "--epochs", "1") }
	search := func(out string) []string {
		return []string{"search", run, "-o", out, "--half", "--samples", "0", "--calibration", "40", "--quiet"}
	}
	for _, args := range [][]string{args(run), search(model)} {
		if status, errs := weft(t.Context(), args...); status != exitOK {
			t.Fatal(errs)
		}
	}
	refuse := func(want string, args ...string) {
		t.Helper()
		status, errs := weft(t.Context(), args...)
		last := errs[strings.LastIndex(strings.TrimSpace(errs), "\n")+1:]
		if status != exitFailure || !strings.HasPrefix(last, "weft: "+want) || !strings.Contains(last, "no space left on device") {
			t.Errorf("%v: status %d, %s", args, status, errs)
		}
	}

	torn := filepath.Join(full, "torn") // there is room for the settings, not for the checkpoint
	refuse("save the checkpoint: write "+torn, args(torn)...)
	holds(t, full, "m.weft", "torn", "torn/config.json", "torn/events.out.tfevents.weft", "torn/lock", "torn/metrics.jsonl", "torn/run.json")

	filler := fill(t, full)
	refuse("write "+full, search(filepath.Join(full, "other.weft"))...)
	refuse("write "+model, "profile", model, "--quiet")
	refuse("write "+full, args(filepath.Join(full, "late"))...)
	refuse("", "train", "--out", torn, "--resume", "--quiet", "--threads", "1")
	holds(t, full, "filler", "late", "late/lock", "m.weft", "torn", "torn/config.json", "torn/events.out.tfevents.weft", "torn/lock", "torn/metrics.jsonl", "torn/run.json")

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if status, errs := weft(t.Context(), "inspect", model); status != exitOK {
		t.Error(errs)
	}
}

// fill takes all the room of a file system.
func fill(t *testing.T, dir string) string {
	t.Helper()
	path := filepath.Join(dir, "filler")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return path
}

// holds checks what is in a folder and below.
func holds(t *testing.T, dir string, want ...string) {
	t.Helper()
	var got []string
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, _ fs.DirEntry, err error) error {
		if path != "." {
			got = append(got, path)
		}
		return err
	})
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("the disk holds %v instead of %v (%v)", got, want, err)
	}
}
