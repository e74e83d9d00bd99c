package guard

import (
	"context"
	"log/slog"
	"os"
	"time"
)

// Source is read from files that may change: a Guard, or Certificates.
type Source interface {
	// Reload reads the files again, see Guard.Reload.
	Reload(now time.Time) (changed bool, err error)
	String() string
}

// Watch reloads the sources in every interval, and at once for each signal that
// comes from asked, until ctx ends. The contents of files are compared rather than
// their times, which are too coarse and which a file put in place by a link keeps.
func Watch(ctx context.Context, interval time.Duration, asked <-chan os.Signal, log *slog.Logger, sources ...Source) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	failed := make([]string, len(sources)) // an error is logged once
	for {
		again := false // what was logged before
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-asked:
			log.Info("asked to read files again")
			again = true
		}
		for i, s := range sources {
			failed[i] = reload(s, log, failed[i], again)
		}
	}
}

func reload(s Source, log *slog.Logger, before string, again bool) (failed string) {
	changed, err := s.Reload(time.Now())
	if err != nil {
		if again || err.Error() != before {
			log.Error("files not read again; what was read before stays in force", slog.String("what", s.String()), slog.Any("error", err))
		}
		return err.Error()
	}
	if changed || before != "" {
		log.Info("files read again", slog.String("what", s.String()))
	}
	return ""
}
