package oip

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	"weft/guard"
	"weft/serve"
)

// Subnet is one of the models inside a model.
type Subnet struct {
	Name     string  `json:"name"`
	Accuracy float64 `json:"accuracy"`
	// LatencyUS[b-1] is the profiled time of a batch of b images, in microseconds.
	LatencyUS []float64 `json:"latency_us"`
}

// Timeline lists a model's latest batches, oldest first.
type Timeline struct {
	NowUS   int64    `json:"now_us"`  // since the server's start
	Batches int      `json:"batches"` // since the server's start
	Recent  []Choice `json:"recent"`
}

// Choice is one batch of a Timeline.
type Choice struct {
	AtUS            int64  `json:"at_us"` // since the server's start
	SlackUS         int64  `json:"slack_us"`
	Worker          int    `json:"worker"`
	Subnet          string `json:"subnet"`
	Requests        int    `json:"requests"`
	Images          int    `json:"images"`
	WaitingRequests int    `json:"waiting_requests"`
	WaitingImages   int    `json:"waiting_images"`
}

func (h *Handler) json(w http.ResponseWriter, r *http.Request, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		h.fail(w, err)
		return
	}
	h.writeCompressed(w, r, status, append(body, '\n'))
}

const serverName = "weft"

var extensions = []string{
	"binary_tensor_data", "classification", "model_configuration", "model_repository", "schedule_policy", "statistics",
}

func (h *Handler) serverMetadata() (int, any) {
	return http.StatusOK, struct {
		Name       string   `json:"name"`
		Version    string   `json:"version"`
		Extensions []string `json:"extensions"`
	}{serverName, h.opt.Version, extensions}
}

func (h *Handler) live() (int, any) { return http.StatusOK, map[string]bool{"live": true} }

func (h *Handler) ready() (int, any) {
	// The protocol's text names the key live, everybody else ready.
	ready := h.server.Ready()
	return readyStatus(ready), map[string]bool{"ready": ready, "live": true}
}

func readyStatus(ready bool) int {
	if ready {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

func (h *Handler) models(c *guard.Client) (int, any) {
	return http.StatusOK, map[string][]string{"models": h.namesFor(c)}
}

// namesFor returns the names of the models that the client may use, sorted.
func (h *Handler) namesFor(c *guard.Client) []string {
	return slices.DeleteFunc(h.names(), func(name string) bool { return c.May(name) != nil })
}

// names returns the names of all models, sorted.
func (h *Handler) names() []string {
	list := slices.AppendSeq(slices.Clone(h.server.Models()), maps.Keys(h.others))
	slices.Sort(list)
	return list
}

func (e *endpoint) ready() (int, any) {
	ready := e.Ready()
	return readyStatus(ready), struct {
		Name  string `json:"name"`
		Ready bool   `json:"ready"`
	}{e.md.Name, ready}
}

func (e *endpoint) metadata() (int, any) { return http.StatusOK, e.md }

type subnetList struct {
	Subnets []Subnet `json:"subnets"`
}

func (e *endpoint) listSubnets() (int, any) {
	list := subnetList{}
	for _, s := range e.router.Model().Profile.Subnets {
		sub := Subnet{Name: s.Name, Accuracy: s.Accuracy}
		for _, l := range s.Latency {
			sub.LatencyUS = append(sub.LatencyUS, float64(l.Nanoseconds())/1e3)
		}
		list.Subnets = append(list.Subnets, sub)
	}
	return http.StatusOK, list
}

func (e *endpoint) timeline() (int, any) {
	decisions, total := e.router.Timeline(nil)
	t := Timeline{NowUS: e.router.Now().Microseconds(), Batches: total, Recent: make([]Choice, 0, len(decisions))}
	for _, d := range decisions {
		t.Recent = append(t.Recent, choice(d, e.router.Model()))
	}
	return http.StatusOK, t
}

func choice(d serve.Decision, m *serve.Model) Choice {
	return Choice{
		AtUS: d.At.Microseconds(), SlackUS: d.Slack.Microseconds(), Worker: d.Worker,
		Subnet: m.Profile.Subnets[d.Subnet].Name, Requests: d.Requests, Images: d.Images,
		WaitingRequests: d.WaitingRequests, WaitingImages: d.WaitingImages,
	}
}
