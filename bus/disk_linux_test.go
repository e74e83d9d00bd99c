package bus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"weft/bus"
)

// A disk that fills up is said to be full; once there is room and the server starts again, everything goes on.
func TestFullDisk(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for answers that a server with a full disk does not give")
	}
	t.Parallel()
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("no small file system can be mounted: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	start := func() (*bus.Embedded, bus.Bucket, bus.Objects) {
		e, err := bus.Embed(ctx, bus.EmbedOptions{StateDir: filepath.Join(disk, "state"), MaxBytes: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		b, err := e.Bucket(ctx, "b", bus.BucketOptions{})
		if err != nil {
			t.Fatal(err)
		}
		o, err := e.Objects(ctx, "o")
		if err != nil {
			t.Fatal(err)
		}
		return e, b, o
	}
	e, b, o := start()
	defer func() { e.Close() }() // before the disk goes
	if _, err := b.Put(ctx, "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	filler := filepath.Join(disk, "filler")
	if err := os.WriteFile(filler, make([]byte, 8<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	if _, err := o.Put(ctx, io.LimitReader(rand.Reader, 32<<20)); !errors.Is(err, bus.ErrFull) {
		t.Errorf("put more than the disk takes: %v, want ErrFull", err)
	}
	t.Logf("refused after %v", time.Since(began).Round(time.Millisecond))
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	e, b, o = start()
	if got, err := b.Get(ctx, "k"); err != nil || string(got.Value) != "v" {
		t.Errorf("after the disk was full: %v, %v", got, err)
	}
	if _, err := o.Put(ctx, io.LimitReader(rand.Reader, 1<<20)); err != nil {
		t.Errorf("put when there is room again: %v", err)
	}
}
