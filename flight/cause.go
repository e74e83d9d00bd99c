package flight

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"weft/serve"
)

// Cause is why a request missed its deadline.
type Cause string

// The causes.
const (
	// Failed: the model failed.
	Failed Cause = "failed"
	// Lost: a worker was lost while it ran the request.
	Lost Cause = "worker lost"
	// TooShort: the time until the deadline was less than the fastest subnet takes that the
	// request accepts.
	TooShort Cause = "deadline too short"
	// NoWorker: no worker was up.
	NoWorker Cause = "no worker"
	// Slow: its own batch, or the ones before, took longer than profiled.
	Slow Cause = "slow worker"
	// Load: more work was due by its deadline than all workers can do until then, in the smallest
	// subnets and full batches.
	Load Cause = "load above capacity"
	// LongBatch: the batches that ran when it came, or when the queue began to
	// fill, kept the workers for too long.
	LongBatch Cause = "long batch"
	// QueueFull: more requests waited than may.
	QueueFull Cause = "queue full"
	// Choice: there was time enough for smaller subnets in full batches, and the
	// policy chose others.
	Choice Cause = "queue"
)

// Verdict is why a request missed its deadline.
type Verdict struct {
	Request *serve.Record
	Cause   Cause
	Text    string // the figures behind it, a sentence
	// Demand is the least work that was due by the request's deadline over what the workers can do until then,
	// in the time up to the deadline for which that is most.
	Demand float64
}

// Explain returns why the request, which missed its deadline, did so.
//
// What was there to do is weighed against what could be done, as in the processor
// demand criterion for earliest deadline first (Baruah, Rosier and Howell 1990):
// for a time q before the request came, at which something waited already, the
// workers have (deadline - q) x workers. If the work that came since q and was
// due by the deadline is more than that, no scheduler could have met all; the
// cause is Load. Models share the workers, so the work is that of all. If it is the rest of the batches that ran at q that is too much, the
// cause is LongBatch, if what batches took in excess of their profile, Slow. If
// there was time for all that, it was a matter of which subnets and batches were chosen.
func (m *Model) Explain(r *serve.Record) Verdict {
	v := Verdict{Request: r}
	d := m.demand(r)
	v.Demand = d.load
	v.Cause, v.Text = m.cause(r, &d)
	return v
}

func (m *Model) cause(r *serve.Record, d *demand) (Cause, string) {
	fastest, left := m.fastest(r), r.Deadline-r.Arrival
	switch {
	case r.Code == serve.Failed && r.Batch > 0:
		return Failed, fmt.Sprintf("subnet %s failed on worker %d", m.Subnets[r.Subnet].Name, r.Worker)
	case r.Code == serve.Failed || r.Attempts > 1:
		return Lost, fmt.Sprintf("workers were lost while they ran it, in %d of its batches", max(r.Attempts-1, 1))
	case fastest+m.Margin > left:
		return TooShort, fmt.Sprintf("it had %v, and the fastest subnet it accepts takes %v, with %v kept free before each deadline", round(left), round(fastest), round(m.Margin))
	}
	if text, slow := m.slowBatch(r); slow {
		return Slow, text
	}
	if needs := time.Duration(float64(fastest) * m.Pace); r.Code == serve.Late && needs+m.Margin > left {
		return Slow, fmt.Sprintf("batches take %.2f times what the profile says of late, so that the fastest subnet it accepts would have taken %v of the %v that it had", m.Pace, round(needs), round(left))
	}
	switch {
	case d.workers == 0:
		return NoWorker, "no worker was up"
	case d.load > 1:
		return Load, fmt.Sprintf("until its deadline %.2f times as much was to be done as %s can do, in the smallest subnets and full batches", d.load, count(d.workers, "worker"))
	}
	if c, text := m.blocked(r, r.Deadline-fastest-m.Margin); c != "" {
		return c, text
	}
	switch {
	case r.Code == serve.Full:
		return QueueFull, fmt.Sprintf("%d requests waited, of which at most %d may", m.waitingAt(r), m.MaxQueue)
	case d.batches > 1:
		return LongBatch, fmt.Sprintf("the batches that ran when the queue began to fill left %.2f times as much to do as could be done", d.batches)
	case d.overrun > 1:
		return Slow, fmt.Sprintf("batches took %v longer than profiled while it waited, which left %.2f times as much to do as could be done", round(d.excess), d.overrun)
	}
	if text, slow := m.held(r, d.workers); slow {
		return Slow, text
	}
	return Choice, fmt.Sprintf("%.0f %% of the workers' time until its deadline would have done in the smallest subnets and full batches; the batches before it were of %.2f images and of %.2f times the least work",
		100*d.batches, d.images, d.generous)
}

