package oip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"

	"weft/serve"
)

// Limits of a connection. A client that is slower than these is cut off.
const (
	headerTimeout  = 10 * time.Second
	readTimeout    = 30 * time.Second
	writeTimeout   = serve.MaxTimeout + time.Minute // queue, compute and write
	idleTimeout    = 2 * time.Minute
	maxHeaderBytes = 64 << 10
	http2Streams   = 256 // requests at a time on a connection of HTTP/2
)

// Serve answers the connections of ln until ctx ends. Then it drains: it turns
// not-ready and refuses new requests at once, while those taken before are
// answered, within Options.Grace. root answers the requests, h or a handler
// that leads to it.
func (h *Handler) Serve(ctx context.Context, ln net.Listener, root http.Handler) error {
	ln = netutil.LimitListener(ln, h.opt.MaxConnections)
	if c := h.opt.Certificates; c != nil {
		ln = tls.NewListener(ln, c.Config("h2", "http/1.1"))
	}
	srv := &http.Server{
		Handler:           root,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: http2Streams, MaxReceiveBufferPerConnection: 4*window - 1, MaxReceiveBufferPerStream: window},
		ErrorLog:          slog.NewLogLogger(h.opt.Log.Handler(), slog.LevelWarn),
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(ln) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	h.opt.Log.Info("draining", slog.Duration("grace", h.opt.Grace))
	grace, stop := context.WithTimeout(context.WithoutCancel(ctx), h.opt.Grace)
	defer stop()
	drained := h.server.Shutdown(grace)
	closed := srv.Shutdown(grace)
	if closed != nil {
		closed = errors.Join(closed, srv.Close())
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		closed = errors.Join(closed, err)
	}
	return errors.Join(drained, closed)
}
