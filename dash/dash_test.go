package dash

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/sched"
	"weft/serve"
)

const ms = time.Millisecond

// testProfile has a small subnet and a large one that takes ten times as long.
func testProfile(t testing.TB) *sched.Profile {
	t.Helper()
	list := func(one time.Duration) (l []time.Duration) {
		for b := 1; b <= 8; b++ {
			l = append(l, one*time.Duration(b+1)/2)
		}
		return l
	}
	p, err := sched.NewProfile([]sched.Subnet{
		{Name: "small", Accuracy: 0.8, Latency: list(ms)}, {Name: "large", Accuracy: 0.9, Latency: list(10 * ms)},
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// newServer serves models of that name with so many workers that sleep.
func newServer(t testing.TB, workers int, names ...string) *serve.Server {
	t.Helper()
	p := testProfile(t)
	var models []serve.Model
	for _, name := range names {
		m := serve.Model{Name: name, H: 2, W: 2, C: 1, Classes: 3, Profile: p}
		for range workers {
			m.Executors = append(m.Executors, &serve.SleepExecutor{Profile: p, Classes: 3})
		}
		models = append(models, m)
	}
	s, err := serve.New(models, serve.Options{Sched: sched.Options{Margin: ms}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	for !s.Ready() {
		time.Sleep(ms)
	}
	return s
}

// infer sends n requests at once and waits for them.
func infer(r *serve.Router, n int, timeout time.Duration) (ok int) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for range n {
		wg.Go(func() {
			_, err := r.Infer(context.Background(), &serve.Request{N: 1, Pixels: make([]byte, 4), Timeout: timeout})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				ok++
			}
		})
	}
	wg.Wait()
	return ok
}

// total adds up ticks.
func total(ticks []*Tick, model string) (l Load) {
	for _, t := range ticks {
		i := slices.IndexFunc(t.Models, func(l Load) bool { return l.Name == model })
		if i < 0 {
			continue
		}
		m := t.Models[i]
		l.Arrived += m.Arrived
		l.Met += m.Met
		l.Late += m.Late
		l.Refused += m.Refused
		l.Failed += m.Failed
		l.Withdrawn += m.Withdrawn
		for s, n := range m.Subnets {
			if l.Subnets == nil {
				l.Subnets = make([]int, len(m.Subnets))
			}
			l.Subnets[s] += n
		}
		for b, n := range m.Batches {
			l.Full += n * (b + 1) // images, by batches
		}
	}
	return l
}

// The ticks account for every request exactly once, and agree with the
// server's own statistics.
func TestTicksAccountForEveryRequest(t *testing.T) {
	s := newServer(t, 2, "a", "b")
	infer(s.Router("a"), 5, time.Second) // before anybody looked
	smp := newSampler(s)
	first, models := smp.tick()
	if len(models) != 2 || models[0].Name != "a" || len(models[1].Subnets) != 2 {
		t.Fatalf("models %+v", models)
	}
	ticks := []*Tick{first}
	done := make(chan int)
	go func() { done <- infer(s.Router("a"), 200, 60*ms) }()
	infer(s.Router("b"), 7, time.Second)
	for i := range 30 {
		time.Sleep(5 * ms)
		tick, changed := smp.tick()
		if changed != nil {
			t.Fatalf("tick %d: models changed", i)
		}
		ticks = append(ticks, tick)
	}
	ok := <-done
	last, _ := smp.tick()
	ticks = append(ticks, last)
	a, b := total(ticks, "a"), total(ticks, "b")
	if a.Arrived != 200 || a.Met+a.Late != ok || a.Met+a.Late+a.Refused != 200 || a.Failed+a.Withdrawn != 0 {
		t.Errorf("a: arrived %d, met %d, late %d, refused %d; 200 were sent and %d answered", a.Arrived, a.Met, a.Late, a.Refused, ok)
	}
	if a.Refused == 0 {
		t.Error("a: the test wants some to be refused")
	}
	if b.Arrived != 7 || b.Met != 7 {
		t.Errorf("b: %+v", b)
	}
	st := s.Router("a").Statistics()
	if got := a.Subnets[0] + a.Subnets[1]; uint64(got) != st.Inferences-5 || a.Full != got {
		t.Errorf("images by subnet %v, by batches %d; the statistics have %d", a.Subnets, a.Full, st.Inferences-5)
	}
	if last.Models[0].Waiting != 0 || last.Models[0].BacklogMS != 0 {
		t.Errorf("the queue is empty, and the last tick says %+v", last.Models[0])
	}
}

// Busy shares are those of the time that batches took, also of batches that
// take many ticks.
func TestWorkersAreBusyWhileTheyRun(t *testing.T) {
	p, err := sched.NewProfile([]sched.Subnet{{Name: "slow", Accuracy: 0.5, Latency: []time.Duration{200 * ms}}}, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := serve.New([]serve.Model{{
		Name: "m", H: 2, W: 2, C: 1, Classes: 3, Profile: p,
		Executors: []serve.Executor{&serve.SleepExecutor{Profile: p, Classes: 3}},
	}}, serve.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Shutdown(context.Background()) })
	for !s.Ready() {
		time.Sleep(ms)
	}
	smp := newSampler(s)
	smp.tick()
	done := make(chan time.Duration, 1)
	go func() {
		start := time.Now()
		infer(s.Router("m"), 1, time.Minute)
		done <- time.Since(start)
	}()
	busy, full, took := time.Duration(0), 0, time.Duration(0)
	for after := 0; after < 2; {
		time.Sleep(20 * ms)
		select {
		case took = <-done:
		default:
		}
		if took > 0 {
			after++
		}
		tick, _ := smp.tick()
		w := tick.Workers[0]
		busy += time.Duration(w.Busy * tick.DtMS * float64(ms))
		if w.Busy == 1 {
			full++
		}
		if busy > 0 && (w.Model != "m" || w.Subnet != 0) {
			t.Fatalf("worker %+v", w)
		}
	}
	if busy < took*9/10 || busy > took*11/10 {
		t.Errorf("the worker was busy for %v, one request of %v ran", busy, took)
	}
	if full == 0 {
		t.Error("in no tick is the worker busy all the time")
	}
}

// viewer reads a page's events, line by line.
type viewer struct {
	resp *http.Response
	in   *bufio.Reader
}

func look(t *testing.T, url string) *viewer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/dash/events", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return &viewer{resp, bufio.NewReader(resp.Body)}
}

// next reads an event into v and returns its name, "" at the end.
func (v *viewer) next(t *testing.T, into any) string {
	t.Helper()
	name := ""
	for {
		line, err := v.in.ReadString('\n')
		if err != nil {
			return ""
		}
		line = strings.TrimSuffix(line, "\n")
		if n, ok := strings.CutPrefix(line, "event: "); ok {
			name = n
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(data), into); err != nil && name != eventModels {
				t.Fatalf("%s: %v in %s", name, err, data)
			}
		}
		if line == "" {
			return name
		}
	}
}

// newPage serves a page that runs, and what comes after it.
func newPage(t *testing.T, s *serve.Server, opt Options) (p *Page, url string, stop func()) {
	t.Helper()
	if opt.Interval == 0 {
		opt.Interval = 20 * ms
	}
	p = New(s, opt)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	srv := httptest.NewServer(p.Handler(http.NotFoundHandler()))
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		srv.Close()
	})
	t.Cleanup(stop)
	return p, srv.URL, stop
}

