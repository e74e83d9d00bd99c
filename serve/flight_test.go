package serve_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/sched"
	"weft/serve"
)

// What is recorded of requests that are met, late, dropped and withdrawn is what
// virtual time says.
func TestRecentRecordsWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := newServer(t, serve.Options{Policy: "fixed:small"}, sleeper(t))
		start := r.Now()
		var wg sync.WaitGroup
		send := func(ctx context.Context, q serve.Request) {
			q.Images = make([]float32, 4*q.N)
			wg.Go(func() { _, _ = r.Infer(ctx, &q) })
			synctest.Wait()
		}
		send(t.Context(), serve.Request{N: 8, Timeout: 50 * ms, Tenant: "a"})      // runs at once: 3.4 ms
		send(t.Context(), serve.Request{N: 1, Timeout: 5 * ms, Late: sched.Serve}) // waits 3.4 ms, then 2 ms: late
		send(t.Context(), serve.Request{N: 1, Timeout: 4 * ms, MinAccuracy: 0.7})  // hopeless by 2 ms
		gone, leave := context.WithCancel(t.Context())
		send(gone, serve.Request{N: 1, Timeout: 40 * ms, Subnet: "large", Priority: 3}) // withdrawn at 1 ms
		time.Sleep(ms)
		leave()
		wg.Wait()

		records, total := r.Recent(nil, 0)
		for i := range records {
			rec := &records[i]
			rec.ID = 0
			for _, d := range []*time.Duration{&rec.Arrival, &rec.Deadline, &rec.Dispatched, &rec.Began, &rec.Started, &rec.Computed, &rec.Done} {
				if *d != 0 {
					*d -= start
				}
			}
		}
		end := 3400 * time.Microsecond
		want := []serve.Record{
			{Deadline: 40 * ms, Images: 1, Pin: 2, Priority: 3, Done: ms, Code: serve.Cancelled},
			{Deadline: 4 * ms, Images: 1, MinAccuracy: 0.7, Pin: sched.AnySubnet, Done: 2*ms + 1, Code: serve.Late},
			{Deadline: 50 * ms, Images: 8, Pin: sched.AnySubnet, Tenant: "a", Computed: end, Done: end, Batch: 1, BatchImages: 8, Attempts: 1},
			{
				Deadline: 5 * ms, Images: 1, Pin: sched.AnySubnet, Late: sched.Serve, Dispatched: end, Began: end, Started: end,
				Computed: end + 2*ms, Done: end + 2*ms, Batch: 2, BatchImages: 1, Attempts: 1,
			},
		}
		if diff := cmp.Diff(want, records); diff != "" {
			t.Errorf("records (-want +got):\n%s", diff)
		}
		var outcomes []string
		missed := 0
		for i := range records {
			outcomes = append(outcomes, records[i].Outcome())
			if records[i].Missed() {
				missed++
			}
		}
		if diff := cmp.Diff([]string{"cancelled", "dropped_late", "met", "late"}, outcomes); diff != "" || missed != 2 {
			t.Errorf("%d missed, want 2; outcomes (-want +got):\n%s", missed, diff)
		}
		if again, n := r.Recent(nil, total); len(again) != 0 || n != total || total != 4 {
			t.Errorf("after %d records there are %d more, %d in all", total, len(again), n)
		}
	})
}

// A reader who keeps up misses nothing; one who doesn't gets the latest.
func TestRecentIsARing(t *testing.T) {
	const ring = 300
	_, r := newServer(t, serve.Options{Flight: ring, SLO: time.Second}, execFunc(linear))
	infer := func(n int) {
		for range n {
			if _, err := r.Infer(t.Context(), &serve.Request{N: 1, Images: make([]float32, 4)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var all []serve.Record
	var seen uint64
	for range 4 {
		infer(ring - 10)
		all, seen = r.Recent(all, seen)
	}
	if len(all) != 4*(ring-10) || seen != uint64(len(all)) {
		t.Fatalf("%d records and %d counted of %d requests", len(all), seen, 4*(ring-10))
	}
	for i := 1; i < len(all); i++ {
		if all[i].ID <= all[i-1].ID {
			t.Fatalf("record %d has ID %d after %d", i, all[i].ID, all[i-1].ID)
		}
	}
	infer(ring + 50)
	latest, total := r.Recent(nil, seen)
	if len(latest) != ring || total != seen+ring+50 {
		t.Errorf("a reader who is late gets %d records, %d counted, want %d and %d", len(latest), total, ring, seen+ring+50)
	}
}
