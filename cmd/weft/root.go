package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// newRootCmd builds the whole command tree; every call gives an independent one.
func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "weft",
		Short: "Train one network and serve every model inside it",
		Long: `weft trains one weight-shared network, a supernet, and serves every model inside it: each request gets the
most accurate subnet that still meets its deadline.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newDataCmd(), newSpacesCmd(), newTrainCmd(), newRunsCmd(), newSearchCmd(), newEvalCmd(), newQuantiseCmd(), newProfileCmd(), newInspectCmd(), newImportCmd(), newExportCmd(), newServeCmd(), newWorkerCmd(), newBusCmd(), newKeysCmd(), newBenchCmd(), newTopCmd(), newExperimentCmd(), newDemoCmd(), newFlightCmd(), newVersionCmd())
	for _, c := range root.Commands() {
		markFailures(c)
	}
	return root
}

// failure is an error of a command that ran. An error without it comes from reading the command line.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// usageError is a mistake in the command line that only the command itself can see.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

// usagef returns a usageError.
func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// markFailures makes the errors of a command and of those below it failures, unless they are usage errors.
func markFailures(c *cobra.Command) {
	for _, sub := range c.Commands() {
		markFailures(sub)
	}
	runE := c.RunE
	if runE == nil {
		return
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		err := runE(cmd, args)
		if err == nil || errors.As(err, new(*usageError)) {
			return err
		}
		return &failure{err}
	}
}

// takes wants exactly the named arguments.
func takes(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		switch {
		case len(args) < len(names):
			return usagef("missing %s", strings.Join(names[len(args):], " and "))
		case len(args) > len(names):
			return usagef("unexpected argument %q", args[len(names)])
		}
		return nil
	}
}