func TestViewers(t *testing.T) {
	s := newServer(t, 1, "m")
	_, url, stop := newPage(t, s, Options{Version: "v9", MaxViewers: 2})
	early := look(t, url)
	var hello Hello
	if name := early.next(t, &hello); name != eventHello || hello.Version != "v9" || hello.TickMS != 20 || hello.Window != 3000 {
		t.Fatalf("%s %+v", name, hello)
	}
	infer(s.Router("m"), 3, time.Second)
	met, ticks := 0, 0
	for met < 3 {
		var tick Tick
		switch early.next(t, &tick) {
		case eventTick:
			ticks++
			met += tick.Models[0].Met
		case "":
			t.Fatal("the stream ended")
		}
	}
	late := look(t, url)
	late.next(t, &hello)
	if hello.Missed < 1+ticks {
		t.Errorf("who comes late missed %d events; there were the models and %d ticks", hello.Missed, ticks)
	}
	met = 0
	for range hello.Missed {
		var tick Tick
		if late.next(t, &tick) == eventTick {
			met += tick.Models[0].Met
		}
	}
	if met != 3 {
		t.Errorf("the history has %d requests, want 3", met)
	}
	if third := look(t, url); third.resp.StatusCode != http.StatusServiceUnavailable || third.resp.Header.Get("Retry-After") == "" {
		t.Errorf("a third viewer got %s", third.resp.Status)
	}
	stop()
	var tick Tick
	for late.next(t, &tick) != "" {
	}
}

