package serve

import (
	"sync"
	"time"

	"weft/sched"
)

// Record is a request that has ended, or waits or runs still. Times count from
// the server's start; those that it did not come to are 0.
type Record struct {
	ID          uint64           `json:"id"`
	Arrival     time.Duration    `json:"arrival_ns"`
	Deadline    time.Duration    `json:"deadline_ns"`
	Images      int              `json:"images"`
	MinAccuracy float64          `json:"min_accuracy,omitempty"`
	Pin         int              `json:"pin"` // the subnet that it asked for, or sched.AnySubnet
	Priority    int              `json:"priority,omitempty"`
	Tenant      string           `json:"tenant,omitempty"`
	Late        sched.LatePolicy `json:"late,omitempty"`

	// Of its latest batch: when the scheduler started it, when the worker began
	// to gather it and to compute it, and when that was done.
	Dispatched time.Duration `json:"dispatched_ns,omitempty"`
	Began      time.Duration `json:"began_ns,omitempty"`
	Started    time.Duration `json:"started_ns,omitempty"`
	Computed   time.Duration `json:"computed_ns,omitempty"`
	// Done is when it was answered or given up (0: not yet).
	Done        time.Duration `json:"done_ns,omitempty"`
	Batch       uint64        `json:"batch,omitempty"` // the batch's number (0: it was in none)
	BatchImages int           `json:"batch_images,omitempty"`
	Subnet      int           `json:"subnet"` // index into Profile.Subnets
	Worker      int           `json:"worker"`
	Attempts    int           `json:"attempts,omitempty"` // how often it was put into a batch
	Code        Code          `json:"code"`               // how it ended
}

// Waits reports whether the request had not ended when it was recorded.
func (r *Record) Waits() bool { return r.Done == 0 }

// Met reports whether the request was computed by its deadline.
func (r *Record) Met() bool { return !r.Waits() && r.Code == OK && r.Computed <= r.Deadline }

// Missed reports whether the request failed its deadline through the server's
// doing: it was answered late, refused or failed. Those withdrawn, wrong, or
// refused by a server that drains are not counted.
func (r *Record) Missed() bool {
	if r.Waits() || r.Met() {
		return false
	}
	return r.Code == OK || r.Code == Late || r.Code == Full || r.Code == Failed
}

// Outcome names what became of the request: met, late if the answer was, waits,
// or the name of its code.
func (r *Record) Outcome() string {
	switch {
	case r.Waits():
		return "waits"
	case r.Met():
		return "met"
	case r.Code == OK:
		return "late"
	}
	return r.Code.String()
}

// DefaultFlight is the default of Options.Flight.
const DefaultFlight = 1 << 14

// flight is a ring of the requests that ended of late. Its lock is taken after
// a router's.
type flight struct {
	missed chan<- Miss // told of each miss, if there is room
	model  string

	mu    sync.Mutex
	ring  []Record
	total uint64 // records so far
}

// add remembers the record.
func (f *flight) add(rec *Record) {
	f.mu.Lock()
	f.ring[f.total%uint64(len(f.ring))] = *rec
	f.total++
	f.mu.Unlock()
	if rec.Missed() {
		select {
		case f.missed <- Miss{Model: f.model, ID: rec.ID, Deadline: rec.Deadline}:
		default:
		}
	}
}

// Miss names a request that missed its deadline.
type Miss struct {
	Model    string        `json:"model"`
	ID       uint64        `json:"id"`
	Deadline time.Duration `json:"deadline_ns"` // since the server's start
}

// readAtOnce bounds the records that are copied while writers wait.
const readAtOnce = 256

// since appends the records from number after on that are still there, oldest first.
func (f *flight) since(dst []Record, after uint64) (records []Record, total uint64) {
	for {
		f.mu.Lock()
		n := uint64(len(f.ring))
		if f.total > n {
			after = max(after, f.total-n)
		}
		end := min(f.total, after+readAtOnce)
		for ; after < end; after++ {
			dst = append(dst, f.ring[after%n])
		}
		done := after >= f.total
		f.mu.Unlock()
		if done {
			return dst, after
		}
	}
}

// Recent appends the requests that ended of late, oldest first, and returns how
// many have ended since the start. Of those it leaves out the first after, so
// that a caller who passes what Recent returned before gets what is new. At most
// Options.Flight are remembered. Requests that were refused without a look at
// the queue are not among them.
func (r *Router) Recent(dst []Record, after uint64) (records []Record, total uint64) {
	return r.flight.since(dst, after)
}

// record returns what is known of a call that waits or runs.
func (c *call) record(id uint64) Record {
	req := c.req
	return Record{
		ID: id, Arrival: c.arrival, Deadline: c.deadline, Images: req.N, MinAccuracy: req.MinAccuracy,
		Pin: c.pin, Priority: req.Priority, Tenant: req.Tenant, Late: req.Late, Attempts: c.attempts,
	}
}

// recordDrop remembers a call that ended without an answer.
func (r *Router) recordDrop(now time.Duration, id uint64, c *call) {
	rec := c.record(id)
	rec.Done, rec.Code = now, CodeOf(c.err)
	r.flight.add(&rec)
}

// recordBatch remembers the calls of the worker's batch, which is over.
func (r *Router) recordBatch(w *worker, images int) {
	now := r.now()
	for i, c := range w.calls {
		rec := c.record(w.ids[i])
		rec.Dispatched, rec.Began, rec.Started, rec.Computed, rec.Done = w.dispatched, w.began, w.started, w.computed, now
		rec.Batch, rec.BatchImages, rec.Subnet, rec.Worker = w.batch, images, w.subnet, w.index
		rec.Code = CodeOf(c.err)
		r.flight.add(&rec)
	}
}
