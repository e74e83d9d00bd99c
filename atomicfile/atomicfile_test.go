package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// checkAlone checks that path holds want and nothing lies beside it.
func checkAlone(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("%s holds %.20q (%v), want %q", path, got, err, want)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("the folder holds %v (%v)", entries, err)
	}
}

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "net.weft")
	if err := Write(path, text("one")); err != nil {
		t.Fatal(err)
	}
	checkAlone(t, path, "one")
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, text("two")); err != nil {
		t.Fatal(err)
	}
	checkAlone(t, path, "two")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the permissions changed to %v (%v)", info.Mode(), err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if err := Write(link, text("three")); err != nil {
		t.Fatal(err)
	}
	checkAlone(t, path, "three")
}

func TestFailedWriteChangesNothing(t *testing.T) {
	broken := errors.New("the weights are not finite")
	for name, tc := range map[string]struct {
		write func(io.Writer) error
		want  string
		is    error
	}{
		"error":     {func(w io.Writer) error { return errors.Join(text("half")(w), broken) }, "write PATH: the weights are not finite", broken},
		"full disk": {func(w io.Writer) error { return &os.PathError{Op: "write", Path: "tmp", Err: syscall.ENOSPC} }, "write PATH: free some space and try again, nothing was changed: no space left on device", syscall.ENOSPC},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "net.weft")
			if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
			err := Write(path, tc.write)
			if got := strings.ReplaceAll(fmt.Sprint(err), path, "PATH"); got != tc.want || !errors.Is(err, tc.is) {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
			checkAlone(t, path, "old")
		})
	}
	t.Run("panic", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "net.weft")
		if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = Write(path, func(io.Writer) error { panic("bug") })
		}()
		checkAlone(t, path, "old")
	})
}

func TestWriteRefusesOddPlaces(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		dir:                           "it is not a regular file",
		os.DevNull:                    "it is not a regular file",
		filepath.Join(dir, "no", "x"): "no such file or directory",
	} {
		if err := Write(path, text("x")); err == nil || !strings.HasPrefix(err.Error(), "write "+path+": ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
}
