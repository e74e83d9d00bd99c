// Package dash shows a server while it works: what arrives, what waits, which
// subnets and batches the scheduler chooses, and what becomes of the requests.
//
// A [Page] samples the server four times a second. Everybody who looks on gets
// the same samples, as server-sent events: the page in a browser, which comes
// with the package and needs nothing from elsewhere, and [Watch], by which
// programs follow. A viewer may also ask for the story of one request, and who
// administers the server may put a demonstration burst on it.
package dash

import (
	"context"
	"net/http"
	"strings"
	"time"

	"weft/serve"
)

// Defaults of Options.
const (
	DefaultInterval   = 250 * time.Millisecond
	DefaultMaxViewers = 64
)

// window is the time that a viewer who comes sees at once.
const window = time.Minute

// Options of a Page. The zero value is useful.
type Options struct {
	// Version is that of the server.
	Version string
	// Interval is the time between two samples (0: DefaultInterval).
	Interval time.Duration
	// MaxViewers bounds those who look on at a time (0: DefaultMaxViewers).
	MaxViewers int
	// Observe passes on the requests of those who may look on, and Change of those
	// who may start bursts too; they refuse the others. Observe nil: everybody may.
	// Change nil: who is on the server's own machine (guard.Local) may.
	Observe, Change func(http.Handler) http.Handler
}

// Page shows a server. It is safe for concurrent use.
type Page struct {
	opt     Options
	server  *serve.Server
	sampler *sampler // belongs to Run
	mux     http.Handler
	hub     hub
	burst   burster
	story   storyteller
}

// New returns a page about the server. Nothing moves on it before Run.
func New(s *serve.Server, opt Options) *Page {
	if opt.Interval == 0 {
		opt.Interval = DefaultInterval
	}
	if opt.MaxViewers == 0 {
		opt.MaxViewers = DefaultMaxViewers
	}
	if opt.Observe == nil {
		opt.Observe = func(next http.Handler) http.Handler { return next }
	}
	if opt.Change == nil {
		opt.Change = local
	}
	p := &Page{opt: opt, server: s, sampler: newSampler(s)}
	p.hub = hub{most: opt.MaxViewers, ring: make([][]byte, 0, window/opt.Interval), viewers: make(map[chan []byte]bool)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /dash/events", p.events)
	mux.HandleFunc("GET /dash/request", p.tell)
	mux.Handle("POST /dash/burst", opt.Change(http.HandlerFunc(p.startBurst)))
	mux.Handle("DELETE /dash/burst", opt.Change(http.HandlerFunc(p.stopBurst)))
	mux.HandleFunc("GET /dash/{file...}", asset)
	p.mux = http.NewCrossOriginProtection().Handler(opt.Observe(mux))
	return p
}

// Handler serves the page at / and below /dash/, and passes everything else on.
func (p *Page) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch path := r.URL.Path; {
		case strings.HasPrefix(path, "/dash/"):
			p.mux.ServeHTTP(w, r)
		case path == "/" || path == "/dash":
			w.Header().Set("Location", "/dash/")
			w.WriteHeader(http.StatusFound)
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// Run samples the server, and runs the bursts that are asked for, until ctx
// ends or the server drains. Those who look on are sent away then.
func (p *Page) Run(ctx context.Context) error {
	defer p.hub.close()
	defer p.burst.close()
	ticker := time.NewTicker(p.opt.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			tick, models := p.sampler.tick()
			tick.Burst = p.burst.status()
			if err := p.hub.publish(tick, models); err != nil {
				return err
			}
			if tick.Draining {
				return nil
			}
		}
	}
}
