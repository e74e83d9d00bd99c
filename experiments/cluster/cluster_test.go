package cluster

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"weft/workload"
)

func TestCounters(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`# HELP weft_requests_total Requests.
# TYPE weft_requests_total counter
weft_requests_total{model="m",outcome="ok"} 41
weft_requests_total{model="m",outcome="dropped_late"} 1e+00
weft_requests_total_more 7
weft_ready 1
`))
	}))
	defer srv.Close()
	c, err := (&Server{URL: srv.URL}).Counters(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{"weft_requests_total": 42, "weft_requests_total_more": 7, "weft_ready": 1, "weft": 0} {
		if got := c.sum(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
}

func TestAccount(t *testing.T) {
	second := func(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }
	a := account([]workload.Outcome{
		{Intended: 0, Finished: second(0.1), Deadline: second(0.5), Reply: workload.Reply{Accuracy: 0.9, Images: 1}},
		{Intended: second(1), Finished: second(1.6), Deadline: second(1.5), Reply: workload.Reply{Accuracy: 0.5, Images: 1}},
		{Intended: second(2), Finished: second(2.1), Deadline: second(2.5), Reply: workload.Reply{Status: workload.Dropped}},
		{Intended: second(3), Finished: second(3.1), Deadline: second(3.5), Reply: workload.Reply{Status: workload.Failed}, Err: "gone"},
	})
	if want := (Account{Sent: 4, Answered: 2, Late: 1, Refused: 1, Lost: 1, Attainment: 0.25, Accuracy: 0.9}); a.String() != want.String() {
		t.Errorf("%v, want %v", a, &want)
	}
	if b := a.Between(second(1), second(3)); b.Sent != 2 || b.Late != 1 || b.Refused != 1 {
		t.Errorf("between 1 and 3 s: %v", b)
	}
}

// A worker carries what the package says, and larger subnets take longer.
func TestLatency(t *testing.T) {
	if largest < 95 || largest > 96 {
		t.Errorf("the largest subnet runs %v images a second", largest)
	}
	for images := 1; images < 16; images++ {
		for part := 0.; part < 1; part += 0.1 {
			if Latency(part, images) >= Latency(part+0.1, images) || Latency(part, images) >= Latency(part, images+1) {
				t.Errorf("latency does not rise at part %v, %d images", part, images)
			}
		}
	}
}

func TestLab(t *testing.T) {
	l, err := NewLab("/bin/false", t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := l.start("false", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Await(t.Context(), "never"); err == nil {
		t.Error("a process that ended said what it did not")
	}
	if _, err := l.WorkerIn([]string{"/nowhere"}, "w", "nats://127.0.0.1:1"); err == nil {
		t.Error("a program that is not there was started")
	}
}
