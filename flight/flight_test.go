package flight_test

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weft/flight"
	"weft/sched"
	"weft/serve"
)

const ms = time.Millisecond

// profile has a small and a large subnet: 2 and 10 ms for one image, a tenth of that for
// each further one, up to 8: 3.4 and 17 ms.
func profile(t testing.TB) *sched.Profile {
	t.Helper()
	subnet := func(name string, accuracy float64, first time.Duration) sched.Subnet {
		s := sched.Subnet{Name: name, Accuracy: accuracy}
		for b := range 8 {
			s.Latency = append(s.Latency, first+time.Duration(b)*first/10)
		}
		return s
	}
	p, err := sched.NewProfile([]sched.Subnet{subnet("small", 0.7, 2*ms), subnet("large", 0.9, 10*ms)}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// executor takes the profiled time, and what extra says on top of it.
type executor struct {
	*sched.Profile
	extra func(subnet, images int) (time.Duration, error)
}

func (e executor) Run(s int, _ []float32, n int, logits []float32) error {
	clear(logits)
	d, err := time.Duration(0), error(nil)
	if e.extra != nil {
		d, err = e.extra(s, n)
	}
	time.Sleep(e.Latency(s, n) + d)
	return err
}

// arrival is a request: it comes at a time, and may take so long.
type arrival struct {
	at, timeout time.Duration
	images      int
	subnet      string
	late        sched.LatePolicy
}

// burst returns that many requests of one image that come at once.
func burst(n int, timeout time.Duration) (all []arrival) {
	for range n {
		all = append(all, arrival{0, timeout, 1, "", sched.Reject})
	}
	return all
}

// fly sends the requests to a server in virtual time and returns its flight.
func fly(t *testing.T, opt serve.Options, requests []arrival, execs ...serve.Executor) *serve.Flight {
	s, err := serve.New([]serve.Model{{Name: "m", H: 1, W: 1, C: 1, Classes: 2, Profile: profile(t), Executors: execs}}, opt)
	if err != nil {
		t.Fatal(err)
	}
	for !s.Ready() {
		time.Sleep(time.Microsecond)
	}
	time.Sleep(time.Second)
	var wg sync.WaitGroup
	for _, a := range requests {
		wg.Go(func() {
			time.Sleep(a.at)
			_, _ = s.Router("m").Infer(t.Context(), &serve.Request{
				N: a.images, Images: make([]float32, a.images), Timeout: a.timeout, Subnet: a.subnet, Late: a.late,
			})
		})
	}
	wg.Wait()
	f := s.Flight(time.Minute)
	if err := s.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	return f
}

// Each cause is made to be, and found.
func TestCauses(t *testing.T) {
	once := func(extra time.Duration, err error) func(int, int) (time.Duration, error) {
		first := true
		return func(int, int) (time.Duration, error) {
			if !first {
				return 0, nil
			}
			first = false
			return extra, err
		}
	}
	fixed := sched.Options{FixedProfile: true} // one slow batch is not the scheduler's reason to give others up
	for _, c := range []struct {
		name     string
		policy   string
		opt      sched.Options
		requests []arrival
		extra    func(subnet, images int) (time.Duration, error)
		missed   int // 0: some
		want     flight.Cause
		text     string
	}{
		{
			name: "a burst that no policy could serve", policy: "weft",
			requests: burst(200, 50*ms), // 85 ms of the smallest subnet
			want:     flight.Load, text: "1.70 times as much",
		},
		{
			name: "a batch that takes three times its time", policy: "fixed:small", opt: fixed,
			requests: burst(1, 5*ms), extra: once(4*ms, nil), missed: 1,
			want: flight.Slow, text: "its batch took 6ms on worker 0, where small with 1 image takes 2ms",
		},
		{
			name: "the batch before takes ten times its time", policy: "fixed:small", opt: fixed,
			requests: []arrival{{0, 100 * ms, 1, "", 0}, {ms, 10 * ms, 1, "", 0}}, extra: once(18*ms, nil), missed: 1,
			want: flight.Slow, text: "a batch before it kept worker 0 for 20ms, where small with 1 image takes 2ms",
		},
		{
			name: "the batch that was started instead takes ten times its time", policy: "fixed:small", opt: fixed,
			requests: []arrival{{0, 9 * ms, 8, "", 0}, {0, 10 * ms, 1, "", 0}, {0, 11 * ms, 8, "", 0}}, extra: once(5*ms, nil),
			want: flight.Slow, text: "a batch before it kept worker 0 for 8.4ms, where small with 8 images takes 3.4ms",
		},
		{
			name: "a large batch runs when an urgent request comes", policy: "weft",
			requests: []arrival{{0, 100 * ms, 8, "large", 0}, {ms, 10 * ms, 1, "", 0}}, missed: 1,
			want: flight.LongBatch, text: "until 8ms after it had to begin, the first to end with 8 images in large",
		},
		{
			name: "the same, answered late", policy: "weft",
			requests: []arrival{{0, 100 * ms, 8, "large", 0}, {ms, 10 * ms, 1, "", sched.Serve}}, missed: 1,
			want: flight.LongBatch, text: "8ms after",
		},
		{
			name: "a deadline before the fastest subnet is done", policy: "weft",
			requests: burst(1, ms), missed: 1,
			want: flight.TooShort, text: "it had 1ms, and the fastest subnet it accepts takes 2ms",
		},
		{
			name: "a pin that can't be in time", policy: "weft",
			requests: []arrival{{0, 8 * ms, 1, "large", 0}}, missed: 1,
			want: flight.TooShort, text: "takes 10ms",
		},
		{
			name: "a failure of the model", policy: "fixed:large",
			requests: burst(1, 50*ms), extra: once(0, errors.New("out of cheese")), missed: 1,
			want: flight.Failed, text: "large failed on worker 0",
		},
		{
			name: "a short queue", policy: "fixed:small", opt: sched.Options{MaxQueue: 4},
			requests: burst(8, 50*ms), missed: 3,
			want: flight.QueueFull, text: "4 requests waited, of which at most 4 may",
		},
		{
			name: "a policy that takes the large subnet come what may", policy: "fixed:large",
			requests: burst(30, 40*ms), // four batches: 68 ms, in the smallest 13.6 ms
			want:     flight.Choice, text: "32 % of the workers' time",
		},
		{
			name: "workers that have become slow", policy: "fixed:small",
			requests: burst(60, 35*ms), // 27.2 ms as profiled
			extra:    func(int, int) (time.Duration, error) { return 3 * ms, nil },
			want:     flight.Slow, text: "longer than profiled",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := fly(t, serve.Options{Policy: c.policy, Sched: c.opt}, c.requests, executor{profile(t), c.extra})
				m := models(t, f)[0]
				missed := m.Missed()
				if c.missed > 0 && len(missed) != c.missed || len(missed) == 0 {
					t.Errorf("%d of %d requests missed, want %d (0: some)", len(missed), len(c.requests), c.missed)
				}
				said := false
				for _, r := range missed {
					v := m.Explain(r)
					if v.Cause != c.want {
						t.Errorf("request %d, %s: %s: %s; want %s", r.ID, r.Outcome(), v.Cause, v.Text, c.want)
					}
					said = said || strings.Contains(v.Text, c.text)
					if !said {
						t.Log(v.Text)
					}
				}
				if !said {
					t.Errorf("no request was explained by %q", c.text)
				}
			})
		})
	}
}

