package workload_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weft/workload"
)

const ms = time.Millisecond

// answered is an outcome with a deadline 50 ms after its arrival.
func answered(at, took time.Duration, subnet string, accuracy float64, images, correct int) workload.Outcome {
	return workload.Outcome{
		Intended: at, Sent: at + ms, Finished: at + took, Deadline: at + 50*ms,
		Reply: workload.Reply{
			Subnet: subnet, Accuracy: accuracy, Images: images, Correct: correct,
			BatchSize: 4, Queue: took / 2, Compute: took / 4,
		},
	}
}

func ended(at time.Duration, status workload.Status, err string) workload.Outcome {
	return workload.Outcome{
		Intended: at, Sent: at, Finished: at + ms, Deadline: at + 50*ms,
		Reply: workload.Reply{Status: status}, Err: err,
	}
}

func TestAccount(t *testing.T) {
	got := workload.Account([]workload.Outcome{
		answered(0, 10*ms, "large", 0.9, 1, 1),
		answered(20*ms, 50*ms, "small", 0.7, 3, 2), // just in time
		answered(40*ms, 60*ms, "small", 0.7, 1, 0), // late
		ended(120*ms, workload.Dropped, ""),
		ended(130*ms, workload.Failed, "refused"),
		ended(140*ms, workload.Failed, "refused"),
		ended(150*ms, workload.Failed, "reset"),
		ended(199*ms, workload.NotSent, ""),
	}, 100*ms)
	want := workload.Summary{
		Sent: 8, Met: 2, Late: 1, Dropped: 1, Failed: 4, NotSent: 1,
		Attainment: 0.25, MeanAccuracy: 0.8, MeanAccuracyAll: 0.2, AnswerAccuracy: 0.6,
		Goodput: 20, Seconds: 0.2,
		LatencyMS: workload.Quantiles{P50: 50, P90: 60, P99: 60, Max: 60},
		LagMS:     workload.Quantiles{P50: 0, P90: 1, P99: 1, Max: 1},
		Subnets: []workload.SubnetShare{
			{Name: "small", Accuracy: 0.7, Answered: 2, Met: 1},
			{Name: "large", Accuracy: 0.9, Answered: 1, Met: 1},
		},
		Timeline: []workload.Bin{
			{Arrivals: 3, Met: 2, Answered: 3, Accuracy: 2.3 / 3, BatchSize: 4, QueueMS: 20},
			{StartMS: 100, Arrivals: 5, Dropped: 1},
		},
		Errors: []workload.ErrorCount{{Message: "refused", Count: 2}, {Message: "reset", Count: 1}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateApprox(0.001, 0)); diff != "" {
		t.Error(diff)
	}
}

// TestAccountNothing: no ratio of an empty run is NaN, which JSON has no word for.
func TestAccountNothing(t *testing.T) {
	for _, outcomes := range [][]workload.Outcome{nil, {ended(0, workload.Dropped, "")}} {
		s := workload.Account(outcomes, ms)
		if _, err := json.Marshal(s); err != nil {
			t.Error(err)
		}
		if s.AnswerAccuracy != -1 {
			t.Errorf("without labels the answers' accuracy is %v", s.AnswerAccuracy)
		}
	}
}

func TestUnlabelled(t *testing.T) {
	s := workload.Account([]workload.Outcome{
		answered(0, ms, "a", 0.9, 5, -1),
		answered(0, ms, "a", 0.9, 5, 4),
	}, 0)
	if s.AnswerAccuracy != 0.8 || s.Timeline != nil {
		t.Errorf("answer accuracy %v, timeline %v", s.AnswerAccuracy, s.Timeline)
	}
}

func TestTimelineIsBounded(t *testing.T) {
	s := workload.Account([]workload.Outcome{ended(0, workload.Dropped, ""), ended(time.Hour, workload.Dropped, "")}, time.Microsecond)
	if n := len(s.Timeline); n > 100_000 || s.Timeline[n-1].Arrivals != 1 {
		t.Errorf("%d bins", n)
	}
}
