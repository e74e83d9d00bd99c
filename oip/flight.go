package oip

import (
	"net/http"

	"weft/guard"
	"weft/serve"
)

// flight writes what the server did of late into a file, whose path it answers.
func (h *Handler) flight(w http.ResponseWriter, r *http.Request) {
	if _, ok := h.client(w, r, guard.Change, ""); !ok || !allow(w, r, http.MethodPost, h) {
		return
	}
	if h.opt.Flight == nil {
		h.fail(w, serve.Errorf(serve.Invalid, "the server keeps no flights: start it with --flight-dir"))
		return
	}
	path, err := h.opt.Flight()
	if err != nil {
		h.fail(w, serve.Errorf(serve.Failed, "the flight could not be written: %w", err))
		return
	}
	h.json(w, r, http.StatusOK, struct {
		File string `json:"file"`
	}{path})
}