func models(t testing.TB, f *serve.Flight) []*flight.Model {
	t.Helper()
	all, err := flight.Models(f)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A flight of one request, changed by hand into what takes machines to come about.
func TestCausesOfLostWorkers(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*serve.FlightModel, *serve.Record)
		want   flight.Cause
	}{
		"nobody there": {func(m *serve.FlightModel, r *serve.Record) { m.Workers, r.Code = 0, serve.Late }, flight.NoWorker},
		"lost twice, then late": {func(_ *serve.FlightModel, r *serve.Record) {
			r.Attempts, r.Batch, r.BatchImages, r.Computed = 3, 7, 1, r.Deadline+1
		}, flight.Lost},
		"lost for good": {func(_ *serve.FlightModel, r *serve.Record) { r.Attempts, r.Code = 3, serve.Failed }, flight.Lost},
		"slow to wake": {func(_ *serve.FlightModel, r *serve.Record) {
			r.Attempts, r.Batch, r.BatchImages = 1, 1, 1
			r.Dispatched, r.Began, r.Started, r.Computed = r.Arrival, r.Arrival+49*ms, r.Arrival+49*ms, r.Arrival+51*ms
		}, flight.Slow},
	} {
		m := &serve.FlightModel{
			Name: "m", Policy: "weft", Workers: 1, Pace: 1, MaxBatch: 1,
			Subnets: []serve.FlightSubnet{{Name: "a", Accuracy: 0.5, Latency: []time.Duration{2 * ms}}},
			Records: []serve.Record{{ID: 1, Arrival: time.Second, Deadline: time.Second + 50*ms, Images: 1, Pin: sched.AnySubnet, Done: time.Second + 60*ms}},
		}
		c.change(m, &m.Records[0])
		got := models(t, &serve.Flight{Models: []serve.FlightModel{*m}})[0]
		if v := got.Explain(got.Missed()[0]); v.Cause != c.want {
			t.Errorf("%s: %s: %s; want %s", name, v.Cause, v.Text, c.want)
		}
	}
}