// A model that is replaced or unloaded shows.
func TestModelsChange(t *testing.T) {
	s := newServer(t, 1, "a", "b")
	smp := newSampler(s)
	if _, models := smp.tick(); len(models) != 2 {
		t.Fatalf("%+v", models)
	}
	if _, models := smp.tick(); models != nil {
		t.Fatalf("%+v", models)
	}
	if err := s.Unload("a"); err != nil {
		t.Fatal(err)
	}
	tick, models := smp.tick()
	if len(models) != 1 || models[0].Name != "b" || len(tick.Models) != 1 {
		t.Fatalf("%+v", models)
	}
	if err := s.Unload("b"); err != nil {
		t.Fatal(err)
	}
	if tick, models := smp.tick(); models == nil || len(models) != 0 || len(tick.Models) != 0 {
		t.Fatalf("%+v", models)
	}
	if _, models := smp.tick(); models != nil {
		t.Fatalf("%+v", models)
	}
}

// A viewer that does not read is sent away; the others go on.
func TestSlowViewer(t *testing.T) {
	h := hub{most: 2, ring: make([][]byte, 0, 4), viewers: make(map[chan []byte]bool)}
	slow, _ := h.join()
	quick, _ := h.join()
	for i := range backlog + 2 {
		if err := h.publish(&Tick{AtMS: float64(i)}, nil); err != nil {
			t.Fatal(err)
		}
		if data := <-quick; !strings.Contains(string(data), `"at_ms":`) {
			t.Fatalf("%s", data)
		}
	}
	n := 0
	for range slow {
		n++
	}
	if n != backlog {
		t.Errorf("the slow viewer got %d events, want %d", n, backlog)
	}
	events, missed := h.join()
	if events == nil || len(missed) != 4 || !strings.Contains(string(missed[0]), `"at_ms":14,`) || !strings.Contains(string(missed[3]), `"at_ms":17,`) {
		t.Errorf("it comes back to %q", missed)
	}
}

// A server that drains sends its viewers away, so that it can stop.
func TestDrainingEndsTheStream(t *testing.T) {
	s := newServer(t, 1, "m")
	p := New(s, Options{Interval: 10 * ms})
	ended := make(chan error, 1)
	go func() { ended <- p.Run(t.Context()) }()
	srv := httptest.NewServer(p.Handler(http.NotFoundHandler()))
	defer srv.Close()
	v := look(t, srv.URL)
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	var tick Tick
	for v.next(t, &tick) != "" {
	}
	if !tick.Draining {
		t.Error("the last tick does not say that the server drains")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func readAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The page's files are there, refer to nothing elsewhere, and may load nothing
// from elsewhere; the rest of the server is reached as before.
func TestAssets(t *testing.T) {
	srv := httptest.NewServer(New(newServer(t, 1, "m"), Options{}).Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusTeapot)
	})))
	defer srv.Close()
	files, err := assets.ReadDir("assets")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		resp, err := http.Get(srv.URL + "/dash/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(readAll(t, resp), "http://www.w3.org/2000/svg", "")
		if resp.StatusCode != 200 || strings.Contains(text, "http:") || strings.Contains(text, "https:") || strings.Contains(text, `="//`) {
			t.Errorf("%s: %s, or it refers to another place", f.Name(), resp.Status)
		}
		if csp := resp.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; script-src 'self';") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", f.Name(), csp)
		}
		again, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/dash/"+f.Name(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		again.Header.Set("If-None-Match", resp.Header.Get("ETag"))
		if resp, err = http.DefaultClient.Do(again); err != nil || resp.StatusCode != http.StatusNotModified {
			t.Errorf("%s: a second time %v %v", f.Name(), resp.Status, err)
		}
		resp.Body.Close()
	}
	for path, want := range map[string]int{
		"/": 200, "/dash": 200, "/dash/": 200, "/dash/none.js": 404, "/dash/../dash.go": 418, "/dash/%2e%2e/dash.go": 404,
		"/v2": 418, "/dashboard": 418, "/metrics": 418,
	} {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if text := readAll(t, resp); resp.StatusCode != want || want == 200 && !strings.Contains(text, "<title>weft</title>") {
			t.Errorf("%s: %s", path, resp.Status)
		}
	}
}

