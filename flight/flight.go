// Package flight says why requests missed their deadlines, from what a server
// wrote down around one (serve.Flight): which batches ran meanwhile, what waited,
// and whether another policy would have met them.
package flight

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"weft/sched"
	"weft/serve"
)

// Model is what a model's requests and batches were during a flight.
type Model struct {
	*serve.FlightModel
	Profile *sched.Profile
	// Batches are in the order in which they were started. A batch whose worker
	// was lost is not among them.
	Batches []Batch

	arrivals []*serve.Record // what was to be served, in the order of arrival
	now      time.Duration   // when the flight was written
	shared   *shared
}

// Batch is a batch that has ended.
type Batch struct {
	Model          *Model
	Number         uint64
	Worker, Subnet int
	Images         int
	Requests       int // that were not withdrawn meanwhile
	Missed         int // of these
	// Times as in serve.Record.
	Dispatched, Began, Started, Computed, Done time.Duration
	// Profiled is what the profile says that computing takes.
	Profiled time.Duration
}

// Overrun is how much longer the batch kept its worker than computing was profiled
// to take, from its dispatch on. It is not negative.
func (b *Batch) Overrun() time.Duration { return max(b.Done-b.Dispatched-b.Profiled, 0) }

// SubnetName is the name of the subnet that ran.
func (b *Batch) SubnetName() string { return b.Model.Subnets[b.Subnet].Name }

// shared is what the models did together, since they share the workers.
type shared struct {
	arrivals []due           // in their order
	waits    []span          // when something waited
	batches  []Batch         // in the order in which they were started
	excess   []time.Duration // the sum of the overruns of all batches before each
	longest  time.Duration   // that a batch kept its worker
}

// due is a request and the least work that it is.
type due struct {
	*serve.Record
	left time.Duration // when it left the queue
	work time.Duration
}

// span is a stretch of time.
type span struct{ from, to time.Duration }

// Models returns the models of the flight.
func Models(f *serve.Flight) ([]*Model, error) {
	var all []*Model
	s := new(shared)
	for i := range f.Models {
		p, err := f.Models[i].Profile()
		if err != nil {
			return nil, fmt.Errorf("model %s: %w", f.Models[i].Name, err)
		}
		m := &Model{FlightModel: &f.Models[i], Profile: p, now: f.To, shared: s}
		m.sort()
		s.batches = append(s.batches, m.Batches...)
		for _, r := range m.arrivals {
			s.arrivals = append(s.arrivals, due{r, m.left(r), m.work(r)})
		}
		all = append(all, m)
	}
	s.sort()
	return all, nil
}

// sort finds the model's batches, and what was to be served.
func (m *Model) sort() {
	index := make(map[uint64]int)
	for i := range m.Records {
		r := &m.Records[i]
		if r.Waits() || r.Code != serve.Cancelled && r.Code != serve.Invalid && r.Code != serve.Draining {
			m.arrivals = append(m.arrivals, r)
		}
		if r.Batch == 0 {
			continue
		}
		at, ok := index[r.Batch]
		if !ok {
			at = len(m.Batches)
			index[r.Batch] = at
			m.Batches = append(m.Batches, Batch{
				Model: m, Number: r.Batch, Worker: r.Worker, Subnet: r.Subnet, Images: r.BatchImages,
				Dispatched: r.Dispatched, Began: r.Began, Started: r.Started, Computed: r.Computed, Done: r.Done,
				Profiled: m.Profile.Latency(r.Subnet, r.BatchImages),
			})
		}
		b := &m.Batches[at]
		b.Requests++
		if r.Missed() {
			b.Missed++
		}
	}
	sortBatches(m.Batches)
	slices.SortFunc(m.arrivals, compareArrivals)
}

func (s *shared) sort() {
	sortBatches(s.batches)
	slices.SortStableFunc(s.arrivals, func(a, b due) int { return compareArrivals(a.Record, b.Record) })
	for _, r := range s.arrivals {
		if n := len(s.waits); n > 0 && r.Arrival <= s.waits[n-1].to {
			s.waits[n-1].to = max(s.waits[n-1].to, r.left)
		} else if r.left > r.Arrival {
			s.waits = append(s.waits, span{r.Arrival, r.left})
		}
	}
	s.excess = make([]time.Duration, len(s.batches)+1)
	for i := range s.batches {
		b := &s.batches[i]
		s.excess[i+1] = s.excess[i] + b.Overrun()
		s.longest = max(s.longest, b.Done-b.Dispatched)
	}
}

func sortBatches(batches []Batch) {
	slices.SortFunc(batches, func(a, b Batch) int {
		return cmp.Or(cmp.Compare(a.Dispatched, b.Dispatched), cmp.Compare(a.Number, b.Number))
	})
}

// compareArrivals orders requests as they came.
func compareArrivals(a, b *serve.Record) int {
	return cmp.Or(cmp.Compare(a.Arrival, b.Arrival), cmp.Compare(a.ID, b.ID))
}

// left returns when the request left the queue for the last time.
func (m *Model) left(r *serve.Record) time.Duration {
	switch {
	case r.Batch > 0:
		return r.Dispatched
	case r.Waits() && r.Attempts > 0: // it runs; when that began is not known
		return r.Arrival
	case r.Waits():
		return m.now
	}
	return r.Done
}

// Missed returns the requests that missed their deadlines, in the order of these.
func (m *Model) Missed() (missed []*serve.Record) {
	for _, r := range m.arrivals {
		if r.Missed() {
			missed = append(missed, r)
		}
	}
	slices.SortStableFunc(missed, func(a, b *serve.Record) int { return cmp.Compare(a.Deadline, b.Deadline) })
	return missed
}

// Request returns the request of that ID, or nil.
func (m *Model) Request(id uint64) *serve.Record {
	for i := range m.Records {
		if m.Records[i].ID == id {
			return &m.Records[i]
		}
	}
	return nil
}

// Ahead returns how many requests waited when r arrived, not counting r.
func (m *Model) Ahead(r *serve.Record) (requests, images int) {
	for _, o := range m.arrivals {
		if o.Arrival > r.Arrival {
			break
		}
		if o != r && m.left(o) > r.Arrival {
			requests++
			images += o.Images
		}
	}
	return requests, images
}

// During returns the batches, of all models, that ran at some time in from..to.
func (m *Model) During(from, to time.Duration) (some []Batch) {
	for _, b := range m.shared.batches {
		if b.Dispatched < to && b.Done > from {
			some = append(some, b)
		}
	}
	return some
}

// floor returns the least accurate subnet that the request accepts.
func (m *Model) floor(r *serve.Record) int {
	if r.Pin >= 0 {
		return r.Pin
	}
	return min(m.Profile.Floor(r.MinAccuracy), len(m.Subnets)-1)
}

// fastest returns the least time in which the request alone can be computed.
func (m *Model) fastest(r *serve.Record) time.Duration {
	least := m.Profile.Latency(m.floor(r), r.Images)
	if r.Pin < 0 {
		for s := m.floor(r) + 1; s < len(m.Subnets); s++ {
			least = min(least, m.Profile.Latency(s, r.Images))
		}
	}
	return least
}

// work returns the least worker time that the request needs: its share of a
// full batch of the least accurate subnet that it accepts.
func (m *Model) work(r *serve.Record) time.Duration {
	full := m.MaxBatch
	return m.Profile.Latency(m.floor(r), full) * time.Duration(r.Images) / time.Duration(full)
}
