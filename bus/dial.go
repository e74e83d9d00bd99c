package bus

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Credentials say who connects, in one of three ways: user and password, a token, or the file of a NATS user
// (JWT and seed). Without any of them the server must be open or know the client by its certificate.
type Credentials struct {
	User, Password string
	Token          string
	File           string // only towards a server elsewhere
}

// TLS names PEM files. A client needs CA only if the system does not trust the server already, and Cert with Key if the
// server asks for a certificate. A server needs Cert and Key; with CA it asks its clients for a certificate.
type TLS struct {
	CA, Cert, Key string
}

// DialOptions says how to connect to a bus elsewhere.
type DialOptions struct {
	Name   string // told to the server, for its operators
	Auth   Credentials
	TLS    TLS
	Logger *slog.Logger // nil: quiet
}

// Dial connects to a NATS server or cluster with JetStream, version 2.11 or later, at one or more addresses such as
// nats://host:4222. It tries until ctx ends if no server answers, and gives up at once if one refuses the credentials.
// Later on, a lost connection comes back by itself.
func Dial(ctx context.Context, urls []string, o DialOptions) (*NATS, error) {
	where := strings.Join(urls, ",")
	opts, err := o.options()
	if err != nil {
		return nil, fmt.Errorf("connect to bus %s: %w", where, err)
	}
	n := newNATS(o.Logger)
	wait := newBackoff()
	for said := false; ; said = true {
		err = n.connect(where, opts)
		if err == nil {
			return n, nil
		}
		if refused(err) {
			return nil, fmt.Errorf("connect to bus %s: the server refuses us: check user, password, token, credentials file or certificate: %w", where, err)
		}
		if !said {
			n.logger.Warn("the bus does not answer: check address and network; trying again", "url", where, "error", err)
		}
		if wait.sleep(ctx) != nil {
			return nil, fmt.Errorf("connect to bus %s: no server answers: check address and network: %w", where, err)
		}
	}
}

// refused says that trying again is of no use.
func refused(err error) bool {
	var cert *tls.CertificateVerificationError
	var alert *net.OpError // what the server's TLS has against us
	return errors.As(err, &cert) || errors.As(err, &alert) && alert.Op == "remote error" ||
		isAny(err, nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrTLS,
			nats.ErrSecureConnRequired, nats.ErrSecureConnWanted)
}

// options translates into those of the NATS client.
func (o *DialOptions) options() ([]nats.Option, error) {
	opts := []nats.Option{
		nats.Name(o.Name), nats.Timeout(2 * time.Second),
		nats.MaxReconnects(-1), nats.IgnoreAuthErrorAbort(),
		nats.ReconnectWait(100 * time.Millisecond), nats.ReconnectJitter(200*time.Millisecond, 400*time.Millisecond),
		nats.ReconnectBufSize(-1), // rather an error now than a message from the past later
		nats.PingInterval(2 * time.Second), nats.MaxPingsOutstanding(2),
	}
	switch a := o.Auth; {
	case a.File != "":
		if _, err := os.Stat(a.File); err != nil {
			return nil, fmt.Errorf("read the credentials: %w", err)
		}
		opts = append(opts, nats.UserCredentials(a.File))
	case a.Token != "":
		opts = append(opts, nats.Token(a.Token))
	case a.User != "":
		opts = append(opts, nats.UserInfo(a.User, a.Password))
	}
	if o.TLS != (TLS{}) {
		config, err := o.TLS.client()
		if err != nil {
			return nil, err
		}
		opts = append(opts, nats.Secure(config))
	}
	return opts, nil
}

// client returns the configuration of the side that connects.
func (t TLS) client() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		pool, err := t.pool()
		if err != nil {
			return nil, err
		}
		c.RootCAs = pool
	}
	if t.Cert != "" || t.Key != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("load the certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// server returns the configuration of the side that listens.
func (t TLS) server() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
	if err != nil {
		return nil, fmt.Errorf("load the certificate: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if t.CA != "" {
		if c.ClientCAs, err = t.pool(); err != nil {
			return nil, err
		}
		c.RootCAs = c.ClientCAs // a server of a cluster connects to the others too
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, nil
}

func (t TLS) pool() (*x509.CertPool, error) {
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("load the certificate authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("load the certificate authority: %s holds no certificate in PEM", t.CA)
	}
	return pool, nil
}

// connect tries each server once.
func (n *NATS) connect(urls string, opts []nats.Option) error {
	nc, err := nats.Connect(urls, append(opts, n.handlers()...)...)
	if err != nil {
		return err
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return err
	}
	n.nc, n.js = nc, js
	return nil
}
