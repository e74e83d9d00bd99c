package dash

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// call sends a request and returns the answer's status and JSON.
func call(t *testing.T, method, url, body string, into any, header ...string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if into != nil {
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatalf("%s %s: %s: %v", method, url, resp.Status, err)
		}
	}
	return resp.StatusCode
}

// A burst runs alone, shows in the ticks, and accounts for all of its requests
// as the server's statistics do.
func TestBurst(t *testing.T) {
	s := newServer(t, 1, "m")
	p, url, _ := newPage(t, s, Options{})
	var b Burst
	if status := call(t, "POST", url+"/dash/burst", `{"model":"m","rate":400,"seconds":0.5,"slo_ms":40}`, &b); status != http.StatusAccepted || !b.Running || b.Planned < 100 || b.Shape != "steady" {
		t.Fatalf("%d %+v", status, b)
	}
	var refusal struct{ Error string }
	if status := call(t, "POST", url+"/dash/burst", `{"model":"m","rate":1}`, &refusal); status != http.StatusConflict || !strings.Contains(refusal.Error, "stop it") {
		t.Errorf("a second one: %d %+v", status, refusal)
	}
	v := look(t, url)
	seen := false
	for p.burst.status().Running {
		var tick Tick
		v.next(t, &tick)
		seen = seen || tick.Burst != nil && tick.Burst.Running && tick.Burst.Sent > 0
	}
	if !seen {
		t.Error("the ticks don't show the burst")
	}
	b = *p.burst.status()
	if b.Error != "" || b.Sent != b.Planned || b.Met+b.Late+b.Refused != b.Sent || b.Failed != 0 || b.Accuracy < 0.8 || b.Accuracy > 0.9 || b.LatencyMS.P50 < 0.5 {
		t.Errorf("%+v", b)
	}
	if st := s.Router("m").Statistics(); int(st.Success.Count) != b.Met+b.Late || int(st.Fail.Count) != b.Refused {
		t.Errorf("%+v, the server's statistics have %d and %d", b, st.Success.Count, st.Fail.Count)
	}
}

func TestBurstIsStopped(t *testing.T) {
	s := newServer(t, 1, "m")
	p, url, stop := newPage(t, s, Options{})
	order := `{"model":"m","shape":"ramp","rate":200,"seconds":60,"slo_ms":40}`
	if status := call(t, "POST", url+"/dash/burst", order, nil); status != http.StatusAccepted {
		t.Fatal(status)
	}
	if status := call(t, "DELETE", url+"/dash/burst", "", nil); status != http.StatusNoContent {
		t.Error(status)
	}
	for start := time.Now(); p.burst.status().Running; time.Sleep(ms) {
		if time.Since(start) > 5*time.Second {
			t.Fatal("it goes on")
		}
	}
	if b := p.burst.status(); b.Error != "stopped" {
		t.Errorf("%+v", b)
	}
	// The page's end stops a burst too, and no other begins.
	if status := call(t, "POST", url+"/dash/burst", order, nil); status != http.StatusAccepted {
		t.Fatal(status)
	}
	stop()
	if p.burst.status().Running {
		t.Error("it outlives the page")
	}
}

func TestBurstIsRefused(t *testing.T) {
	_, url, _ := newPage(t, newServer(t, 1, "m"), Options{})
	ok := `{"model":"m","rate":10,"seconds":0.1}`
	for _, c := range []struct {
		name, body string
		header     []string
		status     int
		says       string
	}{
		{"another site's page", ok, []string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"a name made to lead here", ok, []string{"Host", "evil.example"}, 403, "own machine"},
		{"a proxy's client", ok, []string{"X-Forwarded-For", "203.0.113.9"}, 403, "own machine"},
		{"no such model", `{"model":"x","rate":10}`, nil, 404, "unknown"},
		{"no JSON", `rate=10`, nil, 400, "form"},
		{"a field too many", `{"model":"m","trace":"file:/etc/passwd"}`, nil, 400, "trace"},
		{"no rate", `{"model":"m"}`, nil, 400, "rate"},
		{"too many requests", `{"model":"m","rate":1e5,"seconds":60}`, nil, 400, "at most 5000"},
		{"too long", `{"model":"m","rate":1,"seconds":1e9}`, nil, 400, "seconds"},
		{"shape", `{"model":"m","rate":1,"shape":"round"}`, nil, 400, "steady or ramp"},
		{"cv2", `{"model":"m","rate":1,"cv2":-1}`, nil, 400, "cv2"},
		{"slo", `{"model":"m","rate":1,"slo_ms":1e6}`, nil, 400, "slo_ms"},
		{"long body", `{"model":"` + strings.Repeat("m", maxOrderBytes) + `"}`, nil, 400, "too large"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), "POST", url+"/dash/burst", strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(c.header); i += 2 {
			if req.Header.Set(c.header[i], c.header[i+1]); c.header[i] == "Host" {
				req.Host = c.header[i+1]
			}
		}
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		if text := readAll(t, resp); resp.StatusCode != c.status || !strings.Contains(text, c.says) {
			t.Errorf("%s: %s %s, want %d with %q", c.name, resp.Status, text, c.status, c.says)
		}
	}
}