func (m *Model) waitingAt(r *serve.Record) int {
	n, _ := m.Ahead(r)
	return n
}

// slowBatch reports whether the request's own batch was started in time and took too long.
func (m *Model) slowBatch(r *serve.Record) (text string, slow bool) {
	if r.Batch == 0 || r.Dispatched+m.Profile.Latency(r.Subnet, r.BatchImages) > r.Deadline || r.Computed <= r.Deadline {
		return "", false
	}
	profiled := m.Profile.Latency(r.Subnet, r.BatchImages)
	wake, gather, compute := r.Began-r.Dispatched, r.Started-r.Began, r.Computed-r.Started
	switch excess := compute - profiled; {
	case wake > gather && wake > excess:
		return fmt.Sprintf("worker %d began its batch %v after it was told to", r.Worker, round(wake)), true
	case gather > excess:
		return fmt.Sprintf("worker %d took %v to gather its batch", r.Worker, round(gather)), true
	}
	return fmt.Sprintf("its batch took %v on worker %d, where %s with %s takes %v", round(compute), r.Worker,
		m.Subnets[r.Subnet].Name, count(r.BatchImages, "image"), round(profiled)), true
}

// blocked looks at the batches that ran when the request came: did one of them end
// before last, when the request had to begin?
func (m *Model) blocked(r *serve.Record, last time.Duration) (Cause, string) {
	var first, slowest *Batch // to end, and to end but for overruns
	running := 0
	for i := range m.shared.batches {
		b := &m.shared.batches[i]
		if b.Dispatched > r.Arrival || b.Done <= r.Arrival || b.Number == r.Batch {
			continue
		}
		running++
		if first == nil || b.Done < first.Done {
			first = b
		}
		if slowest == nil || b.Dispatched+b.Profiled < slowest.Dispatched+slowest.Profiled {
			slowest = b
		}
	}
	if running == 0 || running < m.Workers || first.Done <= last {
		return "", ""
	}
	if b := slowest; b.Dispatched+b.Profiled <= last {
		return Slow, kept(b)
	}
	return LongBatch, fmt.Sprintf("every worker was busy from before it came until %v after it had to begin, the first to end with %s in %s",
		round(first.Done-last), count(first.Images, "image"), first.SubnetName())
}

// held reports whether most of the time that the request waited went into what
// batches took in excess of their profile.
func (m *Model) held(r *serve.Record, workers int) (text string, held bool) {
	waited := m.left(r) - r.Arrival
	_, excess := m.shared.occupied(r.Arrival, m.left(r))
	if waited <= 0 || 2*excess < waited*time.Duration(workers) {
		return "", false
	}
	batches := m.During(r.Arrival, m.left(r))
	worst := slices.MaxFunc(batches, func(a, b Batch) int { return cmp.Compare(a.Overrun(), b.Overrun()) })
	return fmt.Sprintf("of the %v that it waited, %v went into batches that took longer than profiled: %s", round(waited), round(excess/time.Duration(workers)), kept(&worst)), true
}

// kept says how long a batch kept its worker.
func kept(b *Batch) string {
	return fmt.Sprintf("a batch before it kept worker %d for %v, where %s with %s takes %v",
		b.Worker, round(b.Done-b.Dispatched), b.SubnetName(), count(b.Images, "image"), round(b.Profiled))
}

// round makes a time short enough to read.
func round(d time.Duration) time.Duration {
	switch {
	case d > time.Second:
		return d.Round(time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// count says how many there are of something.
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
