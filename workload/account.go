package workload

import (
	"cmp"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Status says how a request ended.
type Status uint8

const (
	// Answered: there is an answer, in time or late.
	Answered Status = iota
	// Dropped: the server refused it or gave it up.
	Dropped
	// Failed: it ended in an error, or without an answer long after its deadline.
	Failed
	// NotSent: the generator had too many requests under way to send it.
	NotSent
)

// String returns the status in a word or two.
func (s Status) String() string {
	return [...]string{"answered", "dropped", "failed", "not sent"}[s]
}

// Reply is what a server said, or a simulation.
type Reply struct {
	Status   Status
	Subnet   string  // that answered
	Accuracy float64 // of the subnet, as profiled, 0..1
	Images   int     // in the request
	Correct  int     // of them were classified as labelled; -1: labels unknown
	// BatchSize is the images of the whole batch that it ran in.
	BatchSize int
	// Queue and Compute are the server's: time spent waiting, and running.
	Queue, Compute time.Duration
}

// Outcome is the record of one request. Times are since the start of the run.
type Outcome struct {
	Intended time.Duration // when the trace had it arrive: latency counts from here
	Sent     time.Duration
	Finished time.Duration
	Deadline time.Duration
	Reply
	Err string // of a failed one
}

// Met reports whether the request was answered by its deadline.
func (o *Outcome) Met() bool { return o.Status == Answered && o.Finished <= o.Deadline }

// Summary accounts for a run. Counts are of requests.
type Summary struct {
	Sent    int `json:"sent"` // all requests, whatever became of them
	Met     int `json:"met"`  // answered by the deadline
	Late    int `json:"late"` // answered after it
	Dropped int `json:"dropped"`
	Failed  int `json:"failed"`   // NotSent among them
	NotSent int `json:"not_sent"` // the generator's fault

	// Attainment is Met / Sent.
	Attainment float64 `json:"attainment"`
	// MeanAccuracy is the mean profiled accuracy over requests that met their
	// deadline (SuperServe, section 6.1). Dropping can raise it.
	MeanAccuracy float64 `json:"mean_accuracy"`
	// MeanAccuracyAll is the same over all requests, those that did not meet
	// their deadline counting 0: the effective accuracy.
	MeanAccuracyAll float64 `json:"mean_accuracy_all"`
	// AnswerAccuracy is the share of labelled images whose answer was right, in
	// time or late; -1: no labels.
	AnswerAccuracy float64 `json:"answer_accuracy"`
	// Goodput is the images a second that were answered by their deadlines.
	Goodput float64 `json:"goodput_img_s"`
	Seconds float64 `json:"seconds"` // from the start to the last arrival or end

	// LatencyMS is from the intended arrival to the answer, over all answered;
	// LagMS is by how much the generator sent late.
	LatencyMS Quantiles `json:"latency_ms"`
	LagMS     Quantiles `json:"lag_ms"`

	Subnets  []SubnetShare `json:"subnets"` // in order of accuracy
	Timeline []Bin         `json:"timeline,omitempty"`
	// Errors counts failures by message, the most frequent first.
	Errors []ErrorCount `json:"errors,omitempty"`
}

// Quantiles of a distribution, in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// SubnetShare is what one subnet answered.
type SubnetShare struct {
	Name     string  `json:"name"`
	Accuracy float64 `json:"accuracy"`
	Answered int     `json:"answered"`
	Met      int     `json:"met"`
}

// ErrorCount is how often a message was seen.
type ErrorCount struct {
	Message string `json:"message"`
	Count   int    `json:"count"`
}

// Account sums outcomes up, with a timeline in bins of that width (0: none).
func Account(outcomes []Outcome, bin time.Duration) Summary {
	a := accountant{
		subnets: map[string]*SubnetShare{},
		errors:  map[string]int{},
		latency: newHistogram(),
		lag:     newHistogram(),
	}
	for i := range outcomes {
		a.add(&outcomes[i])
	}
	s := a.summary()
	if bin > 0 {
		s.Timeline = timeline(outcomes, bin)
	}
	return s
}

type accountant struct {
	sum             Summary
	accuracy        float64 // over those that met their deadlines
	images          int     // of those
	labelled, right int
	end             time.Duration
	subnets         map[string]*SubnetShare
	errors          map[string]int
	latency, lag    *hdrhistogram.Histogram
}

func (a *accountant) add(o *Outcome) {
	a.sum.Sent++
	a.end = max(a.end, o.Intended, o.Finished)
	if o.Status != NotSent {
		record(a.lag, o.Sent-o.Intended)
	}
	switch o.Status {
	case Dropped:
		a.sum.Dropped++
		return
	case NotSent:
		a.sum.NotSent++
		a.sum.Failed++
		return
	case Failed:
		a.sum.Failed++
		a.errors[o.Err]++
		return
	}
	record(a.latency, o.Finished-o.Intended)
	share := a.subnets[o.Subnet]
	if share == nil {
		share = &SubnetShare{Name: o.Subnet, Accuracy: o.Accuracy}
		a.subnets[o.Subnet] = share
	}
	share.Answered++
	if o.Correct >= 0 {
		a.labelled += o.Images
		a.right += o.Correct
	}
	if !o.Met() {
		a.sum.Late++
		return
	}
	a.sum.Met++
	share.Met++
	a.accuracy += o.Accuracy
	a.images += o.Images
}

func (a *accountant) summary() Summary {
	s := a.sum
	s.Seconds = a.end.Seconds()
	s.Attainment = ratio(float64(s.Met), float64(s.Sent))
	s.MeanAccuracy = ratio(a.accuracy, float64(s.Met))
	s.MeanAccuracyAll = ratio(a.accuracy, float64(s.Sent))
	s.AnswerAccuracy = -1
	if a.labelled > 0 {
		s.AnswerAccuracy = ratio(float64(a.right), float64(a.labelled))
	}
	s.Goodput = ratio(float64(a.images), s.Seconds)
	s.LatencyMS, s.LagMS = quantiles(a.latency), quantiles(a.lag)
	for _, share := range a.subnets {
		s.Subnets = append(s.Subnets, *share)
	}
	slices.SortFunc(s.Subnets, func(x, y SubnetShare) int {
		return cmp.Or(cmp.Compare(x.Accuracy, y.Accuracy), cmp.Compare(x.Name, y.Name))
	})
	for message, n := range a.errors {
		s.Errors = append(s.Errors, ErrorCount{message, n})
	}
	slices.SortFunc(s.Errors, func(x, y ErrorCount) int {
		return cmp.Or(cmp.Compare(y.Count, x.Count), cmp.Compare(x.Message, y.Message))
	})
	return s
}

// Histograms hold microseconds up to ten minutes with three significant digits.
func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(1, int64(10*time.Minute/time.Microsecond), 3)
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	us := min(max(int64(d/time.Microsecond), 0), h.HighestTrackableValue())
	if err := h.RecordValue(us); err != nil {
		panic(err) // the value is within the bounds
	}
}

func quantiles(h *hdrhistogram.Histogram) Quantiles {
	ms := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return Quantiles{P50: ms(50), P90: ms(90), P99: ms(99), Max: ms(100)}
}

// ratio is a/b, or 0 where there is nothing to divide by.
func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
