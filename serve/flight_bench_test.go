package serve

import (
	"sync"
	"testing"
)

// BenchmarkFlight is what recording costs a request, while a reader keeps up.
func BenchmarkFlight(b *testing.B) {
	f := &flight{missed: make(chan Miss, 1), ring: make([]Record, DefaultFlight)}
	c := &call{req: &Request{N: 1, Tenant: "a"}, deadline: 1}
	var reader sync.WaitGroup
	done := make(chan struct{})
	reader.Go(func() {
		var dst []Record
		var seen uint64
		for {
			select {
			case <-done:
				return
			default:
				dst, seen = f.since(dst[:0], seen)
			}
		}
	})
	b.ReportAllocs()
	for b.Loop() {
		rec := c.record(1)
		rec.Done, rec.Computed = 2, 2 // missed
		f.add(&rec)
	}
	close(done)
	reader.Wait()
}
