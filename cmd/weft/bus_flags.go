package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"google.golang.org/grpc/credentials"

	"weft/bus"
)

// busFlags say where the bus is and how a machine of the cluster proves that it is one.
type busFlags struct {
	urls             []string
	creds, tokenFile string
	tls              bus.TLS
}

func (b *busFlags) flags(f *pflag.FlagSet, usage string) {
	f.StringSliceVar(&b.urls, "bus", nil, usage)
	f.StringVar(&b.creds, "bus-creds", "", "file of a NATS user's credentials")
	b.proofFlags(f)
}

// proofFlags are those that the bus itself has too.
func (b *busFlags) proofFlags(f *pflag.FlagSet) {
	f.StringVar(&b.tokenFile, "bus-token", "", "file with the token that opens the bus")
	f.StringVar(&b.tls.Cert, "cluster-cert", "", "certificate of this machine, in PEM: with it, bus and workers' streams use TLS")
	f.StringVar(&b.tls.Key, "cluster-key", "", "private key of --cluster-cert, in PEM")
	f.StringVar(&b.tls.CA, "cluster-ca", "", "authorities of the cluster's certificates, in PEM; with --cluster-cert, both sides must have one of theirs")
}

func (b *busFlags) validate() error {
	switch {
	case (b.tls.Cert == "") != (b.tls.Key == ""):
		return usagef("--cluster-cert and --cluster-key go together: give both or none")
	case b.tls.Cert != "" && b.tls.CA == "":
		return usagef("--cluster-cert needs --cluster-ca, by which the others' certificates are checked")
	case b.creds != "" && b.tokenFile != "":
		return usagef("--bus-creds and --bus-token: choose one")
	}
	return nil
}

// auth reads the token.
func (b *busFlags) auth() (bus.Credentials, error) {
	c := bus.Credentials{File: b.creds}
	if b.tokenFile != "" {
		raw, err := os.ReadFile(b.tokenFile)
		if err != nil {
			return c, fmt.Errorf("read the token of the bus: %w", err)
		}
		if c.Token = strings.TrimSpace(string(raw)); c.Token == "" {
			return c, fmt.Errorf("%s holds no token", b.tokenFile)
		}
	}
	return c, nil
}

// dial connects to the bus.
func (b *busFlags) dial(ctx context.Context, name string, log *slog.Logger) (*bus.NATS, error) {
	auth, err := b.auth()
	if err != nil {
		return nil, err
	}
	return bus.Dial(ctx, b.urls, bus.DialOptions{Name: name, Auth: auth, TLS: b.tls, Logger: log})
}

// credentials are those of streams between routers and workers: mutual TLS, or nil without certificates.
func (b *busFlags) credentials(server bool) (credentials.TransportCredentials, error) {
	if b.tls.Cert == "" {
		return nil, nil //nolint:nilnil // there are none
	}
	pair, err := tls.LoadX509KeyPair(b.tls.Cert, b.tls.Key)
	if err != nil {
		return nil, fmt.Errorf("load the cluster's certificate: %w", err)
	}
	pem, err := os.ReadFile(b.tls.CA)
	if err != nil {
		return nil, fmt.Errorf("load the cluster's authorities: %w", err)
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", b.tls.CA)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}}
	if server {
		c.ClientCAs, c.ClientAuth = authorities, tls.RequireAndVerifyClientCert
	} else {
		c.RootCAs = authorities
	}
	return credentials.NewTLS(c), nil
}
