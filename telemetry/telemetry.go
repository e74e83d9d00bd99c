// Package telemetry reports requests as spans of OpenTelemetry to a collector. A
// request has a span of its own, below the caller's where W3C's traceparent names
// one, and below that one span for the time in the queue and one for computing.
package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"google.golang.org/grpc/metadata"

	"weft/oip"
	"weft/serve"
)

// Options of a Tracer.
type Options struct {
	// Endpoint is where a collector takes OTLP over gRPC: http://HOST:PORT or, encrypted,
	// https://HOST:PORT.
	Endpoint string
	// Sample is the share of the requests that are reported, 0..1. Those whose caller
	// has decided follow the caller.
	Sample float64
	// Version is that of the program.
	Version string
}

// Validate returns what is wrong with the options.
func (o *Options) Validate() error {
	u, err := url.Parse(o.Endpoint)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "":
		return fmt.Errorf("endpoint %q: give http://HOST:PORT or https://HOST:PORT", o.Endpoint)
	case !(o.Sample >= 0 && o.Sample <= 1):
		return fmt.Errorf("sampled share %v: give a fraction in 0..1", o.Sample)
	}
	return nil
}

// Tracer makes the spans. It is safe for concurrent use.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// New returns a tracer that reports to the endpoint. A collector that is away does no
// harm: spans are lost.
func New(ctx context.Context, o Options) (*Tracer, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	exporter, err := otlptracegrpc.New(ctx, otlptracegrpc.WithEndpointURL(o.Endpoint))
	if err != nil {
		return nil, fmt.Errorf("report to %s: %w", o.Endpoint, err)
	}
	about, err := resource.New(ctx, resource.WithAttributes(
		attribute.String("service.name", "weft"), attribute.String("service.version", cmp.Or(o.Version, "unknown"))))
	if err != nil {
		return nil, fmt.Errorf("describe the server to the collector: %w", err)
	}
	provider := sdk.NewTracerProvider(sdk.WithBatcher(exporter), sdk.WithResource(about),
		sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(o.Sample))))
	return &Tracer{provider, provider.Tracer("weft/telemetry")}, nil
}

// Close reports the spans that are left, until ctx ends.
func (t *Tracer) Close(ctx context.Context) error {
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("report the last spans: %w", err)
	}
	return nil
}

// fromHTTP is the key of what a request's context has if it came over HTTP.
type fromHTTP struct{}

// Handler has spans of the requests that next answers begin below their callers'.
func (t *Tracer) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := propagation.TraceContext{}.Extract(r.Context(), propagation.HeaderCarrier(r.Header))
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, fromHTTP{}, true)))
	})
}

// headers finds what is propagated in the metadata of a call of gRPC.
type headers metadata.MD

// Get implements propagation.TextMapCarrier.
func (h headers) Get(key string) string {
	if v := metadata.MD(h).Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set implements propagation.TextMapCarrier.
func (h headers) Set(key, value string) { metadata.MD(h).Set(key, value) }

// Keys implements propagation.TextMapCarrier.
func (h headers) Keys() (keys []string) {
	for k := range h {
		keys = append(keys, k)
	}
	return keys
}

// Observe reports a request that was answered or refused; see oip.Options.
func (t *Tracer) Observe(ctx context.Context, model string, q *oip.Request, resp *oip.Response, err error) {
	transport := "http"
	if ctx.Value(fromHTTP{}) == nil {
		transport = "grpc"
		md, _ := metadata.FromIncomingContext(ctx)
		ctx = propagation.TraceContext{}.Extract(ctx, headers(md))
	}
	ctx, span := t.tracer.Start(ctx, "infer "+model, trace.WithTimestamp(q.Start), trace.WithSpanKind(trace.SpanKindServer))
	if span.IsRecording() {
		span.SetAttributes(attribute.String("weft.model", model), attribute.String("rpc.transport", transport))
		if q.Timeout > 0 {
			span.SetAttributes(attribute.Int64("weft.timeout_us", q.Timeout.Microseconds()))
		}
		if err != nil {
			span.SetAttributes(attribute.String("weft.outcome", serve.CodeOf(err).String()))
			span.SetStatus(codes.Error, err.Error())
		} else {
			t.parts(ctx, span, q, resp)
		}
	}
	span.End()
}

// parts reports what the response says of itself: the subnet and the batch, and the
// time in the queue and in computing.
func (t *Tracer) parts(ctx context.Context, span trace.Span, q *oip.Request, resp *oip.Response) {
	var queue, compute time.Duration
	for i := range resp.Parameters {
		switch p := &resp.Parameters[i]; p.Name {
		case "queue_us":
			queue = time.Duration(p.Int) * time.Microsecond
		case "compute_us":
			compute = time.Duration(p.Int) * time.Microsecond
		default:
			span.SetAttributes(attributeOf(p))
		}
	}
	if compute == 0 { // a model that says nothing of its times
		return
	}
	if q.Timeout > 0 {
		span.SetAttributes(attribute.Int64("weft.slack_us", (q.Timeout - queue - compute).Microseconds()))
	}
	began := q.Start.Add(queue)
	t.part(ctx, "queue", q.Start, began)
	t.part(ctx, "compute", began, began.Add(compute))
}

func (t *Tracer) part(ctx context.Context, name string, from, to time.Time) {
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(from))
	span.End(trace.WithTimestamp(to))
}

// attributeOf turns a parameter of a response into an attribute.
func attributeOf(p *oip.Parameter) attribute.KeyValue {
	key := "weft." + p.Name
	switch p.Kind {
	case oip.String:
		return attribute.String(key, p.Text)
	case oip.Float:
		return attribute.Float64(key, p.Number)
	case oip.Boolean:
		return attribute.Bool(key, p.Int != 0)
	}
	return attribute.Int64(key, p.Int)
}