// Who may not look on gets nothing, and who may not change anything no burst.
func TestRights(t *testing.T) {
	guard := func(header string) func(http.Handler) http.Handler {
		return func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get(header) == "" {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				next.ServeHTTP(w, r)
			})
		}
	}
	_, url, _ := newPage(t, newServer(t, 1, "m"), Options{Observe: guard("A"), Change: guard("B")})
	for _, path := range []string{"/dash/", "/dash/page.js", "/dash/events", "/dash/request?model=m&pick=latest"} {
		if status := call(t, "GET", url+path, "", nil); status != 401 {
			t.Errorf("%s: %d", path, status)
		}
	}
	order := `{"model":"m","rate":10,"seconds":0.1}`
	for _, c := range []struct {
		header []string
		want   int
	}{{nil, 401}, {[]string{"A", "1"}, 401}, {[]string{"B", "1"}, 401}, {[]string{"A", "1", "B", "1"}, 202}} {
		if status := call(t, "POST", url+"/dash/burst", order, nil, c.header...); status != c.want {
			t.Errorf("%v: %d, want %d", c.header, status, c.want)
		}
	}
}

// Watch gives what the page does, and says what is wrong with a server.
func TestWatch(t *testing.T) {
	s := newServer(t, 1, "m")
	_, url, stop := newPage(t, s, Options{})
	infer(s.Router("m"), 3, time.Second)
	var hello *Hello
	var models []Model
	met := 0
	enough := errors.New("enough")
	err := Watch(t.Context(), http.DefaultClient, url+"/", "", func(e Event) error {
		switch {
		case e.Hello != nil:
			hello = e.Hello
		case e.Models != nil:
			models = e.Models
		case e.Tick != nil:
			if met += e.Tick.Models[0].Met; met == 3 {
				return enough
			}
		}
		return nil
	})
	if !errors.Is(err, enough) || hello == nil || hello.TickMS != 20 || len(models) != 1 || len(models[0].Subnets) != 2 {
		t.Errorf("%v, %+v, %+v", err, hello, models)
	}
	time.AfterFunc(50*ms, stop)
	if err := Watch(t.Context(), http.DefaultClient, url, "", func(Event) error { return nil }); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("when the server stops: %v", err)
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		says   string
	}{
		"no page":     {http.NotFound, ErrNoPage.Error()},
		"other page":  {func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") }, ErrNoPage.Error()},
		"key missing": {func(w http.ResponseWriter, _ *http.Request) { refuse(w, 401, "send a key") }, "send a key"},
		"broken":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "500"},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "event: tick\ndata: {\n\n")
		}, "read the event tick"},
	} {
		srv := httptest.NewServer(c.answer)
		err := Watch(t.Context(), http.DefaultClient, srv.URL, "k", func(Event) error { return nil })
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
		srv.Close()
	}
}

// Over TLS browsers speak HTTP/2, and servers have timeouts, which are not those of the stream.
func TestStreamOutlivesTimeouts(t *testing.T) {
	t.Parallel() // it waits
	for _, two := range []bool{false, true} {
		p := New(newServer(t, 1, "m"), Options{Interval: 20 * ms})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { p.Run(ctx) })
		srv := httptest.NewUnstartedServer(p.Handler(nil))
		srv.Config.ReadTimeout, srv.Config.WriteTimeout = 300*ms, 300*ms
		srv.EnableHTTP2 = two
		srv.StartTLS()
		start := time.Now()
		err := Watch(t.Context(), srv.Client(), srv.URL, "", func(Event) error {
			if time.Since(start) > 800*ms {
				return errors.ErrUnsupported
			}
			return nil
		})
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("HTTP/2 %v: after %v: %v", two, time.Since(start), err)
		}
		cancel()
		all.Wait()
		srv.Close()
	}
}