// random returns requests in bursts, with all that they may ask for.
func random(r *rand.Rand) (all []arrival) {
	at := time.Duration(0)
	for range 20 + r.IntN(100) {
		if r.IntN(12) == 0 {
			at += time.Duration(r.IntN(20_000)) * time.Microsecond
		}
		a := arrival{at, time.Duration(3_000+r.IntN(60_000)) * time.Microsecond, 1 + r.IntN(8), "", sched.LatePolicy(r.IntN(2))}
		if r.IntN(10) == 0 {
			a.subnet = "large"
		}
		all = append(all, a)
	}
	return all
}

// Where the load is said to be above capacity, no policy meets all deadlines. The
// replay of the policy that ran, in virtual time, is what was recorded.
func TestReplay(t *testing.T) {
	loaded := 0
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			requests := random(rand.New(rand.NewPCG(seed, 1)))
			f := fly(t, serve.Options{Policy: "slackfit"}, requests, executor{Profile: profile(t)}, executor{Profile: profile(t)})
			m := models(t, f)[0]
			recorded := m.Recorded()
			again, err := m.Replay("slackfit")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(recorded, again, cmpopts.IgnoreUnexported(flight.Replay{}), cmpopts.EquateApprox(0, 1e-9)); diff != "" {
				t.Errorf("seed %d: replay (-recorded +replayed):\n%s", seed, diff)
			}
			load := false
			for _, r := range m.Missed() {
				if recorded.MetRequest(r.ID) {
					t.Errorf("seed %d: request %d was missed and met", seed, r.ID)
				}
				load = load || m.Explain(r).Cause == flight.Load
			}
			if !load {
				return
			}
			loaded++
			for _, policy := range []string{"weft", "slackfit", "maxbatch", "fixed:small"} {
				if p, err := m.Replay(policy); err != nil || p.Met == p.Requests {
					t.Errorf("seed %d: load above capacity, and %s meets all %d: %v", seed, policy, p.Met, err)
				}
			}
		})
	}
	if loaded == 0 {
		t.Error("no flight was above capacity")
	}
}

