// Package guardtest makes certificates for tests.
package guardtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority issues certificates.
type Authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	// PEM is its certificate.
	PEM []byte
	// Pool has its certificate alone.
	Pool *x509.CertPool
}

// NewAuthority returns an authority of its own.
func NewAuthority(t testing.TB) *Authority {
	t.Helper()
	a := &Authority{t: t, Pool: x509.NewCertPool()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	a.cert, a.PEM, a.key = a.sign(template, nil)
	a.Pool.AddCert(a.cert)
	return a
}

// sign returns the template as a certificate that a, or by itself if parent is nil, has signed.
func (a *Authority) sign(template, parent *x509.Certificate) (*x509.Certificate, []byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	a.must(err)
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62))
	a.must(err)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	a.must(err)
	cert, err := x509.ParseCertificate(der)
	a.must(err)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key
}

func (a *Authority) must(err error) {
	a.t.Helper()
	if err != nil {
		a.t.Fatal(err)
	}
}

// Issue returns certificate and key in PEM, for 127.0.0.1 and localhost, for
// servers and clients, valid until the time.
func (a *Authority) Issue(until time.Time) (cert, key []byte) {
	a.t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		NotBefore: until.Add(-2 * time.Hour), NotAfter: until,
	}
	_, cert, private := a.sign(template, a.cert)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	a.must(err)
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Files writes a fresh certificate, its key and the authority's certificate
// into a folder, as cert.pem, key.pem and ca.pem.
func (a *Authority) Files(dir string) (cert, key, ca string) {
	a.t.Helper()
	certPEM, keyPEM := a.Issue(time.Now().Add(time.Hour))
	cert, key, ca = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "ca.pem")
	for path, data := range map[string][]byte{cert: certPEM, key: keyPEM, ca: a.PEM} {
		a.must(os.WriteFile(path, data, 0o600))
	}
	return cert, key, ca
}

// Client returns the configuration of a client that trusts the authority and
// has a certificate of its own.
func (a *Authority) Client() *tls.Config {
	a.t.Helper()
	pair, err := tls.X509KeyPair(a.Issue(time.Now().Add(time.Hour)))
	a.must(err)
	return &tls.Config{RootCAs: a.Pool, Certificates: []tls.Certificate{pair}}
}
