package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"

	"weft/guard/guardtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"weft": main})
}

func TestScripts(t *testing.T) {
	checkpoints, err := filepath.Abs("../../pytorch/testdata")
	if err != nil {
		t.Fatal(err)
	}
	authority := guardtest.NewAuthority(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Cmds:                scriptCmds,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_CACHE_HOME", e.WorkDir+"/cache")
			e.Setenv("CHECKPOINTS", checkpoints)
			authority.Files(e.WorkDir)
			return drawClasses(filepath.Join(e.WorkDir, "pics"))
		},
	})
}

func TestErrorsOfCommandsAreFailures(t *testing.T) {
	for _, c := range []struct {
		name    string
		err     error
		failure bool
	}{
		{"plain", errors.New("disk full"), true},
		{"usage", usagef("--slo must be positive"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := &cobra.Command{Use: "x", RunE: func(*cobra.Command, []string) error { return c.err }}
			markFailures(cmd)
			err := cmd.RunE(cmd, nil)
			if got := errors.As(err, new(*failure)); got != c.failure {
				t.Errorf("failure: %v, want %v", got, c.failure)
			}
			if !errors.Is(err, c.err) {
				t.Errorf("%v is not %v", err, c.err)
			}
		})
	}
}

func TestVersionToABrokenPipeFails(t *testing.T) {
	var stderr strings.Builder
	if status := run(context.Background(), []string{"version"}, strings.NewReader(""), brokenPipe{}, &stderr); status != exitFailure {
		t.Errorf("status %d, want %d", status, exitFailure)
	}
	if got, want := stderr.String(), "weft: broken pipe\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
}

func TestInterrupt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pics")
	if err := drawClasses(dir); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr strings.Builder
	if status := run(ctx, []string{"data", dir}, strings.NewReader(""), &stdout, &stderr); status != exitFailure {
		t.Errorf("status %d, want %d", status, exitFailure)
	}
	if got, want := stderr.String(), "weft: interrupted\n"; got != want {
		t.Errorf("stderr %q, want %q", got, want)
	}
	if stdout.Len() > 0 {
		t.Errorf("stdout %q after an interrupt", stdout.String())
	}
}

// drawClasses fills dir with 4x4 pictures of two classes: nine to learn from and two to test with.
func drawClasses(dir string) error {
	for class, n := range map[string]int{"train/bright": 5, "train/dark": 4, "test/bright": 1, "test/dark": 1} {
		if err := os.MkdirAll(filepath.Join(dir, class), 0o755); err != nil {
			return err
		}
		for i := range n {
			img := image.NewNRGBA(image.Rect(0, 0, 4, 4))
			for p := range img.Pix {
				img.Pix[p] = uint8(len(class)*p + i)
			}
			var b bytes.Buffer
			if err := png.Encode(&b, img); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, class, fmt.Sprintf("%d.png", i)), b.Bytes(), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
