package main

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/spf13/pflag"

	"weft/oip"
	"weft/telemetry"
)

// traceFlags say where to report requests as spans.
type traceFlags struct {
	endpoint string // "": nowhere
	share    float64
}

func (j *traceFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&j.endpoint, "otlp", "", "collector of OpenTelemetry to report requests to, http://HOST:PORT or https://HOST:PORT, of OTLP over gRPC")
	f.Float64Var(&j.share, "otlp-sample", 0.01, "with --otlp, the share of requests to report; where the caller has decided, that counts")
}

func (j *traceFlags) options() telemetry.Options {
	return telemetry.Options{Endpoint: j.endpoint, Sample: j.share, Version: thisBuild().Version}
}

func (j *traceFlags) validate() error {
	if j.endpoint == "" {
		return nil
	}
	opt := j.options()
	if err := opt.Validate(); err != nil {
		return usagef("--otlp, --otlp-sample: %v", err)
	}
	return nil
}

// flushTime bounds how long the last spans are reported.
const flushTime = 3 * time.Second

// start has requests reported, if they are to be, and returns what the handler of HTTP
// is to be put into. stop reports those that are left.
func (j *traceFlags) start(ctx context.Context, opt *oip.Options, log *slog.Logger) (wrap func(http.Handler) http.Handler, stop func(), err error) {
	if j.endpoint == "" {
		return func(h http.Handler) http.Handler { return h }, func() {}, nil
	}
	t, err := telemetry.New(ctx, j.options())
	if err != nil {
		return nil, nil, err
	}
	opt.Observe = t.Observe
	return t.Handler, func() {
		ctx, end := context.WithTimeout(context.WithoutCancel(ctx), flushTime)
		defer end()
		if err := t.Close(ctx); err != nil {
			log.Warn("spans are lost", slog.Any("error", err))
		}
	}, nil
}
