package oip_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/protobuf/proto"

	"weft/guard"
	"weft/guard/guardtest"
	"weft/oip"
	pb "weft/oip/inference"
	"weft/serve"
)

// certified returns certificates for a server, and who has issued them.
func certified(t *testing.T) (*guardtest.Authority, *guard.Certificates) {
	t.Helper()
	authority := guardtest.NewAuthority(t)
	cert, key, _ := authority.Files(t.TempDir())
	c, err := guard.LoadCertificates(guard.Files{Cert: cert, Key: key}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return authority, c
}

// frames is a client of HTTP/2 that does what it likes, but for answering pings.
type frames struct {
	conn net.Conn

	writing sync.Mutex
	framer  *http2.Framer
	next    uint32 // stream

	mu      sync.Mutex
	news    *sync.Cond
	answers map[uint32]*answer // by stream; that of the connection is 0
}

// answer is what has come on a stream.
type answer struct {
	headers map[string]string
	code    http2.ErrCode // of RST_STREAM or GOAWAY
	ended   bool
}

// speak begins a connection of HTTP/2.
func speak(t *testing.T, conn net.Conn) *frames {
	t.Helper()
	f := &frames{framer: http2.NewFramer(conn, conn), conn: conn, next: 1, answers: make(map[uint32]*answer)}
	f.news = sync.NewCond(&f.mu)
	go f.listen()
	_, err := io.WriteString(conn, http2.ClientPreface)
	if err == nil {
		err = f.write(func(w *http2.Framer) error { return w.WriteSettings() })
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func (f *frames) write(what func(w *http2.Framer) error) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	return what(f.framer)
}

// listen takes over what comes until the connection ends.
func (f *frames) listen() {
	dec := hpack.NewDecoder(4096, nil)
	for {
		frame, err := f.framer.ReadFrame()
		if ping, ok := frame.(*http2.PingFrame); ok && !ping.IsAck() {
			err = f.write(func(w *http2.Framer) error { return w.WritePing(true, ping.Data) })
		}
		f.mu.Lock()
		a := f.on(0)
		if err == nil {
			a = f.on(frame.Header().StreamID)
		}
		switch frame := frame.(type) {
		case *http2.HeadersFrame:
			dec.SetEmitFunc(func(h hpack.HeaderField) { a.headers[h.Name] = h.Value })
			dec.Write(frame.HeaderBlockFragment())
			a.ended = frame.StreamEnded()
		case *http2.DataFrame:
			a.ended = frame.StreamEnded()
		case *http2.RSTStreamFrame:
			a.code, a.ended = frame.ErrCode, true
		case *http2.GoAwayFrame:
			a.code = frame.ErrCode
		}
		a.ended = a.ended || err != nil
		f.news.Broadcast()
		f.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (f *frames) on(stream uint32) *answer {
	if f.answers[stream] == nil {
		f.answers[stream] = &answer{headers: make(map[string]string)}
	}
	return f.answers[stream]
}

// await returns what has come on the stream once that, or the connection, has ended.
func (f *frames) await(stream uint32) answer {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.on(stream).ended && !f.on(0).ended {
		f.news.Wait()
	}
	return *f.on(stream)
}

// open begins a request with the headers beside those that HTTP/2 wants.
func (f *frames) open(path string, ends bool, headers ...string) (stream uint32, err error) {
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	all := append([]string{":method", "POST", ":scheme", "http", ":authority", "localhost", ":path", path}, headers...)
	for i := 0; i < len(all); i += 2 {
		if err := enc.WriteField(hpack.HeaderField{Name: all[i], Value: all[i+1]}); err != nil {
			return 0, err
		}
	}
	stream = f.next
	f.next += 2
	text := block.Bytes()
	first := text[:min(len(text), 16<<10)]
	err = f.write(func(w *http2.Framer) error {
		err := w.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndStream: ends, EndHeaders: len(first) == len(text)})
		for text := text[len(first):]; len(text) > 0 && err == nil; {
			part := text[:min(len(text), 16<<10)]
			text = text[len(part):]
			err = w.WriteContinuation(stream, len(text) == 0, part)
		}
		return err
	})
	return stream, err
}

var grpcHeaders = []string{"content-type", "application/grpc", "te", "trailers"}

const inferMethod = pb.GRPCInferenceService_ModelInfer_FullMethodName

// stuck is a model that answers nobody before it is released, whoever has gone meanwhile.
type stuck struct {
	serve.Recorder
	release      chan struct{}
	inside, most atomic.Int64
}

func (s *stuck) Metadata() *oip.Metadata {
	return &oip.Metadata{Name: "stuck", Versions: []string{"1"}}
}

func (s *stuck) Ready() bool { return true }

func (s *stuck) Infer(context.Context, *oip.Request, *oip.Response) error { return s.stay() }

func (s *stuck) ServeHTTP(http.ResponseWriter, *http.Request) { s.stay() }

func (s *stuck) stay() error {
	n := s.inside.Add(1)
	defer s.inside.Add(-1)
	for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
	}
	<-s.release
	return nil
}

// A client that opens streams and resets them at once has no more requests under
// way than one that waits for answers (CVE-2023-44487).
func TestResetFlood(t *testing.T) {
	message, err := proto.Marshal(&pb.ModelInferRequest{ModelName: "stuck"})
	if err != nil {
		t.Fatal(err)
	}
	framed := append([]byte{0, 0, 0, 0, byte(len(message))}, message...)
	for name, c := range map[string]struct {
		path    string
		headers []string
		body    []byte
		most    int64
	}{
		"HTTP": {"/", nil, nil, 256},
		"gRPC": {inferMethod, grpcHeaders, framed, 1024},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &stuck{release: make(chan struct{})}
			authority, certificates := certified(t)
			h := oip.NewHandler(newServer(t, serve.Options{}), oip.Options{Certificates: certificates, Models: []oip.Model{m}})
			var address string
			if name == "gRPC" {
				address = serveGRPC(t, h)
			} else {
				address = start(t, h, m)
			}
			t.Cleanup(func() { close(m.release) })
			conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: authority.Pool, NextProtos: []string{"h2"}})
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			f := speak(t, conn)
			sent := 0
			for ; sent < 6000; sent++ {
				stream, err := f.open(c.path, false, c.headers...)
				if err == nil {
					err = f.write(func(w *http2.Framer) error {
						return errors.Join(w.WriteData(stream, true, c.body), w.WriteRSTStream(stream, http2.ErrCodeCancel))
					})
				}
				if err != nil {
					break // the server has had enough
				}
			}
			if name == "HTTP" {
				if code := f.await(0).code; code != http2.ErrCodeEnhanceYourCalm {
					t.Errorf("after %d streams the connection ended with %v", sent, code)
				}
			} else {
				await(t, "all requests that there may be", func() bool { return m.inside.Load() == c.most })
			}
			if most := m.most.Load(); most > c.most || most == 0 {
				t.Errorf("%d requests were under way, want at most %d", most, c.most)
			}
		})
	}
}

