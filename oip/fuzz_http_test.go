package oip

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/guard"
	"weft/sched"
	"weft/serve"
)

// bodyLimit bounds the bodies of FuzzBody.
const bodyLimit = 4096

// FuzzBody reads any bytes as a body in any encoding. What is accepted is what
// the library's readers make of it, and never more than the limit.
func FuzzBody(f *testing.F) {
	var z bytes.Buffer
	for i, text := range []string{"", "hello", strings.Repeat("a", bodyLimit), strings.Repeat("a", 100*bodyLimit)} {
		z.Reset()
		g := gzip.NewWriter(&z)
		g.Write([]byte(text))
		g.Close()
		f.Add(bytes.Clone(z.Bytes()), "gzip")
		f.Add(bytes.Clone(z.Bytes()[:z.Len()-i]), "gzip")
		z.Reset()
		d := zlib.NewWriter(&z)
		d.Write([]byte(text))
		d.Close()
		f.Add(bytes.Clone(z.Bytes()), "deflate")
	}
	f.Add([]byte("plain"), "")
	f.Add([]byte("plain"), "br, gzip;q=0, *")
	f.Fuzz(func(t *testing.T, body []byte, encoding string) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.Header.Set("Content-Encoding", encoding)
		r.Header.Set("Accept-Encoding", encoding)
		got, err := readBody(nil, r, bodyLimit)
		if len(got) > bodyLimit && err == nil || cap(got) > 64*bodyLimit {
			t.Fatalf("%d bytes (of %d) of a body that may have %d", len(got), cap(got), bodyLimit)
		}
		var want io.Reader = bytes.NewReader(body)
		var wantErr error
		switch encoding {
		case "gzip":
			want, wantErr = gzip.NewReader(want)
		case "deflate":
			want, wantErr = zlib.NewReader(want)
		case "", "identity":
		default:
			wantErr = http.ErrNotSupported
		}
		var all []byte
		if wantErr == nil {
			all, wantErr = io.ReadAll(io.LimitReader(want, bodyLimit+1))
		}
		ok := wantErr == nil && len(all) <= bodyLimit && len(body) <= bodyLimit
		if (err == nil) != ok || ok && !bytes.Equal(got, all) {
			t.Fatalf("%q of %q: %q, %v; want %q, %v", encoding, body, got, err, all, wantErr)
		}
		out, name := compress(r, bytes.Repeat(body, 1+minCompress/max(len(body), 1)))
		if name == "" && len(out) > len(body)+minCompress || name != "" && !accepts(encoding, name) {
			t.Fatalf("answered %q in %q", encoding, name)
		}
	})
}

// constant answers every image with zeros.
type constant struct{}

func (constant) Run(_ int, _ []float32, _ int, logits []float32) error {
	clear(logits)
	return nil
}

// fuzzServer serves a model m of images of 2x2x1 and 3 classes.
func fuzzServer(f *testing.F) *serve.Server {
	f.Helper()
	p, err := sched.NewProfile([]sched.Subnet{{Name: "a", Accuracy: 0.5, Latency: []time.Duration{1000, 1100}}}, 0)
	if err != nil {
		f.Fatal(err)
	}
	m := serve.Model{Name: "m", H: 2, W: 2, C: 1, Classes: 3, Profile: p, Executors: []serve.Executor{constant{}}}
	s, err := serve.New([]serve.Model{m}, serve.Options{SLO: 10 * time.Second})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := s.Shutdown(f.Context()); err != nil {
			f.Log(err)
		}
	})
	for !s.Ready() {
		time.Sleep(time.Millisecond)
	}
	return s
}

