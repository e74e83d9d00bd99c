package main

import (
	"context"
	"log/slog"
	"net/http"
	"sync"

	"github.com/spf13/pflag"

	"weft/dash"
	"weft/guard"
	"weft/oip"
	"weft/serve"
)

// dashFlags say whether there is a live page.
type dashFlags struct{ off bool }

func (d *dashFlags) flags(f *pflag.FlagSet) {
	f.BoolVar(&d.off, "no-dash", false, "serve no live page, and nothing for weft top")
}

// start returns what is to answer HTTP: the live page, if it is wanted, before the handler. The page goes on until stop
// is called or ctx ends.
func (d *dashFlags) start(ctx context.Context, s *serve.Server, h *oip.Handler, log *slog.Logger) (root http.Handler, stop func()) {
	if d.off {
		return h, func() {}
	}
	page := dash.New(s, dash.Options{
		Version: thisBuild().Version,
		Observe: func(next http.Handler) http.Handler { return h.Require(guard.Observe, next) },
		Change:  func(next http.Handler) http.Handler { return h.Require(guard.Change, next) },
	})
	ctx, end := context.WithCancel(ctx)
	var all sync.WaitGroup
	all.Go(func() {
		if err := page.Run(ctx); err != nil {
			log.Error("the live page has stopped", slog.Any("error", err))
		}
	})
	return page.Handler(h), func() {
		end()
		all.Wait()
	}
}
