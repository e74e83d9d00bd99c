package serve_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/serve"
)

// flown returns the flight of a server that met some deadlines and missed others.
func flown(t *testing.T) (f *serve.Flight) {
	s, r := newServer(t, serve.Options{SLO: 20 * ms}, sleeper(t))
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() {
			_, _ = r.Infer(t.Context(), &serve.Request{N: 1 + i%8, Images: make([]float32, 4*(1+i%8)), Tenant: strings.Repeat("t", i%3), MinAccuracy: 0.1 * float64(i%9)})
		})
	}
	wg.Wait()
	go func() { _, _ = r.Infer(t.Context(), &serve.Request{N: 2, Images: make([]float32, 8)}) }()
	time.Sleep(ms)
	return s.Flight(time.Minute)
}

func TestFlightFileKeepsAll(t *testing.T) {
	var f *serve.Flight
	synctest.Test(t, func(t *testing.T) { f = flown(t) })
	var file bytes.Buffer
	if err := f.Encode(&file); err != nil {
		t.Fatal(err)
	}
	got, err := serve.DecodeFlight(&file)
	if err != nil {
		t.Fatal(err)
	}
	f.Epoch = f.Epoch.Round(0) // less its monotonic clock
	if diff := cmp.Diff(f, got); diff != "" {
		t.Errorf("flight (-written +read):\n%s", diff)
	}
	m := &got.Models[0]
	if n := len(m.Records); n != 31 || !m.Records[30].Waits() || m.Records[0].Waits() {
		t.Errorf("%d records, want 30 of ended requests and one that runs:\n%+v", n, m.Records)
	}
	if len(m.Decisions) == 0 || m.Workers != 1 || m.Free != 0 || m.Policy != "weft" {
		t.Errorf("%d decisions, %d workers, %d free, policy %s", len(m.Decisions), m.Workers, m.Free, m.Policy)
	}
	batches := map[uint64]bool{}
	for _, d := range m.Decisions {
		batches[d.Batch] = true
	}
	for _, rec := range m.Records {
		if rec.Batch > 0 && !batches[rec.Batch] {
			t.Errorf("request %d ran in batch %d, which nobody decided on", rec.ID, rec.Batch)
		}
	}
}

const flightHead = `{"flight":{"format":1,"reason":"asked","epoch":"2026-01-02T03:04:05Z","from_ns":0,"to_ns":9}}
{"model":{"name":"m","policy":"weft","max_batch":2,"subnets":[{"name":"a","accuracy":0.5,"latency_ns":[1,2]}]}}
`

// request returns a line of a request, changed as said.
func request(old, with string) string {
	return strings.Replace(`{"request":{"id":1,"images":1,"pin":-1,"subnet":0,"worker":0,"code":0}}`, old, with, 1)
}