// What the large subnet alone could not do in time, weft can.
func TestReplayOfAnotherPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := models(t, fly(t, serve.Options{Policy: "fixed:large"}, burst(30, 40*ms), executor{Profile: profile(t)}))[0]
		missed := m.Missed()
		p, err := m.Replay("weft")
		if err != nil || len(missed) == 0 {
			t.Fatalf("%v, %d missed", err, len(missed))
		}
		for _, r := range missed {
			if !p.MetRequest(r.ID) {
				t.Errorf("weft does not meet request %d", r.ID)
			}
		}
		if p.Met != 30 || p.Requests != 30 || p.Accuracy < 0.7 || m.Recorded().Met >= 30 {
			t.Errorf("replayed: %+v", p)
		}
		if _, err := m.Replay("fortune"); err == nil {
			t.Error("a policy is replayed that nobody knows")
		}
	})
}

// Models share the worker: a batch of one keeps the other's request waiting.
func TestAnotherModelsBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var both []serve.Model
		for _, name := range []string{"a", "b"} {
			both = append(both, serve.Model{Name: name, H: 1, W: 1, C: 1, Classes: 2, Profile: profile(t), Executors: []serve.Executor{executor{Profile: profile(t)}}})
		}
		s, err := serve.New(both, serve.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for !s.Ready() {
			time.Sleep(time.Microsecond)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _ = s.Router("b").Infer(t.Context(), &serve.Request{N: 8, Images: make([]float32, 8), Subnet: "large"})
		})
		time.Sleep(ms)
		_, _ = s.Router("a").Infer(t.Context(), &serve.Request{N: 1, Images: make([]float32, 1), Timeout: 10 * ms})
		wg.Wait()
		f := s.Flight(time.Minute)
		if err := s.Shutdown(context.Background()); err != nil {
			t.Fatal(err)
		}
		all := models(t, f)
		a, b := all[0], all[1]
		if len(a.Missed()) != 1 || len(b.Missed()) != 0 {
			t.Fatalf("%d and %d missed, want 1 and 0", len(a.Missed()), len(b.Missed()))
		}
		r := a.Missed()[0]
		if v := a.Explain(r); v.Cause != flight.LongBatch || !strings.Contains(v.Text, "8 images in large") {
			t.Errorf("%s: %s", v.Cause, v.Text)
		}
		during := a.During(r.Arrival, r.Deadline)
		if len(during) != 1 || during[0].Model != b || len(a.Batches) != 0 {
			t.Errorf("batches meanwhile: %+v; its own model's: %+v", during, a.Batches)
		}
	})
}

// The picture is XML with a mark for each batch and miss of the time that it shows.
func TestSVG(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fly(t, serve.Options{Policy: "fixed:large"}, burst(200, 50*ms), executor{Profile: profile(t)}, executor{Profile: profile(t)})
		f.Models[0].Name = "<&>"
		m := models(t, f)[0]
		missed := m.Missed()
		for _, c := range []struct {
			from, to        time.Duration
			focus           *serve.Record
			batches, misses int
		}{
			{f.From, f.To + 10*ms, nil, len(m.Batches), len(missed)}, // they are given up before their deadlines
			{0, m.Batches[0].Computed, missed[0], 2, 0},              // one on each worker
			{f.To + time.Second, f.To + time.Second, nil, 0, 0},
		} {
			picture := m.SVG(c.from, c.to, c.focus)
			count := map[string]int{}
			titles := 0
			for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
				token, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatalf("%v in\n%s", err, picture)
				}
				if e, ok := token.(xml.StartElement); ok {
					for _, a := range e.Attr {
						if a.Name.Local == "class" {
							count[a.Value]++
						}
						if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
							t.Errorf("%s=%q", a.Name.Local, a.Value)
						}
					}
				}
				if text, ok := token.(xml.CharData); ok && strings.HasPrefix(string(text), "<&> under fixed:large") {
					titles++
				}
			}
			if got := count["plain"] + count["missed"]; got != c.batches || count["miss"] != c.misses || titles != 1 {
				t.Errorf("%v to %v: %d batches, %d misses, %d titles; want %d, %d and 1", c.from, c.to, got, count["miss"], titles, c.batches, c.misses)
			}
			if want := map[bool]int{true: 1}[c.focus != nil]; count["span"] != want {
				t.Errorf("%d marks of the request, want %d", count["span"], want)
			}
		}
	})
}
