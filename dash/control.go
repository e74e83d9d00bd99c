package dash

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"weft/guard"
)

// local passes on the requests that come from the server's own machine.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !guard.Local(r) {
			refuse(w, http.StatusForbidden, "bursts are started on the server's own machine only: open the page there, at 127.0.0.1")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// maxOrderBytes bounds the JSON of an Order.
const maxOrderBytes = 4 << 10

// startBurst answers POST /dash/burst, an Order, by the Burst that has begun.
func (p *Page) startBurst(w http.ResponseWriter, r *http.Request) {
	order := Order{Shape: "steady", CV2: 1, Seconds: 10, SLOMS: 50, Seed: 1}
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrderBytes))
	in.DisallowUnknownFields()
	if err := in.Decode(&order); err != nil {
		refuse(w, http.StatusBadRequest, "the order is not of the form {\"model\": …, \"rate\": …}: "+err.Error())
		return
	}
	if err := order.validate(); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	router := p.server.Router(order.Model)
	if router == nil {
		refuse(w, http.StatusNotFound, "the model is unknown: choose one of those that are served")
		return
	}
	burst, err := p.burst.start(context.WithoutCancel(r.Context()), order, router)
	switch {
	case errors.Is(err, errBusy):
		refuse(w, http.StatusConflict, err.Error())
	case err != nil:
		refuse(w, http.StatusServiceUnavailable, err.Error())
	default:
		answer(w, http.StatusAccepted, burst)
	}
}

// stopBurst answers DELETE /dash/burst.
func (p *Page) stopBurst(w http.ResponseWriter, _ *http.Request) {
	p.burst.stop()
	w.WriteHeader(http.StatusNoContent)
}
