package oip

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"

	"weft/guard"
	"weft/serve"
)

// access holds clients to what their keys allow.
type access struct {
	guard   *guard.Guard // nil: there are no keys
	refused map[error]prometheus.Counter
}

// refusals are the reasons why a call is refused for whose it is, as metrics
// name them, with their statuses.
var refusals = []struct {
	err    error
	reason string
	http   int
	grpc   codes.Code
}{
	{guard.ErrNoKey, "no_key", http.StatusUnauthorized, codes.Unauthenticated},
	{guard.ErrUnknownKey, "unknown_key", http.StatusUnauthorized, codes.Unauthenticated},
	{guard.ErrNotAdmin, "not_admin", http.StatusForbidden, codes.PermissionDenied},
	{guard.ErrNotLocal, "not_local", http.StatusForbidden, codes.PermissionDenied},
	{guard.ErrModel, "model", http.StatusForbidden, codes.PermissionDenied},
	{errCrossOrigin, "cross_origin", http.StatusForbidden, codes.PermissionDenied},
	{guard.ErrRate, "rate", http.StatusTooManyRequests, codes.ResourceExhausted},
	{guard.ErrBusy, "concurrency", http.StatusTooManyRequests, codes.ResourceExhausted},
}

// errCrossOrigin refuses what a page of another site makes a browser send.
var errCrossOrigin = errors.New("a page of another site may not do this: call the server itself")

func newAccess(g *guard.Guard, registry *prometheus.Registry) access {
	a := access{guard: g, refused: make(map[error]prometheus.Counter)}
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weft_access_refused_total", Help: "Calls refused for whose they are, by reason.",
	}, []string{"reason"})
	registry.MustRegister(refused)
	for _, r := range refusals {
		a.refused[r.err] = refused.WithLabelValues(r.reason)
	}
	return a
}

// refuse counts a refusal, one of those in refusals, and returns it with its statuses.
func (a *access) refuse(err error, retry time.Duration) error {
	a.refused[err].Inc()
	for _, r := range refusals {
		if r.err == err { //nolint:errorlint // the very error, which nothing has wrapped
			return &statusError{http: r.http, grpc: r.grpc, text: err.Error(), retry: retry}
		}
	}
	return err
}

// allow returns whose the HTTP request is that needs the right, for the model
// unless that is "".
func (a *access) allow(r *http.Request, need guard.Right, model string) (*guard.Client, error) {
	if a.guard == nil && need < guard.Change {
		return nil, nil
	}
	key, basic := guard.KeyOf(r.Header)
	c, err := a.guard.Allow(need, key, need == guard.Change && guard.Local(r))
	if err == nil && model != "" {
		err = c.May(model)
	}
	if err == nil && (basic || need == guard.Change) && crossOrigin.Check(r) != nil {
		err = errCrossOrigin
	}
	if err != nil {
		return nil, a.refuse(err, 0)
	}
	return c, nil
}

// crossOrigin tells requests that browsers make for pages of other sites.
var crossOrigin = http.NewCrossOriginProtection()

// enter takes a place for an inference request of the client.
func (a *access) enter(c *guard.Client, now time.Time) error {
	if retry, err := c.Enter(now); err != nil {
		return a.refuse(err, retry)
	}
	return nil
}

// Allow reports an error, which says what to do, unless the request may do what
// needs the right. It is for handlers beside this one.
func (h *Handler) Allow(r *http.Request, need guard.Right) error {
	_, err := h.access.allow(r, need, "")
	return err
}

// Require passes on to next the requests that may do what needs the right, and
// refuses the others.
func (h *Handler) Require(need guard.Right, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := h.Allow(r, need); err != nil {
			h.fail(w, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// client returns whose the request is that needs the right, or refuses it.
func (h *Handler) client(w http.ResponseWriter, r *http.Request, need guard.Right, model string) (c *guard.Client, ok bool) {
	c, err := h.access.allow(r, need, model)
	if err != nil {
		h.fail(w, err)
	}
	return c, err == nil
}

// shed says, of a request that was given up because others wait before it, when
// to come back: once the workers are through with what waits. A deadline that is
// too short on an idle server stays so, and nothing is said.
func (e *endpoint) shed(err error) error {
	code := serve.CodeOf(err)
	if code != serve.Full && code != serve.Late || e.router == nil {
		return err
	}
	retry := e.router.Backlog()
	if code == serve.Late && retry == 0 {
		return err
	}
	s := statuses[code]
	return &statusError{http: s.http, grpc: s.grpc, text: err.Error(), retry: max(retry, time.Millisecond)}
}

// setRetry says when to come back, in seconds as HTTP knows it and, since these
// are long for a server of milliseconds, in milliseconds too.
func setRetry(h http.Header, after time.Duration) {
	h.Set("Retry-After", strconv.Itoa(int(math.Ceil(after.Seconds()))))
	h.Set("Retry-After-Ms", strconv.Itoa(int(math.Ceil(float64(after)/float64(time.Millisecond)))))
}
