package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"weft/oip"
	"weft/serve"
)

// listeners are where a server listens.
type listeners struct {
	http net.Listener
	grpc net.Listener // nil: nowhere
}

// listen opens the job's addresses.
func (j *serveJob) listen(ctx context.Context) (on listeners, err error) {
	if on.http, err = listen(ctx, j.http, "--http"); err != nil || j.grpc == "" {
		return on, err
	}
	if on.grpc, err = listen(ctx, j.grpc, "--grpc"); err != nil {
		_ = on.http.Close()
	}
	return on, err
}

func (on listeners) close() {
	_ = on.http.Close()
	if on.grpc != nil {
		_ = on.grpc.Close()
	}
}

// serve answers requests until ctx ends, and drains. root is what HTTP goes to, h or a handler that leads to it.
func (on listeners) serve(ctx context.Context, h *oip.Handler, root http.Handler, out io.Writer) error {
	all, ctx := errgroup.WithContext(ctx)
	all.Go(func() error { return h.Serve(ctx, on.http, root) })
	if on.grpc != nil {
		fmt.Fprintf(out, "The same over gRPC on %s\n", on.grpc.Addr())
		all.Go(func() error { return h.ServeGRPC(ctx, on.grpc) })
	}
	return all.Wait()
}

// listen opens the address, with a sentence on what to do when it is taken.
func listen(ctx context.Context, addr, flag string) (net.Listener, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", addr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("the address %s is in use; stop what listens there or choose another one with %s", addr, flag)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("no permission to listen on %s; choose a port above 1023 with %s", addr, flag)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return ln, nil
}

// bundles are the files that were served at the start, to be loaded again.
type bundles struct {
	job   *serveJob
	errw  io.Writer
	paths map[string]string // by the model's name
}

var _ serve.Repository = (*bundles)(nil)

// Names implements serve.Repository.
func (b *bundles) Names() []string { return slices.Sorted(maps.Keys(b.paths)) }

// Open implements serve.Repository.
func (b *bundles) Open(ctx context.Context, name string) (serve.Model, error) {
	bars := newProgress(b.errw, true, time.Now)
	defer bars.Close()
	return b.job.load(ctx, b.paths[name], bars, b.errw)
}
