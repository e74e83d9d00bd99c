package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"weft/guard"
	"weft/oip"
)

// guardInterval is how often keys and certificates are looked at for changes.
const guardInterval = time.Second

// guardFlags say who may use the server, and by what it proves itself.
type guardFlags struct {
	keysFile    string
	files       guard.Files
	connections int

	keys         *guard.Guard        // nil: no keys
	certificates *guard.Certificates // nil: no TLS
}

func (g *guardFlags) flags(f *pflag.FlagSet) {
	f.StringVar(&g.keysFile, "keys", "", "file of API keys, without which nobody may use the server (see weft keys); read again when it changes")
	f.StringVar(&g.files.Cert, "tls-cert", "", "certificate in PEM: serve HTTP and gRPC over TLS; read again when it changes")
	f.StringVar(&g.files.Key, "tls-key", "", "private key of --tls-cert, in PEM")
	f.StringVar(&g.files.ClientCA, "tls-client-ca", "", "authorities in PEM: let in only clients that have a certificate of theirs")
	f.IntVar(&g.connections, "max-connections", oip.DefaultMaxConnections, "connections at a time, of HTTP and of gRPC each; others wait")
}

func (g *guardFlags) validate() error {
	switch {
	case (g.files.Cert == "") != (g.files.Key == ""):
		return usagef("--tls-cert and --tls-key go together: give both or none")
	case g.files.ClientCA != "" && g.files.Cert == "":
		return usagef("--tls-client-ca needs --tls-cert and --tls-key")
	case g.connections < 1:
		return usagef("--max-connections %d: choose at least 1", g.connections)
	}
	return nil
}

// open reads the files.
func (g *guardFlags) open(now time.Time) (err error) {
	if g.keysFile != "" {
		if g.keys, err = guard.Open(g.keysFile, now); err != nil {
			return fmt.Errorf("read keys: %w", err)
		}
	}
	if g.files.Cert != "" {
		g.certificates, err = guard.LoadCertificates(g.files, now)
	}
	return err
}

// apply puts what was read, and the bound of connections, into the options.
func (g *guardFlags) apply(opt *oip.Options) {
	opt.Guard, opt.Certificates, opt.MaxConnections = g.keys, g.certificates, g.connections
}

// scheme is that of the server's URLs.
func (g *guardFlags) scheme() string {
	if g.certificates != nil {
		return "https"
	}
	return "http"
}

// watch follows changes of the files, and SIGHUP, which would end the program
// otherwise, until stop is called.
func (g *guardFlags) watch(ctx context.Context, log *slog.Logger) (stop func()) {
	var sources []guard.Source
	if g.keys != nil {
		sources = append(sources, g.keys)
	}
	if g.certificates != nil {
		sources = append(sources, g.certificates)
	}
	if len(sources) == 0 {
		return func() {}
	}
	ctx, end := context.WithCancel(ctx)
	asked := make(chan os.Signal, 1)
	notifyReload(asked)
	var all sync.WaitGroup
	all.Go(func() { guard.Watch(ctx, guardInterval, asked, log, sources...) })
	return func() {
		signal.Stop(asked)
		end()
		all.Wait()
	}
}

// warn tells once of a server that strangers reach.
func (g *guardFlags) warn(log *slog.Logger, on listeners) {
	var open []net.Listener
	for _, ln := range []net.Listener{on.http, on.grpc} {
		if ln == nil {
			continue
		}
		if a, ok := ln.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
			open = append(open, ln)
		}
	}
	switch {
	case len(open) == 0:
	case g.keys == nil && g.files.ClientCA == "":
		log.Warn("whoever reaches this address may use the models: give --keys, or --tls-client-ca, or listen on 127.0.0.1",
			slog.String("address", open[0].Addr().String()))
	case g.keys != nil && g.certificates == nil:
		log.Warn("keys travel unencrypted: give --tls-cert and --tls-key, or put a proxy with TLS before the server",
			slog.String("address", open[0].Addr().String()))
	}
}
