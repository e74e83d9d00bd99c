// Package oip speaks the Open Inference Protocol (V2) over HTTP and gRPC: a
// [Handler] in front of a serve.Server, and a [Client]. docs/http.md and
// docs/grpc.md describe what goes over the wire.
//
// Whatever a request came in (JSON, binary tensors, contents of gRPC, typed or
// raw), it is decoded to a [Request], which a [Model] answers by a [Response].
// Tensors are in the protocol's binary form there, which most need no step to
// get to. The models are those of the server, supernets that take images, and
// whatever others Options.Models has.
package oip

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"google.golang.org/grpc/codes"

	"weft/guard"
	"weft/serve"
)

// Options of a Handler. The zero value is useful.
type Options struct {
	// Version is that of the server, for its metadata.
	Version string
	// MaxBody bounds a request's body, before and after decompression, in
	// bytes (0: what a full batch takes as JSON).
	MaxBody int64
	// Models are served beside those of the server.
	Models []Model
	// Services are offered over gRPC beside the protocol's.
	Services []Service
	// FixedModels refuses to load and unload models.
	FixedModels bool
	// Guard has the keys without which nobody may use the server (nil: there are
	// none, and everybody may but change the models).
	Guard *guard.Guard
	// Certificates are shown to clients, and clients' are wanted, over TLS (nil:
	// connections are not encrypted).
	Certificates *guard.Certificates
	// MaxConnections bounds the connections that Serve, and that ServeGRPC, has
	// at a time (0: DefaultMaxConnections). Others wait.
	MaxConnections int
	// Grace bounds the time that Serve takes to drain (0: DefaultGrace).
	Grace time.Duration
	// Observe, if not nil, is told of each request that was put to a model, once that
	// has answered or refused it. It keeps none of its arguments.
	Observe func(ctx context.Context, model string, q *Request, resp *Response, err error)
	// Flight, if not nil, writes what the server did of late into a file, and
	// returns its path. POST /v2/flight calls it.
	Flight func() (path string, err error)
	// Log receives what an operator must know (nil: nothing is logged).
	Log *slog.Logger
}

// Defaults of Options.
const (
	DefaultGrace          = 10 * time.Second
	DefaultMaxConnections = 8192
)

// Handler answers the protocol's requests. It is safe for concurrent use.
type Handler struct {
	server    *serve.Server
	opt       Options
	access    access
	endpoints sync.Map             // by name: the *endpoint of the server's model as last seen
	others    map[string]*endpoint // Options.Models
	metrics   http.Handler
	responses map[int]prometheus.Counter // by status
	exchanges sync.Pool                  // of *exchange
}

// exchange is the memory of one inference request and its answer.
type exchange struct {
	body []byte
	in   inferRequest
	resp Response
	out  []byte
}

// NewHandler returns a handler for the models of the server, whose registry
// gets a counter of responses.
func NewHandler(s *serve.Server, opt Options) *Handler {
	if opt.Grace == 0 {
		opt.Grace = DefaultGrace
	}
	if opt.MaxConnections == 0 {
		opt.MaxConnections = DefaultMaxConnections
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{
		server:    s,
		opt:       opt,
		access:    newAccess(opt.Guard, s.Registry()),
		others:    make(map[string]*endpoint),
		metrics:   promhttp.HandlerFor(s.Registry(), promhttp.HandlerOpts{}),
		responses: make(map[int]prometheus.Counter),
	}
	h.exchanges.New = func() any { return new(exchange) }
	for _, m := range opt.Models {
		h.others[m.Metadata().Name] = newEndpoint(m, nil, opt.MaxBody)
	}
	responses := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weft_http_responses_total", Help: "HTTP responses by status code.",
	}, []string{"code"})
	s.Registry().MustRegister(responses)
	for _, code := range []int{200, 400, 401, 403, 404, 405, 408, 413, 415, 429, statusCancelled, 500, 501, 503, 504} {
		h.responses[code] = responses.WithLabelValues(strconv.Itoa(code))
	}
	return h
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	if path == "/metrics" {
		if _, ok := h.client(w, r, guard.Observe, ""); ok && allow(w, r, http.MethodGet, h) {
			h.metrics.ServeHTTP(w, r)
		}
		return
	}
	rest, ok := strings.CutPrefix(path, "/v2")
	if !ok || rest != "" && rest[0] != '/' {
		h.notFound(w, r)
		return
	}
	if path, ok := strings.CutPrefix(rest, "/models/"); ok && path != "stats" {
		h.model(w, r, path)
		return
	}
	if rest == "/flight" {
		h.flight(w, r)
		return
	}
	if path, ok := strings.CutPrefix(rest, "/repository/"); ok {
		h.repository(w, r, path)
		return
	}
	h.describe(w, r, rest)
}