// FuzzOrder holds orders to their limits, whatever they say.
func FuzzOrder(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","rate":10,"seconds":0.1}`, `{"shape":"ramp","rate":3e5,"seconds":1,"cv2":0,"slo_ms":0.1}`,
		`{"rate":1e308,"seconds":1e-308}`, `{"rate":1,"seconds":120,"cv2":100}`, `{"rate":-1}`, `[]`, `{"seed":18446744073709551615}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		o := Order{Shape: "steady", CV2: 1, Seconds: 10, SLOMS: 50, Seed: 1}
		if json.Unmarshal([]byte(text), &o) != nil || o.validate() != nil {
			return
		}
		arrivals := o.arrivals()
		// Gaps of CV² 100 are rare and long: their number scatters.
		if len(arrivals) > 4*maxOrdered {
			t.Fatalf("%s gives %d requests", text, len(arrivals))
		}
		for i, at := range arrivals {
			if at < 0 || at > maxBurst || i > 0 && at < arrivals[i-1] {
				t.Fatalf("%s: arrival %d at %v", text, i, at)
			}
		}
	})
}

// The story of a request agrees with what the server answered, and with its mates'.
func TestStory(t *testing.T) {
	s := newServer(t, 1, "m", "other")
	_, url, _ := newPage(t, s, Options{})
	infer(s.Router("other"), 1, time.Second)
	infer(s.Router("m"), 200, 30*ms)
	infer(s.Router("m"), 20, 300*ms)
	var story Story
	if status := call(t, "GET", url+"/dash/request?model=m&pick=slowest", "", &story); status != 200 {
		t.Fatal(status)
	}
	if story.Subnet < 0 || story.Worker != 0 || story.Attempts != 1 || story.BatchImages != story.Mates+1 || (story.ComputedMS <= story.DeadlineMS) != (story.Outcome == "met") {
		t.Errorf("%+v", story)
	}
	times := []float64{story.ArrivalMS, story.DispatchedMS, story.BeganMS, story.StartedMS, story.ComputedMS, story.DoneMS}
	for i := 1; i < len(times); i++ {
		if times[i] < times[i-1] {
			t.Errorf("times %v go back", times)
		}
	}
	own, before := 0, -1.
	for _, b := range story.Batches {
		if b.Own {
			own++
			if b.FromMS != story.DispatchedMS || b.ToMS != story.DoneMS || b.Images != story.BatchImages {
				t.Errorf("its batch is %+v", b)
			}
		}
		if b.ToMS < story.ArrivalMS || b.FromMS > story.DoneMS {
			t.Errorf("%+v ran at another time", b)
		}
		if b.FromMS < before {
			t.Errorf("a worker runs two batches at once, or they are out of order: %+v", story.Batches)
		}
		before = b.ToMS
	}
	if own != 1 {
		t.Errorf("%d batches are its own", own)
	}
	var same, missed Story
	if status := call(t, "GET", url+"/dash/request?model=m&id="+story.ID, "", &same); status != 200 || same.DoneMS != story.DoneMS {
		t.Errorf("%d %+v", status, same)
	}
	if status := call(t, "GET", url+"/dash/request?model=m&pick=missed", "", &missed); status != 200 || missed.Outcome == "met" || missed.Subnet < 0 && missed.DispatchedMS != 0 || missed.Batches == nil {
		t.Errorf("%d %+v", status, missed)
	}
	for query, want := range map[string]int{
		"model=x&pick=latest": 404, "model=m": 400, "model=m&id=x": 400, "model=m&id=1": 404, "model=m&pick=first": 400, "model=other&pick=missed": 404,
	} {
		var refusal struct{ Error string }
		if status := call(t, "GET", url+"/dash/request?"+query, "", &refusal); status != want || refusal.Error == "" {
			t.Errorf("%s: %d %+v, want %d", query, status, refusal, want)
		}
	}
}
