package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"weft/serve"
)

// flightFlags say what to keep of missed deadlines.
type flightFlags struct {
	dir           string // "": nothing
	before, after time.Duration
	every         time.Duration
	keep          int
	trace         bool
}

func (j *flightFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&j.dir, "flight-dir", "", "folder for files of what happened around missed deadlines (see weft flight); SIGUSR1 writes one at once")
	f.DurationVar(&j.before, "flight-before", serve.DefaultFlightBefore, "with --flight-dir, how much of the time before a miss to keep")
	f.DurationVar(&j.after, "flight-after", serve.DefaultFlightAfter, "with --flight-dir, how much of the time after a miss to keep")
	f.DurationVar(&j.every, "flight-every", serve.DefaultFlightEvery, "with --flight-dir, the least time between two files")
	f.IntVar(&j.keep, "flight-keep", serve.DefaultFlightKeep, "with --flight-dir, how many files to keep")
	f.BoolVar(&j.trace, "flight-trace", false, "with --flight-dir, write the trace of the Go runtime too (go tool trace), which slows the server by some per cent")
}

func (j *flightFlags) validate() error {
	switch {
	case j.before <= 0 || j.after <= 0 || j.every <= 0:
		return usagef("--flight-before %v --flight-after %v --flight-every %v: all must be above 0", j.before, j.after, j.every)
	case j.keep < 1:
		return usagef("--flight-keep %d: keep at least 1", j.keep)
	case j.trace && j.dir == "":
		return usagef("--flight-trace needs --flight-dir")
	}
	return nil
}

// start records flights of the server, if they are wanted, until stop is called.
// asked, if not nil, writes one at once.
func (j *flightFlags) start(ctx context.Context, s *serve.Server, log *slog.Logger) (asked func() (path string, err error), stop func(), err error) {
	if j.dir == "" {
		return nil, func() {}, nil
	}
	f, err := s.NewFlightRecorder(serve.FlightOptions{
		Dir: j.dir, Before: j.before, After: j.after, Every: j.every, Keep: j.keep, Trace: j.trace,
		Version: thisBuild().Version, Log: log,
	})
	if err != nil {
		return nil, nil, err
	}
	ctx, end := context.WithCancel(ctx)
	signals := make(chan os.Signal, 1)
	notifyFlight(signals)
	var all sync.WaitGroup
	all.Go(func() { f.Run(ctx) })
	all.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-signals:
			}
			if path, err := f.Dump(); err != nil {
				log.Warn("flight not recorded", slog.Any("error", err))
			} else {
				log.Info("flight recorded", slog.String("flight", path))
			}
		}
	})
	return f.Dump, func() {
		signal.Stop(signals)
		end()
		all.Wait()
	}, nil
}