// FuzzHandler hands any request to a server with keys and to one without. Each
// answer is one of the protocol; without a key only questions about health are
// answered; nothing is loaded from afar.
func FuzzHandler(f *testing.F) {
	infer := `{"inputs":[{"name":"images","shape":[1,2,2,1],"datatype":"FP32","data":[0,1,0,1]}]}`
	for _, head := range []string{
		"GET /v2", "GET /v2/health/live", "HEAD /v2/health/ready/", "GET /v2/models", "GET /v2/models/m", "GET /v2/models/m/versions/1/config",
		"GET /v2/models/m/ready", "GET /v2/models/m/stats", "GET /v2/models/stats", "GET /metrics", "GET /v2/models/m/timeline", "GET /v2/models/m/subnets",
		"POST /v2/repository/index", "POST /v2/repository/models/m/load", "POST /v2/repository/models/m/unload", "POST /v2/models/m/infer", "DELETE //v2/../metrics",
	} {
		f.Add([]byte(head + " HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nContent-Length: 87\r\n\r\n" + infer))
	}
	f.Add([]byte("POST /v2/models/m/infer HTTP/1.1\r\nHost: x\r\nAuthorization: Basic OmtleQ==\r\nInference-Header-Content-Length: 0\r\nContent-Length: 4\r\n\r\n\x00\x01\x02\x03"))
	f.Add([]byte("GET /v2 HTTP/1.0\r\nX-API-Key: key\r\n\r\n"))
	var g *guard.Guard
	secret, digest := guard.NewKey()
	path := filepath.Join(f.TempDir(), "keys.json")
	err := guard.Write(path, []guard.Key{{Name: "a", Tenant: "a", SHA256: digest}})
	if err == nil {
		g, err = guard.Open(path, time.Now())
	}
	if err != nil {
		f.Fatal(err)
	}
	open := NewHandler(fuzzServer(f), Options{})
	keyed := NewHandler(fuzzServer(f), Options{Guard: g})
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, h := range []*Handler{open, keyed} {
			r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
			if err != nil || bytes.Contains(raw, []byte(secret)) {
				return
			}
			r.RemoteAddr = "10.0.0.1:1"
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			code, path := w.Code, strings.TrimSuffix(r.URL.Path, "/")
			if h.responses[code] == nil || code == http.StatusInternalServerError {
				t.Fatalf("%q is answered by %d %s", raw, code, w.Body)
			}
			if code >= 400 && r.Method != http.MethodHead && w.Header().Get("Content-Encoding") == "" && !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%q is answered by %d %q", raw, code, w.Body)
			}
			probe := strings.HasPrefix(path, "/v2/health/") || strings.HasPrefix(path, "/v2/models/") && strings.HasSuffix(path, "/ready")
			if h == keyed && !probe && code != http.StatusUnauthorized && code != http.StatusNotFound {
				t.Fatalf("%q is answered without a key by %d %s", raw, code, w.Body)
			}
			if strings.HasPrefix(path, "/v2/repository/models/") && code == http.StatusOK {
				t.Fatalf("%q is obeyed from afar", raw)
			}
		}
	})
}

// canned is a connection on which an answer has come.
type canned struct {
	net.Conn
	io.Reader
}

func (c canned) Read(p []byte) (int, error) { return c.Reader.Read(p) }

// FuzzAnswer reads any bytes as a server's answer.
func FuzzAnswer(f *testing.F) {
	h := NewHandler(fuzzServer(f), Options{})
	m := &ClientModel{Metadata: *h.current("m").md, client: new(Client), names: map[string]string{"a": "a"}}
	if err := m.prepare("/v2/models/m"); err != nil {
		f.Fatal(err)
	}
	body := `{"inputs":[{"name":"images","shape":[1,2,2,1],"datatype":"FP32","data":[0,1,0,1]}],"parameters":{"binary_data_output":true}}`
	srv := httptest.NewServer(h)
	defer srv.Close()
	for _, request := range []string{"POST /v2/models/m/infer", "GET /v2", "GET /none"} {
		nc, err := net.Dial("tcp", srv.Listener.Addr().String())
		if err != nil {
			f.Fatal(err)
		}
		io.WriteString(nc, request+" HTTP/1.0\r\nContent-Length: 121\r\n\r\n"+body)
		answer, err := io.ReadAll(nc)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(answer)
	}
	f.Add([]byte("HTTP/1.1 429 x\r\nRetry-After: 2\r\nRetry-After-Ms: 1999\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{ }\r\n0\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: -5\r\nInference-Header-Content-Length: 99999999999999999999\r\n\r\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		c := newConn(canned{Reader: bytes.NewReader(raw)})
		status, header, err := c.read()
		if cap(c.body) > maxAnswer {
			t.Fatalf("%d bytes for an answer of %d", cap(c.body), len(raw))
		}
		if c.after < 0 || c.after > maxRetryAfter*time.Second {
			t.Fatalf("come back in %v", c.after)
		}
		if err != nil {
			return
		}
		if status != http.StatusOK {
			if err := refusal(status, c.retry, c.body); err.Error() == "" {
				t.Fatal("a refusal without words")
			}
			return
		}
		var resp serve.Response
		if err := m.answer(c.body, header, 1, &resp); err == nil && (len(resp.Logits) != m.Classes || len(resp.Labels) != 1) {
			t.Fatalf("accepted %+v", resp)
		}
	})
}
