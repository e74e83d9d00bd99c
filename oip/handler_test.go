package oip_test

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weft/sched"
	"weft/serve"
)

// The image 0, 1, 1, 0 has logits 2, 5, 8 and thus label 2.
const (
	imageJSON  = `{"name":"images","shape":[1,2,2,1],"datatype":"FP32","data":[0,1,1,0]}`
	imageUINT8 = `{"name":"images","shape":[1,2,2,1],"datatype":"UINT8","parameters":{"binary_data_size":4}}`
)

func newToy(t testing.TB) http.Handler {
	h, _ := newHandler(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	return h
}

func TestDescriptions(t *testing.T) {
	h := newToy(t)
	metadata := `{"name":"toy","versions":["3"],"platform":"weft_supernet",` +
		`"inputs":[{"name":"images","datatype":"FP32","shape":[-1,2,2,1]}],` +
		`"outputs":[{"name":"logits","datatype":"FP32","shape":[-1,3]},{"name":"label","datatype":"INT64","shape":[-1]}],` +
		`"properties":{"classes":"cat,dog,hen","max_batch":"8","policy":"slackfit","subnets":"2"}}`
	server := `{"name":"weft","version":"1.2.3","extensions":["binary_tensor_data","classification","model_configuration","model_repository","schedule_policy","statistics"]}`
	for path, want := range map[string]string{
		"/v2":                             server,
		"/v2/":                            server,
		"/v2/health/live":                 `{"live":true}`,
		"/v2/health/ready":                `{"live":true,"ready":true}`,
		"/v2/models":                      `{"models":["toy"]}`,
		"/v2/models/toy":                  metadata,
		"/v2/models/toy/":                 metadata,
		"/v2/models/toy/versions/3":       metadata,
		"/v2/models/toy/ready":            `{"name":"toy","ready":true}`,
		"/v2/models/toy/versions/3/ready": `{"name":"toy","ready":true}`,
		"/v2/models/toy/subnets":          `{"subnets":[{"name":"small","accuracy":0.75,"latency_us":[100,110,120,130,140,150,160,170]},{"name":"large","accuracy":0.875,"latency_us":[200,220,240,260,280,300,320,340]}]}`,
	} {
		w := do(h, "GET", path, nil)
		if got := strings.TrimSpace(w.Body.String()); w.Code != 200 || got != want || w.Header().Get("Content-Type") != "application/json" {
			t.Errorf("GET %s: %d %s\nwant %s", path, w.Code, got, want)
		}
	}
}

func TestRefusedPaths(t *testing.T) {
	h := newToy(t)
	for _, c := range []struct {
		method, path string
		status       int
		text         string
	}{
		{"GET", "/", 404, "GET /v2"},
		{"GET", "/v20", 404, "GET /v2"},
		{"GET", "/v2/nothing", 404, "unknown"},
		{"GET", "/v2/health", 404, "unknown"},
		{"GET", "/v2/models/none", 404, "GET /v2/models lists"},
		{"POST", "/v2/models/none/infer", 404, "GET /v2/models lists"},
		{"GET", "/v2/models/toy/versions/1", 404, "has version 3"},
		{"POST", "/v2/models/toy/versions/33/infer", 404, "has version 3"},
		{"GET", "/v2/models/toy/versions", 404, "unknown"},
		{"GET", "/v2/models/toy/nothing", 404, "unknown"},
		{"GET", "/v2/models/toy/infer", 405, "use POST"},
		{"PUT", "/v2/models/toy/infer", 405, "use POST"},
		{"POST", "/v2/models/toy", 405, "use GET"},
		{"POST", "/v2", 405, "use GET"},
		{"DELETE", "/metrics", 405, "use GET"},
	} {
		w := do(h, c.method, c.path, nil)
		if got := errorText(t, w); w.Code != c.status || !strings.Contains(got, c.text) {
			t.Errorf("%s %s: %d %q, want %d with %q", c.method, c.path, w.Code, got, c.status, c.text)
		}
		if w.Code == 405 && w.Header().Get("Allow") == "" {
			t.Errorf("%s %s: 405 without Allow", c.method, c.path)
		}
	}
}

// Every way to send the same image gives the same answer.
func TestInputs(t *testing.T) {
	h := newToy(t)
	binaryFP32 := `{"inputs":[{"name":"images","shape":[1,2,2,1],"datatype":"FP32","parameters":{"binary_data_size":16}}],"outputs":[{"name":"logits"},{"name":"label"}]}`
	fpBody, fpLen := joined(binaryFP32, fp32(0, 1, 1, 0)...)
	u8Body, u8Len := joined(`{"outputs":[{"name":"logits"},{"name":"label"}],"inputs":[`+imageUINT8+`]}`, 0, 255, 255, 0)
	jsonBody, jsonLen := joined(`{"inputs":[` + imageJSON + `]}`)
	in := func(s string) []byte { return []byte(`{"inputs":[` + s + `]}`) }
	for name, c := range map[string]struct {
		body    []byte
		headers []string
	}{
		"flat":              {body: in(imageJSON)},
		"nested":            {body: in(`{"data":[[[[0],[1]],[[1.0],[0e5]]]],"name":"images","shape":[1,2,2,1],"datatype":"FP32"}`)},
		"UINT8 as JSON":     {body: in(`{"name":"images","shape":[1,2,2,1],"datatype":"UINT8","data":[0,255,255,0]}`)},
		"binary FP32":       {body: fpBody, headers: []string{fpLen}},
		"binary UINT8":      {body: u8Body, headers: []string{u8Len}},
		"JSON with length":  {body: jsonBody, headers: []string{jsonLen}},
		"versioned":         {body: in(imageJSON), headers: []string{"path: /v2/models/toy/versions/3/infer"}},
		"unknown members":   {body: []byte(`{"x":{"y":[null,true,"\u00e4\"",-1e-9]},"inputs":[` + imageJSON + `],"parameters":{"sequence_id":0},"outputs":null}`)},
		"white space":       {body: []byte(" {\n\"inputs\" :\t[ " + imageJSON + " ] } \r\n")},
		"escaped names":     {body: in(`{"n\u0061me":"im\u0061ges","shape":[1,2,2,1],"datatype":"FP32","data":[0,1,1,0]}`)},
		"gzip":              {body: zipped(t, "gzip", in(imageJSON)), headers: []string{"Content-Encoding: gzip"}},
		"deflate":           {body: zipped(t, "deflate", in(imageJSON)), headers: []string{"Content-Encoding: deflate"}},
		"gzip binary":       {body: zipped(t, "gzip", u8Body), headers: []string{"Content-Encoding: gzip", u8Len}},
		"identity encoding": {body: in(imageJSON), headers: []string{"Content-Encoding: identity"}},
	} {
		path := inferPath
		if name == "versioned" {
			path = "/v2/models/toy/versions/3/infer"
		}
		w := do(h, "POST", path, c.body, c.headers...)
		if w.Code != 200 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
			continue
		}
		resp, rest := parse(t, w)
		if len(resp.Outputs) != 2 || len(rest) != 0 {
			t.Errorf("%s: %s", name, w.Body)
			continue
		}
		if diff := cmp.Diff([]float64{2, 5, 8}, resp.Outputs[0].Data); diff != "" {
			t.Errorf("%s: logits (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff([]float64{2}, resp.Outputs[1].Data); diff != "" {
			t.Errorf("%s: label (-want +got):\n%s", name, diff)
		}
	}
}

func zipped(t testing.TB, how string, body []byte) []byte {
	var b bytes.Buffer
	w := io.WriteCloser(gzip.NewWriter(&b))
	if how == "deflate" {
		w = zlib.NewWriter(&b)
	}
	if _, err := w.Write(body); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestOutputs(t *testing.T) {
	h := newToy(t)
	logits, label := fp32(2, 5, 8), []byte{2, 0, 0, 0, 0, 0, 0, 0}
	for _, c := range []struct {
		outputs string // members of the request
		names   []string
		rest    []byte
	}{
		{``, []string{"logits", "label"}, nil},
		{`"outputs":[],`, []string{"logits", "label"}, nil},
		{`"outputs":[{"name":"label"}],`, []string{"label"}, nil},
		{`"outputs":[{"name":"label"},{"name":"logits"}],`, []string{"label", "logits"}, nil},
		{`"parameters":{"binary_data_output":true},`, []string{"logits", "label"}, append(logits[:12:12], label...)},
		{`"outputs":[{"name":"label","parameters":{"binary_data":true}},{"name":"logits"}],`, []string{"label", "logits"}, label},
		{`"outputs":[{"name":"label","parameters":{"binary_data":false}},{"name":"logits"}],"parameters":{"binary_data_output":true},`, []string{"label", "logits"}, logits},
		{`"parameters":{"binary_data_output":true},"outputs":[{"name":"label"},{"name":"logits"}],`, []string{"label", "logits"}, append(label[:8:8], logits...)},
	} {
		w := do(h, "POST", inferPath, []byte(`{`+c.outputs+`"inputs":[`+imageJSON+`]}`))
		if w.Code != 200 {
			t.Errorf("%s: %d %s", c.outputs, w.Code, w.Body)
			continue
		}
		resp, rest := parse(t, w)
		var names []string
		for _, o := range resp.Outputs {
			names = append(names, o.Name)
			want := map[string][]int{"logits": {1, 3}, "label": {1}}[o.Name]
			if diff := cmp.Diff(want, o.Shape); diff != "" {
				t.Errorf("%s: shape of %s (-want +got):\n%s", c.outputs, o.Name, diff)
			}
			if inJSON := o.Data != nil; inJSON == (o.Parameters["binary_data_size"] != nil) {
				t.Errorf("%s: %s is neither or both of JSON and binary", c.outputs, o.Name)
			}
		}
		if diff := cmp.Diff(c.names, names); diff != "" {
			t.Errorf("%s: outputs (-want +got):\n%s", c.outputs, diff)
		}
		if !bytes.Equal(c.rest, rest) {
			t.Errorf("%s: binary part % x, want % x", c.outputs, rest, c.rest)
		}
	}
}

func TestRawBody(t *testing.T) {
	h := newToy(t)
	want := append(fp32(2, 5, 8), 2, 0, 0, 0, 0, 0, 0, 0)
	for name, body := range map[string][]byte{"FP32": fp32(0, 1, 1, 0), "UINT8": {0, 255, 255, 0}} {
		w := do(h, "POST", inferPath, body, "Inference-Header-Content-Length: 0")
		if _, rest := parse(t, w); w.Code != 200 || !bytes.Equal(rest, want) {
			t.Errorf("%s: %d % x, want % x", name, w.Code, rest, want)
		}
	}
	w := do(h, "POST", inferPath, make([]byte, 5), "Inference-Header-Content-Length: 0")
	if text := errorText(t, w); w.Code != 400 || !strings.Contains(text, "16 bytes as FP32 or 4 as UINT8") {
		t.Errorf("5 bytes: %d %s", w.Code, text)
	}
}

func TestIDAndParametersOfTheResponse(t *testing.T) {
	h := newToy(t)
	for _, id := range []string{`"42"`, `""`, `"a\"b\u00e4 ä"`} {
		w := do(h, "POST", inferPath, []byte(`{"id":`+id+`,"inputs":[`+imageJSON+`],"parameters":{"subnet":"small","timeout":5000000}}`))
		resp, _ := parse(t, w)
		if resp.ModelName != "toy" || resp.ModelVersion != "3" || resp.ID == nil || !strings.Contains(w.Body.String(), `"id":`+id) {
			t.Errorf("id %s: %s", id, w.Body)
		}
		p := resp.Parameters
		if p["subnet"] != "small" || p["accuracy"] != 0.75 || p["batch_size"] != 1.0 || p["deadline_met"] != true || p["queue_us"] == nil || p["compute_us"] == nil || len(p) != 6 {
			t.Errorf("parameters %v", p)
		}
	}
	w := do(h, "POST", inferPath, []byte(`{"inputs":[`+imageJSON+`]}`))
	if resp, _ := parse(t, w); resp.ID != nil {
		t.Errorf("an id that nobody sent: %s", w.Body)
	}
}

func TestCompressedResponses(t *testing.T) {
	m := toy(t, linear{size: 4, classes: 300})
	m.Classes, m.ClassNames = 300, nil
	h, _ := newHandler(t, serve.Options{}, m)
	body := []byte(`{"inputs":[` + imageJSON + `]}`)
	plain := do(h, "POST", inferPath, body)
	for accept, want := range map[string]string{
		"gzip": "gzip", "deflate": "deflate", "br, deflate;q=0.5": "deflate", "br;q=1.0, GZIP;q=0.8": "gzip",
		"gzip;q=0": "", "gzip;q=0, deflate": "deflate", "": "", "br": "",
	} {
		w := do(h, "POST", inferPath, body, "Accept-Encoding: "+accept)
		if got := w.Header().Get("Content-Encoding"); got != want {
			t.Errorf("Accept-Encoding %q: got %q, want %q", accept, got, want)
			continue
		}
		got := io.Reader(w.Body)
		switch want {
		case "gzip":
			got, _ = gzip.NewReader(w.Body)
		case "deflate":
			got, _ = zlib.NewReader(w.Body)
		}
		text, err := io.ReadAll(got)
		if err != nil || !bytes.Equal(outputsOf(text), outputsOf(plain.Body.Bytes())) {
			t.Errorf("Accept-Encoding %q: %v, %.80s", accept, err, text)
		}
	}
	// A small answer stays as it is.
	if w := do(newToy(t), "POST", inferPath, body, "Accept-Encoding: gzip"); w.Header().Get("Content-Encoding") != "" {
		t.Error("a small answer is compressed")
	}
}

// outputsOf leaves out what differs from answer to answer, such as times.
func outputsOf(response []byte) []byte {
	_, outputs, _ := bytes.Cut(response, []byte(`"outputs"`))
	return outputs
}

func TestMetricsAndTimeline(t *testing.T) {
	h := newToy(t)
	do(h, "POST", inferPath, []byte(`{"inputs":[`+imageJSON+`]}`))
	do(h, "POST", inferPath, []byte(`{}`))
	w := do(h, "GET", "/metrics", nil)
	for _, want := range []string{
		`weft_requests_total{model="toy",outcome="ok"} 1`,
		`weft_http_responses_total{code="200"} 1`,
		`weft_http_responses_total{code="400"} 1`,
		`weft_batch_images_count{model="toy"} 1`,
		`weft_slo_attainment_ratio{model="toy"} 1`,
		`weft_subnet_requests_total{model="toy",subnet="large"} 1`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	w = do(h, "GET", "/v2/models/toy/timeline", nil)
	if !strings.Contains(w.Body.String(), `"batches":1,"recent":[{"at_us":`) || !strings.Contains(w.Body.String(), `"subnet":"large","requests":1,"images":1`) {
		t.Errorf("timeline %s", w.Body)
	}
}

// Requests that the scheduler turns down.
func TestStatusesOfTheScheduler(t *testing.T) {
	release := make(chan struct{})
	h, s := newHandler(t, serve.Options{Sched: sched.Options{MaxQueue: 1}},
		toy(t, linear{size: 4, classes: 3, before: func() { <-release }}))
	request := func(parameters string) []byte {
		return []byte(`{"inputs":[` + imageJSON + `],"parameters":{` + parameters + `}}`)
	}
	status := make(chan int, 2)
	for i := range 2 { // one runs, one waits
		go func() { status <- do(h, "POST", inferPath, request(`"subnet":"small"`)).Code }()
		for st := s.Router("toy").Status(); st.Free != 0 || st.WaitingRequests != i; st = s.Router("toy").Status() {
			time.Sleep(time.Microsecond)
		}
	}
	w := do(h, "POST", inferPath, request(``))
	if text := errorText(t, w); w.Code != 503 || w.Header().Get("Retry-After") != "1" || !strings.Contains(text, "queue is full") {
		t.Errorf("full: %d %s", w.Code, text)
	}
	close(release)
	if a, b := <-status, <-status; a != 200 || b != 200 {
		t.Errorf("the two before got %d and %d", a, b)
	}
	w = do(h, "POST", inferPath, request(`"timeout":1`))
	if text := errorText(t, w); w.Code != 504 || !strings.Contains(text, "deadline") {
		t.Errorf("late: %d %s", w.Code, text)
	}
	w = do(h, "POST", inferPath, request(`"timeout":1,"late":"serve"`))
	if resp, _ := parse(t, w); w.Code != 200 || resp.Parameters["deadline_met"] != false {
		t.Errorf("late but served: %d %s", w.Code, w.Body)
	}
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	w = do(h, "POST", inferPath, request(``))
	if text := errorText(t, w); w.Code != 503 || w.Header().Get("Retry-After") != "" || !strings.Contains(text, "shutting down") {
		t.Errorf("draining: %d %s", w.Code, text)
	}
	for _, path := range []string{"/v2/health/ready", "/v2/models/toy/ready"} {
		if w := do(h, "GET", path, nil); w.Code != 503 {
			t.Errorf("GET %s while draining: %d", path, w.Code)
		}
	}
	if w := do(h, "GET", "/v2/health/live", nil); w.Code != 200 {
		t.Errorf("live while draining: %d", w.Code)
	}
}