// describe serves what tells about the server.
func (h *Handler) describe(w http.ResponseWriter, r *http.Request, path string) {
	need := guard.Use
	switch path {
	case "/health/live", "/health/ready":
		need = guard.Probe
	case "/models/stats":
		need = guard.Observe
	}
	c, ok := h.client(w, r, need, "")
	if !ok {
		return
	}
	switch path {
	case "":
		h.get(w, r, h.serverMetadata)
	case "/health/live":
		h.get(w, r, h.live)
	case "/health/ready":
		h.get(w, r, h.ready)
	case "/models":
		h.get(w, r, func() (int, any) { return h.models(c) })
	case "/models/stats":
		h.serveStatistics(w, r, "", "")
	default:
		h.notFound(w, r)
	}
}

// rightOf returns what a call of the verb of a model needs.
func rightOf(verb string) guard.Right {
	switch verb {
	case "ready":
		return guard.Probe
	case "stats", "timeline":
		return guard.Observe
	}
	return guard.Use
}

// model serves what is below /v2/models/: MODEL[/versions/VERSION][/VERB].
func (h *Handler) model(w http.ResponseWriter, r *http.Request, path string) {
	name, verb, _ := strings.Cut(path, "/")
	version := ""
	if rest, ok := strings.CutPrefix(verb, "versions/"); ok {
		version, verb, _ = strings.Cut(rest, "/")
	}
	c, ok := h.client(w, r, rightOf(verb), name)
	if !ok {
		return
	}
	e, err := h.endpoint(name, version)
	if err != nil {
		h.fail(w, err)
		return
	}
	switch verb {
	case "infer":
		if allow(w, r, http.MethodPost, h) {
			h.infer(w, r, e, c)
		}
	case "":
		h.get(w, r, e.metadata)
	case "ready":
		h.get(w, r, e.ready)
	case "config":
		h.get(w, r, e.serveConfig)
	case "stats":
		h.serveStatistics(w, r, name, version)
	case "subnets", "timeline":
		h.supernet(w, r, e, verb)
	default:
		h.notFound(w, r)
	}
}

// supernet serves what only the server's own models have.
func (h *Handler) supernet(w http.ResponseWriter, r *http.Request, e *endpoint, verb string) {
	switch {
	case e.router == nil:
		h.notFound(w, r)
	case verb == "subnets":
		h.get(w, r, e.listSubnets)
	default:
		h.get(w, r, e.timeline)
	}
}

// endpoint returns the model of that name as it is now. version "" is any.
func (h *Handler) endpoint(name, version string) (*endpoint, error) {
	e := h.current(name)
	if e == nil {
		for _, known := range h.server.Index() {
			if known.Name == name {
				return nil, &statusError{http: http.StatusServiceUnavailable, grpc: codes.Unavailable, text: "model " + name + " is not loaded (" + known.Reason + "): load it first"}
			}
		}
		return nil, unknownModel(name)
	}
	if have := e.md.Versions[0]; version != "" && version != have {
		return nil, &statusError{http: http.StatusNotFound, grpc: codes.NotFound, text: "model " + name + " has no version " + strconv.Quote(version) + ": it has version " + have}
	}
	return e, nil
}

func unknownModel(name string) error {
	return &statusError{http: http.StatusNotFound, grpc: codes.NotFound, text: "model " + strconv.Quote(name) + " is unknown: GET /v2/models lists the models"}
}

// current returns the endpoint of the model, or nil.
func (h *Handler) current(name string) *endpoint {
	r := h.server.Router(name)
	if r == nil {
		return h.others[name]
	}
	if v, ok := h.endpoints.Load(name); ok {
		if e := v.(*endpoint); e.router == r {
			return e
		}
	}
	e := newEndpoint(newImageModel(r), r, h.opt.MaxBody)
	h.endpoints.Store(name, e)
	return e
}

// answer lets the model answer the request.
func (h *Handler) answer(ctx context.Context, e *endpoint, q *Request, resp *Response) error {
	err := h.ask(ctx, e, q, resp)
	if h.opt.Observe != nil {
		h.opt.Observe(ctx, e.md.Name, q, resp, err)
	}
	return err
}

