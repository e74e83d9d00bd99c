package main

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/cobra"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"weft": main})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("XDG_CACHE_HOME", e.WorkDir+"/cache")
			return os.MkdirAll(e.WorkDir+"/cache", 0o755)
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

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }
