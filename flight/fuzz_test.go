package flight_test

import (
	"bytes"
	"testing"
	"time"

	"weft/flight"
	"weft/serve"
)

// FuzzFlight: whatever can be read as a flight can be looked into, drawn and replayed.
func FuzzFlight(f *testing.F) {
	head := `{"flight":{"format":1,"reason":"asked","epoch":"2026-01-02T03:04:05Z","from_ns":0,"to_ns":90000000}}
{"model":{"name":"m","policy":"weft","max_batch":2,"subnets":[{"name":"a","accuracy":0.5,"latency_ns":[1000000,2000000]},{"name":"b","accuracy":0.6,"latency_ns":[3000000,5000000]}]}}
`
	f.Add([]byte(head + `{"request":{"id":1,"arrival_ns":1000,"deadline_ns":9000000,"images":2,"pin":-1,"dispatched_ns":2000,"began_ns":2000,"started_ns":3000,"computed_ns":12000000,"done_ns":12000001,"batch":1,"batch_images":2,"subnet":1,"worker":0,"attempts":1,"code":0}}
{"request":{"id":2,"arrival_ns":2000,"deadline_ns":5000000,"images":1,"pin":0,"done_ns":4000001,"code":2}}
{"request":{"id":3,"arrival_ns":3000,"deadline_ns":8000000,"images":1,"pin":-1,"code":0}}
{"decision":{"at_ns":2000,"batch":1,"requests":1,"images":2,"subnet":1,"worker":0}}
`))
	f.Add([]byte(head + `{"request":{"id":1,"arrival_ns":-9223372036854775808,"deadline_ns":9223372036854775807,"images":1,"pin":-1,"done_ns":1,"batch":7,"batch_images":1,"subnet":0,"worker":2000000000,"code":0}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := serve.DecodeFlight(bytes.NewReader(data))
		if err != nil {
			return
		}
		models, err := flight.Models(file)
		if err != nil {
			return
		}
		for _, m := range models {
			missed := m.Missed()
			for _, r := range missed {
				if v := m.Explain(r); v.Cause == "" || v.Text == "" {
					t.Fatalf("%+v is explained by %+v", r, v)
				}
				m.Ahead(r)
			}
			if len(missed) > 0 {
				m.SVG(0, time.Second, missed[0])
			}
			if m.Recorded().Met > len(m.Records) {
				t.Fatalf("%d of %d requests met", m.Recorded().Met, len(m.Records))
			}
			_, _ = m.Replay("weft")
		}
	})
}
