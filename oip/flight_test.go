package oip_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weft/oip"
	"weft/serve"
)

// A flight is written for who may change the server, and for nobody else.
func TestFlight(t *testing.T) {
	s := newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	asked, failure := 0, error(nil)
	h := oip.NewHandler(s, oip.Options{Flight: func() (string, error) {
		asked++
		return "flights/a.jsonl", failure
	}})
	call := func(method, from string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://localhost:8080/v2/flight", nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	const near, far = "127.0.0.1:4711", "192.0.2.1:4711"
	if w := call(http.MethodPost, near); w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != `{"file":"flights/a.jsonl"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := call(http.MethodPost, far); w.Code != http.StatusForbidden {
		t.Errorf("from afar: %d %s", w.Code, w.Body)
	}
	if w := call(http.MethodGet, near); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d %s", w.Code, w.Body)
	}
	if asked != 1 {
		t.Errorf("%d flights were written, want 1", asked)
	}
	failure = errors.New("the disk is full")
	if w := call(http.MethodPost, near); w.Code != http.StatusInternalServerError || !strings.Contains(errorText(t, w), "the disk is full") {
		t.Errorf("a failure: %d %s", w.Code, w.Body)
	}
	h = oip.NewHandler(newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3})), oip.Options{})
	if w := call(http.MethodPost, near); w.Code != http.StatusBadRequest || !strings.Contains(errorText(t, w), "--flight-dir") {
		t.Errorf("a server that keeps none: %d %s", w.Code, w.Body)
	}
}

// Observe is told of what models answer and refuse, over the transport.
func TestObserve(t *testing.T) {
	s := newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	var told []string
	h := oip.NewHandler(s, oip.Options{Observe: func(_ context.Context, model string, q *oip.Request, resp *oip.Response, err error) {
		what := model + " " + serve.CodeOf(err).String()
		if err == nil {
			what += " " + resp.Parameters[0].Text
		}
		if q.Start.IsZero() {
			what += " without a start"
		}
		told = append(told, what)
	}})
	do(h, "POST", inferPath, []byte(`{"inputs":[`+imageJSON+`]}`))
	do(h, "POST", inferPath, []byte(`{"inputs":[`+imageJSON+`],"parameters":{"timeout":1}}`))
	do(h, "POST", inferPath, []byte(`{}`)) // put to no model
	if diff := cmp.Diff([]string{"toy ok large", "toy dropped_late"}, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
}
