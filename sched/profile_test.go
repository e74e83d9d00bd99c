package sched_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/sched"
)

func TestNewProfile(t *testing.T) {
	const ms = time.Millisecond
	in := []sched.Subnet{
		linear("large", 0.80, ms, 4*ms, 3),
		linear("small", 0.70, ms, ms, 4),
		linear("slow", 0.75, 2*ms, 4*ms, 4),      // dominated by large
		linear("twin", 0.70, ms, ms, 4),          // equals small
		linear("crossing", 0.75, 3*ms, ms/10, 4), // slow alone, fast in a batch
	}
	p, err := sched.NewProfile(in, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range p.Subnets {
		names = append(names, s.Name)
	}
	if diff := cmp.Diff([]string{"small", "crossing", "large"}, names); diff != "" {
		t.Error(diff)
	}
	if p.MaxBatch != 3 || len(p.Subnets[0].Latency) != 3 {
		t.Errorf("max batch %d, %d latencies; want 3", p.MaxBatch, len(p.Subnets[0].Latency))
	}
	for accuracy, want := range map[float64]int{0: 0, 0.7: 0, 0.71: 1, 0.8: 2, 0.81: 3} {
		if got := p.Floor(accuracy); got != want {
			t.Errorf("floor of %v is subnet %d, want %d", accuracy, got, want)
		}
	}
	if p.Index("large") != 2 || p.Index("none") != -1 {
		t.Error("index by name")
	}
}

func TestNewProfileErrors(t *testing.T) {
	good := linear("a", 0.7, 1, 1, 4)
	for want, subnets := range map[string][]sched.Subnet{
		"no subnet":      nil,
		"no name":        {linear("", 0.7, 1, 1, 4)},
		"accuracy 70":    {linear("a", 70, 1, 1, 4)},
		"takes 0s":       {linear("a", 0.7, 0, 0, 4)},
		"3 batch sizes":  {good, linear("b", 0.8, 1, 1, 3)},
		"profiled twice": {good, good},
	} {
		if _, err := sched.NewProfile(subnets, 4*min(len(subnets), 1)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error about %q", err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	const ms = time.Millisecond
	steps := linear("steps", 0.8, ms, 4*ms, 3)
	steps.Latency[2] = 8 * ms
	for _, c := range []struct {
		name    string
		subnets []sched.Subnet
		want    string // prefixes of the warnings
	}{
		{"good", []sched.Subnet{linear("a", 0.7, ms, ms, 3), linear("b", 0.8, ms, 3*ms, 3)}, ""},
		{"falls", []sched.Subnet{linear("a", 0.7, ms, ms, 3), steps}, "P1"},
		{"crosses", []sched.Subnet{linear("a", 0.7, ms, 9*ms, 3), linear("b", 0.8, 16*ms, 3*ms, 3)}, "P2 P3"},
		{"overhead", []sched.Subnet{linear("a", 0.7, 90*ms, ms, 3), linear("b", 0.8, 90*ms, 2*ms, 3)}, "P3"},
		{"alone", []sched.Subnet{linear("a", 0.7, 90*ms, ms, 3)}, ""},
	} {
		p, err := sched.NewProfile(c.subnets, 3)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range p.Check() {
			got = append(got, w[:2])
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %q, want %q: %v", c.name, s, c.want, p.Check())
		}
	}
}
