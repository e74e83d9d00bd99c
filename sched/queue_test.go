package sched

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestQueue compares the heap with a sorted slice.
func TestQueue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := newQueue()
		epoch := rapid.SampledFrom([]time.Duration{0, 1 << 61}).Draw(t, "epoch") // after which sums wrap around
		var want []*entry
		for id := range rapid.Uint64Range(1, 60).Draw(t, "operations") {
			switch op := rapid.IntRange(0, 4).Draw(t, "operation"); {
			case op == 0 && len(want) > 0:
				if got := q.pop(); got != want[0] {
					t.Fatalf("pop gives %d, want %d", got.ID, want[0].ID)
				}
				want = want[1:]
			case op == 1 && len(want) > 0:
				i := rapid.IntRange(0, len(want)-1).Draw(t, "index")
				q.remove(want[i])
				want = slices.Delete(want, i, i+1)
			default:
				e := &entry{Request: Request{
					ID: id, Size: 1 + int(id%3),
					Deadline: epoch + time.Duration(rapid.IntRange(0, 20).Draw(t, "deadline")),
					Priority: rapid.IntRange(0, 1).Draw(t, "priority"),
					Tenant:   rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "tenant"),
				}}
				q.push(e)
				i := slices.IndexFunc(want, e.before)
				if i < 0 {
					i = len(want)
				}
				want = slices.Insert(want, i, e)
			}
			images, after := 0, time.Duration(0)
			for _, e := range want {
				images += e.Size
				after += (e.Deadline - want[0].Deadline) * time.Duration(e.Size)
			}
			if len(want) > 0 && q.meanDue() != want[0].Deadline+after/time.Duration(images) {
				t.Fatalf("mean deadline %d, want %d after %d", q.meanDue(), after/time.Duration(images), want[0].Deadline)
			}
			if q.len() != len(want) || q.images != images || len(want) > 0 && q.head() != want[0] {
				t.Fatalf("%d entries, %d images; want %d, %d", q.len(), q.images, len(want), images)
			}
		}
	})
}
