package guard

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// Files are those of a TLS server, in PEM.
type Files struct {
	// Cert is the certificate, with those between it and the authority's after it.
	Cert string
	// Key is the certificate's private key.
	Key string
	// ClientCA has the authorities of which clients must have a certificate. "":
	// clients need none.
	ClientCA string
}

// Certificates are what a TLS server shows, and wants to see. It is safe for
// concurrent use.
type Certificates struct {
	files  Files
	seen   [3][]byte // contents of the files of config
	config atomic.Pointer[tls.Config]
}

// LoadCertificates reads the files.
func LoadCertificates(f Files, now time.Time) (*Certificates, error) {
	c := &Certificates{files: f}
	_, err := c.Reload(now)
	return c, err
}

// Reload reads the files again and reports whether they have changed. They take
// effect for connections that begin from then on. After an error the
// certificates are what they were; one is that they have expired meanwhile. It is
// for one goroutine at a time.
func (c *Certificates) Reload(now time.Time) (changed bool, err error) {
	var data [3][]byte
	for i, path := range []string{c.files.Cert, c.files.Key, c.files.ClientCA} {
		if path == "" {
			continue
		}
		if data[i], err = readFile(path); err != nil {
			return false, fmt.Errorf("read certificate: %w", err)
		}
	}
	if in := c.config.Load(); in != nil && slices.EqualFunc(c.seen[:], data[:], bytes.Equal) {
		return false, c.valid(in.Certificates[0].Leaf, now)
	}
	config, err := c.parse(data, now)
	if err != nil {
		return false, err
	}
	c.seen = data
	c.config.Store(config)
	return true, nil
}

// String names what Reload reads.
func (c *Certificates) String() string { return "certificates" }

func (c *Certificates) parse(data [3][]byte, now time.Time) (*tls.Config, error) {
	pair, err := tls.X509KeyPair(data[0], data[1])
	if err != nil {
		return nil, fmt.Errorf("the certificate %s and the key %s do not go together: %w", c.files.Cert, c.files.Key, err)
	}
	if err := c.valid(pair.Leaf, now); err != nil {
		return nil, err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if c.files.ClientCA == "" {
		return config, nil
	}
	if config.ClientCAs, err = Pool(data[2]); err != nil {
		return nil, fmt.Errorf("%s: %w", c.files.ClientCA, err)
	}
	config.ClientAuth = tls.RequireAndVerifyClientCert
	config.SessionTicketsDisabled = true // a client whose authority is no longer there must not resume
	return config, nil
}

// valid reports an error unless the certificate is valid now.
func (c *Certificates) valid(leaf *x509.Certificate, now time.Time) error {
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the certificate %s has expired on %s: renew it", c.files.Cert, leaf.NotAfter.Format(time.DateOnly))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the certificate %s is valid from %s on: check the clock", c.files.Cert, leaf.NotBefore.Format(time.RFC3339))
	}
	return nil
}

// Config returns the configuration of a server that speaks the protocols of
// ALPN. Each connection gets what was read last.
func (c *Certificates) Config(protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			config := c.config.Load().Clone()
			config.NextProtos = protocols
			return config, nil
		},
	}
}

// Pool returns the authorities of certificates in PEM.
func Pool(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("there is no certificate in PEM")
	}
	return pool, nil
}
