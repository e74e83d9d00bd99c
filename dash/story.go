package dash

import (
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"weft/serve"
)

// Story is what happened to one request. Times are since the server's start;
// those that it did not come to are 0.
type Story struct {
	Model        string  `json:"model"`
	ID           string  `json:"id"`
	Outcome      string  `json:"outcome"` // see serve.Record.Outcome
	Images       int     `json:"images"`
	Attempts     int     `json:"attempts"`
	ArrivalMS    float64 `json:"arrival_ms"`
	DeadlineMS   float64 `json:"deadline_ms"`
	DispatchedMS float64 `json:"dispatched_ms"` // the scheduler put it into a batch
	BeganMS      float64 `json:"began_ms"`      // the worker began to gather the batch
	StartedMS    float64 `json:"started_ms"`    // and to compute it
	ComputedMS   float64 `json:"computed_ms"`   // and to hand the answers out
	DoneMS       float64 `json:"done_ms"`
	Worker       int     `json:"worker"`
	Subnet       int     `json:"subnet"`       // index into Model.Subnets; -1: it was in no batch
	BatchImages  int     `json:"batch_images"` // of the whole batch
	Mates        int     `json:"mates"`        // other requests in the batch
	Ahead        int     `json:"ahead"`        // requests that waited when it came
	// Batches are those that ran between its arrival and its end, of any model, in
	// order of time; its own is one of them.
	Batches []Span `json:"batches"`
}

// Span is the time of one batch on a worker.
type Span struct {
	Worker int     `json:"worker"`
	Model  string  `json:"model"`
	Subnet int     `json:"subnet"`
	Images int     `json:"images"`
	FromMS float64 `json:"from_ms"`
	ToMS   float64 `json:"to_ms"`
	Own    bool    `json:"own"`
}

// mostSpans bounds the batches of a Story.
const mostSpans = 400

// storyteller looks requests up, one viewer at a time, as their records are
// many and need not be held twice.
type storyteller struct {
	mu      sync.Mutex
	records []serve.Record
}

// tell answers GET /dash/request?model=NAME with &id=ID or &pick=slowest,
// missed (the latest one) or latest, of the requests that are remembered.
func (p *Page) tell(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	name := q.Get("model")
	router := p.server.Router(name)
	if router == nil {
		refuse(w, http.StatusNotFound, "the model is unknown: choose one of those that are served")
		return
	}
	choose, ok := chooser(q.Get("id"), q.Get("pick"))
	if !ok {
		refuse(w, http.StatusBadRequest, "no request is named: give id, or pick as slowest, missed or latest")
		return
	}
	t := &p.story
	t.mu.Lock()
	defer t.mu.Unlock()
	t.records, _ = router.Recent(t.records[:0], 0)
	i := choose(t.records)
	if i < 0 {
		refuse(w, http.StatusNotFound, "no such request is remembered: choose a later one")
		return
	}
	rec := t.records[i]
	story := newStory(name, &rec, t.records)
	for _, other := range p.server.Models() {
		if router := p.server.Router(other); router != nil {
			t.records, _ = router.Recent(t.records[:0], 0)
			story.addSpans(other, &rec, t.records)
		}
	}
	slices.SortStableFunc(story.Batches, func(a, b Span) int { return int(a.FromMS*1000) - int(b.FromMS*1000) })
	answer(w, http.StatusOK, story)
}

// recently is how far pick looks back from the latest request.
const recently = 10 * time.Second

// chooser returns a function that finds a request: its index, or -1.
func chooser(id, pick string) (choose func([]serve.Record) int, ok bool) {
	if id != "" {
		n, err := strconv.ParseUint(id, 10, 64)
		return func(list []serve.Record) int {
			return slices.IndexFunc(list, func(r serve.Record) bool { return r.ID == n })
		}, err == nil
	}
	switch pick {
	case "latest":
		return func(list []serve.Record) int { return len(list) - 1 }, true
	case "missed":
		return func(list []serve.Record) int {
			for i := len(list) - 1; i >= 0; i-- {
				if list[i].Missed() {
					return i
				}
			}
			return -1
		}, true
	case "slowest":
		return slowest, true
	}
	return nil, false
}

// slowest finds the answered request that took longest of late.
func slowest(list []serve.Record) int {
	found := -1
	for i := len(list) - 1; i >= 0 && list[len(list)-1].Done-list[i].Done < recently; i-- {
		r := &list[i]
		if r.Code == serve.OK && (found < 0 || r.Done-r.Arrival > list[found].Done-list[found].Arrival) {
			found = i
		}
	}
	return found
}

// newStory tells of a record and those of its model.
func newStory(model string, r *serve.Record, all []serve.Record) *Story {
	s := &Story{
		Model: model, ID: strconv.FormatUint(r.ID, 10), Outcome: r.Outcome(), Images: r.Images, Attempts: r.Attempts,
		ArrivalMS: round(r.Arrival), DeadlineMS: round(r.Deadline), DispatchedMS: round(r.Dispatched), BeganMS: round(r.Began),
		StartedMS: round(r.Started), ComputedMS: round(r.Computed), DoneMS: round(r.Done),
		Worker: r.Worker, Subnet: -1, BatchImages: r.BatchImages, Batches: []Span{},
	}
	if r.Batch > 0 {
		s.Subnet = r.Subnet
	}
	for i := range all {
		o := &all[i]
		if o.ID == r.ID {
			continue
		}
		if r.Batch > 0 && o.Batch == r.Batch {
			s.Mates++
		}
		left := o.Dispatched // the queue
		if o.Batch == 0 {
			left = o.Done
		}
		if o.Arrival <= r.Arrival && left > r.Arrival {
			s.Ahead++
		}
	}
	return s
}

// addSpans adds the batches of a model that ran during the request. The records
// of one batch follow each other.
func (s *Story) addSpans(model string, r *serve.Record, all []serve.Record) {
	last := uint64(0)
	for i := range all {
		o := &all[i]
		if o.Batch == 0 || o.Batch == last || o.Done < r.Arrival || o.Dispatched > r.Done || len(s.Batches) == mostSpans {
			continue
		}
		last = o.Batch
		s.Batches = append(s.Batches, Span{
			Worker: o.Worker, Model: model, Subnet: o.Subnet, Images: o.BatchImages,
			FromMS: round(o.Dispatched), ToMS: round(o.Done), Own: model == s.Model && o.Batch == r.Batch,
		})
	}
}
