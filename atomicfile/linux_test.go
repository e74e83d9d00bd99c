package atomicfile

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFullDisk fills a small file system, where the test may mount one.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Skipf("no small file system can be mounted: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	path := filepath.Join(dir, "net.weft")
	if err := Write(path, text("old")); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, text(strings.Repeat("x", 1<<20))); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	checkAlone(t, path, "old")
}
