package oip_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"weft/oip"
	"weft/sched"
	"weft/serve"
)

// linear gives class j of an image the sum of v[k]*(1+j*k) over its values.
type linear struct {
	size, classes int
	before        func() // called first, may be nil
}

func (l linear) Run(_ int, images []float32, n int, logits []float32) error {
	if l.before != nil {
		l.before()
	}
	for i := range n {
		for j := range l.classes {
			sum := float32(0)
			for k, v := range images[l.size*i:][:l.size] {
				sum += v * float32(1+j*k)
			}
			logits[l.classes*i+j] = sum
		}
	}
	return nil
}

func profile(t testing.TB, latency time.Duration) *sched.Profile {
	t.Helper()
	small := sched.Subnet{Name: "small", Accuracy: 0.75}
	large := sched.Subnet{Name: "large", Accuracy: 0.875}
	for b := range 8 {
		small.Latency = append(small.Latency, latency+time.Duration(b)*latency/10)
		large.Latency = append(large.Latency, 2*latency+time.Duration(b)*latency/5)
	}
	p, err := sched.NewProfile([]sched.Subnet{small, large}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// toy has images of 2x2x1 and 3 classes.
func toy(t testing.TB, execs ...serve.Executor) serve.Model {
	return serve.Model{
		Name: "toy", Version: "3", H: 2, W: 2, C: 1, Classes: 3, ClassNames: []string{"cat", "dog", "hen"},
		Profile: profile(t, 100*time.Microsecond), Executors: execs,
	}
}

// digits is a model of the usual small size: images of 28x28x1, 10 classes.
func digits(t testing.TB, execs ...serve.Executor) serve.Model {
	return serve.Model{Name: "toy", H: 28, W: 28, C: 1, Classes: 10, Profile: profile(t, 100*time.Microsecond), Executors: execs}
}

func newHandler(t testing.TB, opt serve.Options, models ...serve.Model) (*oip.Handler, *serve.Server) {
	t.Helper()
	s := newServer(t, opt, models...)
	return oip.NewHandler(s, oip.Options{Version: "1.2.3"}), s
}

// newServer serves the models. Their workers are up.
func newServer(t testing.TB, opt serve.Options, models ...serve.Model) *serve.Server {
	t.Helper()
	if opt.SLO == 0 {
		opt.SLO = 10 * time.Second
	}
	opt.Policy = "slackfit"
	s, err := serve.New(models, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		if err := s.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	for !s.Ready() {
		time.Sleep(time.Microsecond)
	}
	return s
}

// do sends a request straight to the handler, as from its own machine. headers are "Name: value".
func do(h http.Handler, method, path string, body []byte, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, bytes.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:1", "localhost"
	for _, hd := range headers {
		name, value, _ := strings.Cut(hd, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

const inferPath = "/v2/models/toy/infer"

// joined puts a JSON header and binary data together, and says how long the header is.
func joined(header string, data ...byte) (body []byte, lengthHeader string) {
	return append([]byte(header), data...), "Inference-Header-Content-Length: " + strconv.Itoa(len(header))
}

func fp32(values ...float32) (b []byte) {
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// inferResponse is the protocol's answer, read by encoding/json.
type inferResponse struct {
	ModelName    string         `json:"model_name"`
	ModelVersion string         `json:"model_version"`
	ID           *string        `json:"id"`
	Parameters   map[string]any `json:"parameters"`
	Outputs      []struct {
		Name       string         `json:"name"`
		Datatype   string         `json:"datatype"`
		Shape      []int          `json:"shape"`
		Parameters map[string]any `json:"parameters"`
		Data       []float64      `json:"data"`
	} `json:"outputs"`
}

// parse reads the JSON of a response strictly and returns the binary rest.
func parse(t testing.TB, w *httptest.ResponseRecorder) (resp inferResponse, rest []byte) {
	t.Helper()
	body := w.Body.Bytes()
	if v := w.Header().Get("Inference-Header-Content-Length"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n > len(body) {
			t.Fatalf("Inference-Header-Content-Length %q of a body of %d bytes", v, len(body))
		}
		body, rest = body[:n], body[n:]
		if ct := w.Header().Get("Content-Type"); ct != "application/octet-stream" {
			t.Errorf("binary response of type %s", ct)
		}
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&resp); err != nil {
		t.Fatalf("status %d, %v in %s", w.Code, err, body)
	}
	return resp, rest
}

// errorText returns the sentence of an error response.
func errorText(t testing.TB, w *httptest.ResponseRecorder) string {
	t.Helper()
	var e map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || len(e) != 1 || e["error"] == "" {
		t.Errorf("status %d with body %q, want {\"error\": sentence}", w.Code, w.Body)
	}
	return e["error"]
}
