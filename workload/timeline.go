package workload

import "time"

// Bin is what became of the requests that were to arrive in one interval. Means
// are over those that were answered, in time or late.
type Bin struct {
	StartMS  float64 `json:"start_ms"` // since the start of the run
	Arrivals int     `json:"arrivals"`
	Met      int     `json:"met"`
	Dropped  int     `json:"dropped"`
	Answered int     `json:"answered"`
	// Accuracy is the mean profiled accuracy of the subnets.
	Accuracy  float64 `json:"accuracy"`
	BatchSize float64 `json:"batch_size"`
	QueueMS   float64 `json:"queue_ms"`
}

// maxBins bounds a timeline; longer runs get wider bins.
const maxBins = 100_000

func timeline(outcomes []Outcome, width time.Duration) []Bin {
	last := time.Duration(0)
	for i := range outcomes {
		last = max(last, outcomes[i].Intended)
	}
	for last/width >= maxBins {
		width *= 2
	}
	bins := make([]Bin, last/width+1)
	for i := range bins {
		bins[i].StartMS = milliseconds(time.Duration(i) * width)
	}
	for i := range outcomes {
		bins[max(outcomes[i].Intended, 0)/width].add(&outcomes[i])
	}
	for i := range bins {
		b := &bins[i]
		n := float64(b.Answered)
		b.Accuracy, b.BatchSize, b.QueueMS = ratio(b.Accuracy, n), ratio(b.BatchSize, n), ratio(b.QueueMS, n)
	}
	return bins
}

// add sums; timeline turns the sums into means.
func (b *Bin) add(o *Outcome) {
	b.Arrivals++
	switch o.Status {
	case Dropped:
		b.Dropped++
	case Answered:
		b.Answered++
		b.Accuracy += o.Accuracy
		b.BatchSize += float64(o.BatchSize)
		b.QueueMS += milliseconds(o.Queue)
	}
	if o.Met() {
		b.Met++
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
