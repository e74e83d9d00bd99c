package peak

import (
	"testing"
	"time"
)

func TestShortest(t *testing.T) {
	now, calls := time.Unix(0, 0), 0
	took := []time.Duration{time.Hour, 3 * time.Second, 2 * time.Second, 4 * time.Second} // the first is untimed
	got := shortest(3, func() time.Time { return now }, func() { now = now.Add(took[calls]); calls++ })
	if got != 2 || calls != 4 {
		t.Errorf("%v s in %d calls", got, calls)
	}
}

func TestSeconds(t *testing.T) {
	r := Roof{Flops: 100, Cache: 10}
	if a, b := r.Seconds(1000, 1), r.Seconds(1, 1000); a != 10 || b != 100 {
		t.Errorf("%v s of computing, %v s of moving", a, b)
	}
}
