// Package report answers: how does one show a run to somebody? It writes one self-contained HTML file with the results,
// the trade-off of the subnets, the course of each policy over time, and the training curves. The file needs no network
// and no other file, and forbids itself to load any.
package report

import (
	"fmt"
	"math"
	"time"
)

// Data is what a report shows. A section without data is left out. NaN, or a duration of zero, stands for what was not
// measured.
type Data struct {
	Title    string
	Summary  string        // one or two sentences: what was found
	Machine  string        // processor, cores, kernels, load
	Commands []string      // what reproduces the page
	SLO      time.Duration // marked in the trade-off

	Results   []Result
	Batches   []int // batch sizes of Subnet.Latency
	Subnets   []Subnet
	Timelines []Timeline
	Curves    []Curve
	Sections  []Section // what else there is to show, before the rest
}

// Result is one row of the table: one policy, or one subnet served alone, under the same load.
type Result struct {
	Policy         string
	Attainment     float64       // part of the requests answered in time, 0..1
	MeanAccuracy   float64       // of the subnets that answered in time, as the bundle states it, 0..1
	AnswerAccuracy float64       // part of the answers that were right, 0..1
	Goodput        float64       // answers in time per second
	P50, P99       time.Duration // from arrival to answer
}

// Subnet is one point of the trade-off.
type Subnet struct {
	Group    string // such as "searched", "uniform", "trained alone"; the first group is joined by a line
	Name     string
	MACs     float64         // multiply-accumulates for one image
	Accuracy float64         // 0..1
	Latency  []time.Duration // of a batch, one for each of Data.Batches
}

// Timeline is the course of one policy in consecutive bins of one length.
type Timeline struct {
	Policy string
	Bin    time.Duration
	Bins   []Bin
}

// Bin is what happened in one stretch of time.
type Bin struct {
	Arrivals   float64 // requests per second
	Queue      float64 // requests waiting
	Accuracy   float64 // mean over the subnets chosen, 0..1
	Batch      float64 // mean batch size
	Attainment float64 // part of the requests that arrived in the bin and were answered in time, 0..1
}

// Curve is the course of training of the supernet, or of one subnet of it.
type Curve struct {
	Name   string
	Points []Epoch
	Marks  []Mark
}

// Epoch is the state after so many epochs, which need not be a whole number.
type Epoch struct {
	Epoch, Loss float64
	Accuracy    float64 // 0..1
}

// Mark is an event of training, such as the switch from one phase to the next.
type Mark struct {
	Epoch float64
	Label string
}

func (d Data) validate() error {
	for _, s := range d.Subnets {
		if len(s.Latency) != len(d.Batches) {
			return fmt.Errorf("subnet %s has %d latencies: give one for each of the %d batch sizes",
				s.Name, len(s.Latency), len(d.Batches))
		}
	}
	for _, t := range d.Timelines {
		if t.Bin <= 0 {
			return fmt.Errorf("timeline %s has bins of %v: give a positive length", t.Policy, t.Bin)
		}
	}
	return nil
}

// colours gives each policy the same colour in the table and in every chart: its place among the timelines, then among
// the results.
func (d Data) colours() map[string]int {
	colour := map[string]int{}
	add := func(policy string) {
		if _, ok := colour[policy]; !ok {
			colour[policy] = len(colour)
		}
	}
	for _, t := range d.Timelines {
		add(t.Policy)
	}
	for _, r := range d.Results {
		add(r.Policy)
	}
	return colour
}

// percent formats a part of one.
func percent(x float64) string {
	if math.IsNaN(x) {
		return "–"
	}
	return fmt.Sprintf("%.2f", 100*x)
}

// millis formats a duration in milliseconds with about three digits.
func millis(d time.Duration) string {
	if d <= 0 {
		return "–"
	}
	return digits(float64(d) / float64(time.Millisecond))
}

// digits formats a number with about three digits, never by an exponent.
func digits(x float64) string {
	switch a := math.Abs(x); {
	case math.IsNaN(x):
		return "–"
	case a >= 100:
		return fmt.Sprintf("%.0f", x)
	case a >= 10:
		return fmt.Sprintf("%.1f", x)
	}
	return fmt.Sprintf("%.2f", x)
}
