package dash

import (
	"time"

	"weft/serve"
)

// busyTimes follows what each worker does, whichever model it is for. A batch
// that runs on counts for as much of the tick as it has run.
type busyTimes struct {
	from time.Duration // the tick's beginning
	seen []Worker      // by index; Busy is in nanoseconds
	now  []serve.WorkerStatus
}

func (b *busyTimes) begin(from time.Duration) {
	b.from = from
	for i := range b.seen {
		b.seen[i].Batches, b.seen[i].Busy = 0, 0
	}
}

// worker returns what has been seen of the worker of that index.
func (b *busyTimes) worker(i int) *Worker {
	for len(b.seen) <= i {
		b.seen = append(b.seen, Worker{Index: len(b.seen), Subnet: -1})
	}
	return &b.seen[i]
}

// ended counts the batch of the record.
func (b *busyTimes) ended(model string, r *serve.Record) {
	w := b.worker(r.Worker)
	w.Batches++
	w.Model, w.Subnet = model, r.Subnet
	w.Busy += float64(r.Done - max(r.Dispatched, b.from))
}

// end returns what each worker of the server did until now.
func (b *busyTimes) end(s *serve.Server, now time.Duration) []Worker {
	b.now = s.Workers(b.now[:0])
	list := make([]Worker, 0, len(b.now))
	for _, st := range b.now {
		w := *b.worker(st.Index)
		w.Name, w.Up = st.Name, st.Up
		if st.Model != "" {
			w.Model, w.Subnet = st.Model, st.Subnet
			w.Busy += float64(now - max(st.Since, b.from))
		}
		w.Busy = thousandths(min(1, max(0, w.Busy)/float64(max(now-b.from, 1))))
		list = append(list, w)
	}
	return list
}
