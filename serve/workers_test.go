package serve_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/serve"
)

// Workers says what each of them runs, and no more once it rests.
func TestWorkersSayWhatTheyRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, r := newServer(t, serve.Options{Policy: "maxacc"}, sleeper(t), sleeper(t))
		time.Sleep(3*ms - s.Now())
		go r.Infer(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4), Timeout: time.Second})
		time.Sleep(4 * ms)
		idle := serve.WorkerStatus{Name: "local 0", Up: true}
		busy := serve.WorkerStatus{Index: 1, Name: "local 1", Up: true}
		list := s.Workers(nil)
		if list[0].Model != "" {
			idle, busy = busy, idle
		}
		busy.Model, busy.Subnet, busy.Since = "m", 2, 3*ms
		want := []serve.WorkerStatus{idle, busy}
		if busy.Index == 0 {
			want = []serve.WorkerStatus{busy, idle}
		}
		if diff := cmp.Diff(want, list); diff != "" {
			t.Errorf("while a batch runs (-want +got):\n%s", diff)
		}
		time.Sleep(100 * ms)
		for _, w := range s.Workers(nil) {
			if w.Model != "" || !w.Up {
				t.Errorf("at rest: %+v", w)
			}
		}
	})
}