func TestDamagedFlight(t *testing.T) {
	if _, err := serve.DecodeFlight(strings.NewReader(flightHead + request("", ""))); err != nil {
		t.Fatalf("a good file: %v", err)
	}
	for name, c := range map[string]struct{ file, want string }{
		"empty":          {"", "the file is empty"},
		"no JSON":        {"flight", "line 1"},
		"other JSON":     {`{"step":1}`, "describes no flight"},
		"newer":          {`{"flight":{"format":2}}`, "use a newer weft"},
		"no model":       {`{"flight":{"format":1}} ` + request("", ""), "belongs to no model"},
		"no subnet":      {`{"flight":{"format":1}} {"model":{"name":"m","max_batch":1}}`, "no subnet"},
		"second header":  {flightHead + `{"flight":{"format":1}}`, "damaged"},
		"subnet":         {flightHead + request(`"subnet":0`, `"subnet":1`), "damaged"},
		"worker":         {flightHead + request(`"worker":0`, `"worker":-1`), "damaged"},
		"images":         {flightHead + request(`"images":1`, `"images":3`), "damaged"},
		"pin":            {flightHead + request(`"pin":-1`, `"pin":1`), "damaged"},
		"code":           {flightHead + request(`"code":0`, `"code":99`), "damaged"},
		"batch of none":  {flightHead + request(`"code":0`, `"code":0,"batch":4`), "damaged"},
		"decision":       {flightHead + `{"decision":{"subnet":-1}}`, "damaged"},
		"cut in a line":  {flightHead + `{"request":{"id":1`, "line 3"},
		"dominated ones": {strings.Replace(flightHead, `[{`, `[{"name":"b","accuracy":0.4,"latency_ns":[1,2]},{`, 1), "damaged"},
	} {
		if _, err := serve.DecodeFlight(strings.NewReader(c.file)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Whatever is read is written the same.
func FuzzDecodeFlight(f *testing.F) {
	f.Add([]byte(flightHead + request("", "")))
	f.Add([]byte(flightHead + `{"decision":{"at_ns":5,"batch":1,"requests":1,"images":1,"subnet":0,"worker":3}}`))
	f.Add([]byte(flightHead + request(`"pin":-1`, `"pin":0,"late":1,"tenant":"\u0000","batch":1,"batch_images":2`)))
	f.Add([]byte(`{"flight":{"format":1}} {}`))
	f.Fuzz(func(t *testing.T, file []byte) {
		first, err := serve.DecodeFlight(bytes.NewReader(file))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := first.Encode(&again); err != nil {
			t.Fatalf("what was read can not be written: %v", err)
		}
		second, err := serve.DecodeFlight(&again)
		if err != nil {
			t.Fatalf("what was written can not be read: %v", err)
		}
		if diff := cmp.Diff(first, second); diff != "" {
			t.Errorf("flight (-read +read again):\n%s", diff)
		}
	})
}

// A folder that takes no files is refused at once, not at the first miss; one that does is left as it was.
func TestFlightFolder(t *testing.T) {
	s, _ := newServer(t, serve.Options{}, sleeper(t))
	dir := t.TempDir()
	if _, err := s.NewFlightRecorder(serve.FlightOptions{Dir: dir}); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	closed := map[string]string{"a file": file}
	if _, err := os.Stat("/proc/self"); err == nil {
		closed["read-only"] = "/proc/self"
	}
	for what, dir := range closed {
		if _, err := s.NewFlightRecorder(serve.FlightOptions{Dir: dir}); err == nil {
			t.Errorf("%s is taken for the folder of flights", what)
		}
	}
}

// A miss makes a file of what was before and after it, further ones none until a
// while has passed, and old files go.
func TestFlightRecorder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "flights")
	synctest.Test(t, func(t *testing.T) {
		s, r := newServer(t, serve.Options{}, sleeper(t))
		f, err := s.NewFlightRecorder(serve.FlightOptions{Dir: dir, Before: 10 * time.Second, Every: time.Minute, Keep: 2})
		if err != nil {
			t.Fatal(err)
		}
		infer := func(timeout time.Duration) {
			_, _ = r.Infer(t.Context(), &serve.Request{N: 1, Images: make([]float32, 4), Timeout: timeout})
		}
		infer(ms) // missed before anybody looks
		go f.Run(t.Context())
		time.Sleep(30 * time.Second)
		files := func() (names []string) {
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				names = append(names, e.Name())
			}
			return names
		}
		if n := files(); len(n) != 0 {
			t.Errorf("files %v of a miss before the start", n)
		}
		infer(20 * ms)
		infer(ms) // missed
		infer(25 * ms)
		time.Sleep(time.Second)
		infer(30 * ms) // too late to be in the file
		synctest.Wait()
		if n := files(); len(n) != 1 {
			t.Fatalf("files %v of the first miss, want one", n)
		}
		first := readFlight(t, filepath.Join(dir, files()[0]))
		var timeouts []time.Duration
		for _, rec := range first.Models[0].Records {
			timeouts = append(timeouts, rec.Deadline-rec.Arrival)
		}
		if diff := cmp.Diff([]time.Duration{20 * ms, ms, 25 * ms}, timeouts); diff != "" {
			t.Errorf("requests of the flight (-want +got):\n%s", diff)
		}
		if first.Reason != serve.FlightMissed || first.Miss == nil || first.Miss.ID != first.Models[0].Records[1].ID {
			t.Errorf("the flight is of %s, %+v", first.Reason, first.Miss)
		}
		for range 3 { // a miss every 10 s, one file a minute
			for range 6 {
				infer(ms)
				time.Sleep(10 * time.Second)
			}
		}
		if n := files(); len(n) != 2 || n[0] <= filepath.Base(firstName(first)) {
			t.Errorf("files %v, want the latest two", n)
		}
		path, err := f.Dump()
		if asked := readFlight(t, path); err != nil || asked.Reason != serve.FlightAsked || asked.Miss != nil || len(files()) != 2 {
			t.Errorf("asked for: %+v, %v; files %v", asked.FlightHeader, err, files())
		}
	})
}

func firstName(f *serve.Flight) string {
	return f.Epoch.Add(f.To).UTC().Format("flight-20060102T150405.000000000Z") + ".jsonl"
}

func readFlight(t *testing.T, path string) *serve.Flight {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := serve.DecodeFlight(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The trace of the runtime is one that its own reader accepts at sight.
func TestFlightTrace(t *testing.T) {
	dir := t.TempDir()
	s, _ := newServer(t, serve.Options{}, sleeper(t))
	f, err := s.NewFlightRecorder(serve.FlightOptions{Dir: dir, Trace: true})
	if err != nil {
		t.Fatal(err)
	}
	path, err := f.Dump()
	if err != nil {
		t.Fatal(err)
	}
	trace, err := os.ReadFile(strings.TrimSuffix(path, ".jsonl") + ".trace")
	if err != nil || !bytes.HasPrefix(trace, []byte("go 1.")) {
		t.Errorf("trace %.20q, %v", trace, err)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	f.Run(ended)
}
