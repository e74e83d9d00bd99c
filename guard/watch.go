package guard

import (
	"context"
	"log/slog"
	"time"
)

// Source is read from files that may change: a Guard, or Certificates.
type Source interface {
	// Reload reads the files again, see Guard.Reload.
	Reload(now time.Time) (changed bool, err error)
	String() string
}

// Watch reloads the sources in every interval until ctx ends. The contents of
// files are compared rather than their times, which are too coarse and which a
// file put in place by a link keeps.
func Watch(ctx context.Context, interval time.Duration, log *slog.Logger, sources ...Source) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	failed := make([]string, len(sources)) // an error is logged once
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for i, s := range sources {
				failed[i] = reload(s, now, log, failed[i])
			}
		}
	}
}

func reload(s Source, now time.Time, log *slog.Logger, before string) (failed string) {
	changed, err := s.Reload(now)
	if err != nil {
		if err.Error() != before {
			log.Error("files not read again; what was read before stays in force", slog.String("what", s.String()), slog.Any("error", err))
		}
		return err.Error()
	}
	if changed {
		log.Info("files read again", slog.String("what", s.String()))
	}
	return ""
}