// ask puts the request to the model. One that is replaced meanwhile passes on to
// its successor what it has not taken.
func (h *Handler) ask(ctx context.Context, e *endpoint, q *Request, resp *Response) error {
	for {
		resp.reset(e.md)
		err := e.Infer(ctx, q, resp)
		if err == nil {
			return e.md.classify(q, resp)
		}
		next := h.current(e.md.Name)
		if serve.CodeOf(err) != serve.Draining || next == nil || next == e {
			return e.shed(err)
		}
		e = next
		if err := e.md.check(q); err != nil {
			return err
		}
	}
}

// get answers GET and HEAD with what the function returns, as JSON.
func (h *Handler) get(w http.ResponseWriter, r *http.Request, answer func() (status int, body any)) {
	if !allow(w, r, http.MethodGet, h) {
		return
	}
	status, body := answer()
	h.json(w, r, status, body)
}

// allow answers 405 unless the request has the method; HEAD goes with GET.
func allow(w http.ResponseWriter, r *http.Request, method string, h *Handler) bool {
	if r.Method == method || method == http.MethodGet && r.Method == http.MethodHead {
		return true
	}
	w.Header().Set("Allow", method)
	h.fail(w, &statusError{http: http.StatusMethodNotAllowed, grpc: codes.Unimplemented, text: "the method " + strconv.Quote(r.Method) + " is not allowed here: use " + method})
	return false
}

func (h *Handler) notFound(w http.ResponseWriter, r *http.Request) {
	h.fail(w, &statusError{http: http.StatusNotFound, grpc: codes.NotFound, text: "the path " + strconv.Quote(r.URL.Path) + " is unknown: GET /v2 describes the server"})
}

// fail answers with the error.
func (h *Handler) fail(w http.ResponseWriter, err error) {
	status, _ := statusOf(err)
	switch {
	case status == http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close") // the rest of the body is not worth reading
	case serve.CodeOf(err) == serve.Draining:
		w.Header().Set("Connection", "close") // the next request had better go elsewhere
	case status == http.StatusUnauthorized:
		w.Header()["Www-Authenticate"] = challenge
	}
	if retry := retryOf(err); retry > 0 {
		setRetry(w.Header(), retry)
	}
	body := append([]byte(`{"error":`), quote(err.Error())...)
	h.write(w, status, append(body, '}', '\n'))
}

// Header values, made once.
var (
	typeJSON   = []string{"application/json"}
	typeBinary = []string{"application/octet-stream"}
	challenge  = []string{`Bearer realm="weft"`, `Basic realm="weft: the key is the password"`}
)

func (h *Handler) write(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	if header["Content-Type"] == nil {
		header["Content-Type"] = typeJSON
	}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	h.responses[status].Inc()
	w.WriteHeader(status)
	if _, err := w.Write(body); err != nil {
		h.opt.Log.Debug("response not written", slog.Any("error", err))
	}
}

// infer answers an inference request of the client.
func (h *Handler) infer(w http.ResponseWriter, r *http.Request, e *endpoint, c *guard.Client) {
	start := time.Now()
	err := h.access.enter(c, start)
	if err != nil {
		h.fail(w, err)
		return
	}
	defer c.Leave()
	x := h.exchanges.Get().(*exchange)
	defer h.exchanges.Put(x)
	if x.body, err = readBody(x.body[:0], r, e.maxBody); err != nil {
		h.fail(w, err)
		return
	}
	header := -1
	if v := r.Header["Inference-Header-Content-Length"]; v != nil {
		if header, err = strconv.Atoi(v[0]); err != nil || header < 0 || len(v) > 1 {
			h.fail(w, serve.Errorf(serve.Invalid, "the header Inference-Header-Content-Length is %.40q: send the length of the JSON", v))
			return
		}
	}
	if err := x.in.decode(x.body, header, e.md); err != nil {
		h.fail(w, err)
		return
	}
	x.in.Start, x.in.Tenant = start, c.TenantName()
	if err := h.answer(r.Context(), e, &x.in.Request, &x.resp); err != nil {
		h.fail(w, err)
		return
	}
	if x.out, header, err = e.encode(x.out[:0], &x.in, &x.resp); err != nil {
		h.fail(w, err)
		return
	}
	if header >= 0 {
		w.Header()["Content-Type"] = typeBinary
		w.Header()["Inference-Header-Content-Length"] = []string{strconv.Itoa(header)}
	}
	h.writeCompressed(w, r, http.StatusOK, x.out)
}

// writeCompressed writes the body in the encoding that the request accepts.
func (h *Handler) writeCompressed(w http.ResponseWriter, r *http.Request, status int, body []byte) {
	body, encoding := compress(r, body)
	if encoding != "" {
		w.Header().Set("Content-Encoding", encoding)
		w.Header().Set("Vary", "Accept-Encoding")
	}
	h.write(w, status, body)
}