// Headers that are too large are not kept, in one frame or in many (CVE-2024-24549 and its like).
func TestLargeHeadersOverGRPC(t *testing.T) {
	address := serveGRPC(t, guarded(t, nil))
	for _, size := range []int{60 << 10, 100 << 10, 4 << 20} {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		f := speak(t, conn)
		stream, err := f.open(inferMethod, true, append(grpcHeaders, "x", strings.Repeat("x", size))...)
		if err == nil {
			a := f.await(stream)
			if answered := a.headers["grpc-status"] != ""; answered != (size < 64<<10) {
				t.Errorf("headers of %d bytes: %v", size, a)
			}
		} else if size < 64<<10 {
			t.Error(err)
		}
		conn.Close()
	}
}

// A message that only grows large when it is decompressed is refused before it is all there.
func TestCompressedBombOverGRPC(t *testing.T) {
	t.Parallel()
	small, _ := newHandler(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	for _, c := range []struct {
		h     *oip.Handler
		bytes int
	}{{small, 2 << 20}, {guarded(t, nil), 66 << 20}} { // simple_string takes texts of any size
		client := dialGRPC(t, serveGRPC(t, c.h))
		req := toyMessage()
		for _, bytes := range []int{4, c.bytes / 4, c.bytes} {
			req.RawInputContents[0] = make([]byte, bytes)
			_, err := client.ModelInfer(t.Context(), req, grpc.UseCompressor(gzip.Name))
			switch {
			case bytes == 4 && err != nil:
				t.Error(err)
			case bytes == c.bytes/4:
				refused(t, err, codes.InvalidArgument, "")
			case bytes == c.bytes:
				refused(t, err, codes.ResourceExhausted, "larger than max")
			}
		}
	}
}

// A client that sends pings without pause is sent away.
func TestPingFlood(t *testing.T) {
	t.Parallel()
	conn, err := net.Dial("tcp", serveGRPC(t, guarded(t, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	f := speak(t, conn)
	for range 10 {
		if f.write(func(w *http2.Framer) error { return w.WritePing(false, [8]byte{}) }) != nil {
			break
		}
	}
	if code := f.await(0).code; code != http2.ErrCodeEnhanceYourCalm {
		t.Errorf("the connection ended with %v", code)
	}
}

// More connections than there may be wait until one ends, on either transport.
func TestConnectionsAreBounded(t *testing.T) {
	s := newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	h := oip.NewHandler(s, oip.Options{MaxConnections: 2})
	for name, address := range map[string]string{"HTTP": start(t, h, h), "gRPC": serveGRPC(t, h)} {
		answered := func(conn net.Conn, within time.Duration) bool {
			conn.SetDeadline(time.Now().Add(within))
			_, err := conn.Read(make([]byte, 1))
			return err == nil
		}
		var conns []net.Conn
		for range 3 {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprintf(conn, "GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n") // gRPC sends its settings and goes
			conns = append(conns, conn)
		}
		for i, conn := range conns[:2] {
			if name == "HTTP" && !answered(conn, 5*time.Second) {
				t.Errorf("%s: connection %d is not answered", name, i)
			}
		}
		if name == "HTTP" && answered(conns[2], 50*time.Millisecond) {
			t.Errorf("%s: a third connection is answered", name)
		}
		conns[0].Close()
		conns[1].Close()
		if !answered(conns[2], 5*time.Second) {
			t.Errorf("%s: the third connection is not answered when the others have ended", name)
		}
	}
}

// silent serves the handler over pipes in a bubble of its own time, lets talk
// speak over one, and fails unless that takes the time.
func silent(t *testing.T, rpc bool, want time.Duration, talk func(t *testing.T, conn net.Conn, authority *guardtest.Authority)) {
	synctest.Test(t, func(t *testing.T) {
		authority, certificates := certified(t)
		s := newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
		opt := oip.Options{Certificates: certificates}
		if rpc {
			opt.Certificates = nil
		}
		h := oip.NewHandler(s, opt)
		ln := make(pipes)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			if rpc {
				ended <- h.ServeGRPC(ctx, ln)
			} else {
				ended <- h.Serve(ctx, ln, h)
			}
		}()
		client, server := net.Pipe()
		ln <- server
		start := time.Now()
		talk(t, client, authority)
		if took := time.Since(start).Round(time.Second); took < want || took > want+time.Second {
			t.Errorf("cut off after %v, want %v", took, want)
		}
		client.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// Clients of gRPC, and of HTTP over TLS, that say nothing or too slowly are cut off too.
func TestSlowClientsOfHTTP2AreCutOff(t *testing.T) {
	t.Run("gRPC, no preface", func(t *testing.T) {
		silent(t, true, 10*time.Second, func(_ *testing.T, conn net.Conn, _ *guardtest.Authority) {
			io.Copy(io.Discard, conn)
		})
	})
	t.Run("gRPC, no call", func(t *testing.T) {
		silent(t, true, 2*time.Minute, func(t *testing.T, conn net.Conn, _ *guardtest.Authority) {
			speak(t, conn).await(0)
		})
	})
	t.Run("gRPC, no message", func(t *testing.T) {
		silent(t, true, 90*time.Second, func(t *testing.T, conn net.Conn, _ *guardtest.Authority) {
			f := speak(t, conn)
			stream, err := f.open(inferMethod, false, grpcHeaders...)
			if err != nil {
				t.Fatal(err)
			}
			if a := f.await(stream); a.headers["grpc-status"] != "4" {
				t.Errorf("answered by %v", a)
			}
		})
	})
	t.Run("TLS, no handshake", func(t *testing.T) {
		silent(t, false, 10*time.Second, func(_ *testing.T, conn net.Conn, _ *guardtest.Authority) {
			io.Copy(io.Discard, conn)
		})
	})
	t.Run("HTTP/2, no body", func(t *testing.T) {
		silent(t, false, 30*time.Second, func(t *testing.T, conn net.Conn, authority *guardtest.Authority) {
			c := tls.Client(conn, &tls.Config{RootCAs: authority.Pool, ServerName: "localhost", NextProtos: []string{"h2"}})
			f := speak(t, c)
			stream, err := f.open(inferPath, false)
			if err != nil {
				t.Fatal(err)
			}
			if a := f.await(stream); a.headers[":status"] != "408" {
				t.Errorf("answered by %v", a)
			}
		})
	})
	t.Run("HTTP, reads no answer", func(t *testing.T) {
		silent(t, false, 2*time.Minute, func(t *testing.T, conn net.Conn, authority *guardtest.Authority) {
			c := tls.Client(conn, &tls.Config{RootCAs: authority.Pool, ServerName: "localhost", NextProtos: []string{"http/1.1"}})
			fmt.Fprint(c, "GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
			time.Sleep(2*time.Minute + time.Second)
			if text, err := io.ReadAll(c); err == nil && len(text) > 0 {
				t.Errorf("the answer is still there after its time: %q", text)
			}
		})
	})
}

// Numbers and strings as long as a body may be take no longer than reading it.
func TestLongTokens(t *testing.T) {
	h := newToy(t)
	for _, value := range []string{strings.Repeat("9", 60<<10), "0." + strings.Repeat("1", 60<<10), "1e" + strings.Repeat("9", 60<<10), `"` + strings.Repeat(`\n`, 30<<10) + `"`, strings.Repeat("[", 60<<10)} {
		start := time.Now()
		w := do(h, "POST", inferPath, []byte(`{"x":`+value+`,"inputs":[`+imageJSON+`]}`))
		if took := time.Since(start); took > time.Second || w.Code != 200 && w.Code != 400 {
			t.Errorf("%.10s…: %d after %v", value, w.Code, took)
		}
	}
}

// Headers that are too large are refused over HTTP/2 too.
func TestLargeHeadersOverHTTP2(t *testing.T) {
	authority, certificates := certified(t)
	h := oip.NewHandler(newServer(t, serve.Options{}), oip.Options{Certificates: certificates})
	address := start(t, h, h)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: authority.Pool}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	for _, size := range []int{50 << 10, 100 << 10} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+address+"/v2", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X", strings.Repeat("x", size))
		resp, err := (&http.Client{Transport: transport}).Do(r)
		if answered := err == nil && resp.StatusCode == 200; answered != (size < 64<<10) {
			t.Errorf("headers of %d bytes: %v, %v", size, resp, err)
		}
		if err == nil {
			resp.Body.Close()
		}
	}
}
