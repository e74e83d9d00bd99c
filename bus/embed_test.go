package bus_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"weft/bus"
)

// refuses expects Dial to give up at once with a sentence.
func refuses(t *testing.T, url string, o bus.DialOptions, sentence string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	n, err := bus.Dial(ctx, []string{url}, o)
	if err == nil {
		n.Close()
		t.Fatalf("connected to %s without the right to", url)
	}
	if !strings.Contains(err.Error(), sentence) || ctx.Err() != nil {
		t.Errorf("got %q (context: %v), want %q in it", err, ctx.Err(), sentence)
	}
}

const refusedSentence = "the server refuses us: check user, password, token, credentials file or certificate"

func TestCredentials(t *testing.T) {
	t.Parallel()
	for name, right := range map[string]bus.Credentials{
		"password": {User: "weft", Password: "secret"},
		"token":    {Token: "t0ken"},
	} {
		t.Run(name, func(t *testing.T) {
			e := embed(t, bus.EmbedOptions{Listen: "127.0.0.1:0", StateDir: t.TempDir(), Auth: right})
			dial(t, e.URL(), bus.DialOptions{Auth: right}).Close()
			if right.User != "" {
				dial(t, strings.Replace(e.URL(), "://", "://weft:secret@", 1), bus.DialOptions{}).Close()
			}
			for _, wrong := range []bus.Credentials{{}, {User: "weft", Password: "x"}, {User: "x", Password: "secret"}, {Token: "x"}} {
				refuses(t, e.URL(), bus.DialOptions{Auth: wrong}, refusedSentence)
			}
		})
	}
	missing := bus.DialOptions{Auth: bus.Credentials{File: filepath.Join(t.TempDir(), "none.creds")}}
	refuses(t, "nats://127.0.0.1:1", missing, "read the credentials")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	var log bytes.Buffer
	o := bus.DialOptions{Logger: slog.New(slog.NewTextHandler(&log, nil))}
	if _, err := bus.Dial(ctx, []string{"nats://127.0.0.1:1"}, o); err == nil || !strings.Contains(err.Error(), "no server answers: check address and network") {
		t.Errorf("dial nobody: %v", err)
	}
	if strings.Count(log.String(), "the bus does not answer") != 1 {
		t.Errorf("whoever waits for a bus is to be told once: %q", log.String())
	}
}

func TestEmbedRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for sentence, o := range map[string]bus.EmbedOptions{
		"name a folder to keep its state":           {},
		"set a password, a token":                   {Listen: "0.0.0.0:0", StateDir: t.TempDir()},
		"set a password, a token, or a certificate": {Listen: ":0", StateDir: t.TempDir()},
		"use host:port":                             {Listen: "127.0.0.1", StateDir: t.TempDir()},
		"address already in use":                    {Listen: taken.Addr().String(), StateDir: t.TempDir()},
		"not a directory":                           {StateDir: file},
		"load the certificate":                      {StateDir: t.TempDir(), TLS: bus.TLS{Cert: file, Key: file}},
		"name this server of cluster c":             {StateDir: t.TempDir(), Cluster: bus.EmbedCluster{Name: "c", Listen: "127.0.0.1:0"}},
		"anybody who reaches 0.0.0.0:6999":          {StateDir: t.TempDir(), Cluster: bus.EmbedCluster{Name: "c", Server: "a", Listen: "0.0.0.0:6999"}},
		"takes a user with password or a token":     {StateDir: t.TempDir(), Auth: bus.Credentials{File: file}},
	} {
		e, err := bus.Embed(t.Context(), o)
		if err == nil {
			e.Close()
			t.Errorf("started with %+v, want %q", o, sentence)
		} else if !strings.Contains(err.Error(), sentence) || !strings.HasPrefix(err.Error(), "start bus: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %q, want %q in it", err, sentence)
		}
	}
	e := embed(t, bus.EmbedOptions{Listen: "0.0.0.0:0", StateDir: t.TempDir(), Open: true})
	if !e.Status().Connected {
		t.Error("not connected though it was allowed explicitly")
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := newAuthority(t, dir, "ca")
	strangers := newAuthority(t, dir, "strangers")
	server := bus.TLS{CA: ca.file, Cert: ca.issue(t, "server"), Key: filepath.Join(dir, "server.key")}
	client := bus.TLS{CA: ca.file, Cert: ca.issue(t, "client"), Key: filepath.Join(dir, "client.key")}
	e := embed(t, bus.EmbedOptions{Listen: "127.0.0.1:0", StateDir: t.TempDir(), TLS: server})
	if !strings.HasPrefix(e.URL(), "tls://") {
		t.Errorf("URL %s", e.URL())
	}
	n := dial(t, e.URL(), bus.DialOptions{TLS: client})
	defer n.Close()
	b, err := n.Bucket(t.Context(), "b", bus.BucketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Put(t.Context(), "k", nil); err != nil {
		t.Error(err)
	}
	stranger := bus.TLS{CA: ca.file, Cert: strangers.issue(t, "stranger"), Key: filepath.Join(dir, "stranger.key")}
	refuses(t, e.URL(), bus.DialOptions{TLS: stranger}, refusedSentence)
	refuses(t, e.URL(), bus.DialOptions{TLS: bus.TLS{CA: ca.file}}, refusedSentence)
	refuses(t, e.URL(), bus.DialOptions{TLS: bus.TLS{CA: strangers.file, Cert: client.Cert, Key: client.Key}}, refusedSentence)
	refuses(t, e.URL(), bus.DialOptions{}, refusedSentence)
	refuses(t, e.URL(), bus.DialOptions{TLS: bus.TLS{CA: client.Key}}, "holds no certificate")
}

// authority signs certificates.
type authority struct {
	dir, file string
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
}

func newAuthority(t *testing.T, dir, name string) *authority {
	t.Helper()
	a := &authority{dir: dir}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert = template
	a.file, a.cert, a.key = a.write(t, name, template)
	return a
}

// issue writes a certificate for 127.0.0.1 and its key.
func (a *authority) issue(t *testing.T, name string) string {
	t.Helper()
	file, _, _ := a.write(t, name, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	})
	return file
}

func (a *authority) write(t *testing.T, name string, template *x509.Certificate) (string, *x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer := a.key
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(a.dir, name+".pem")
	for f, block := range map[string]*pem.Block{
		file: {Type: "CERTIFICATE", Bytes: der}, filepath.Join(a.dir, name+".key"): {Type: "PRIVATE KEY", Bytes: keyDER},
	} {
		if err := os.WriteFile(f, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return file, cert, key
}

// A store that is full refuses more, keeps what it has, and takes more once something was deleted.
func TestLimit(t *testing.T) {
	t.Parallel()
	e := embed(t, bus.EmbedOptions{StateDir: t.TempDir(), MaxBytes: 8 << 20})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if e.URL() != "" {
		t.Errorf("listens on %s, which nobody asked for", e.URL())
	}
	o, err := e.Objects(ctx, "o")
	if err != nil {
		t.Fatal(err)
	}
	first, err := o.Put(ctx, io.LimitReader(rand.Reader, 5<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Put(ctx, io.LimitReader(rand.Reader, 5<<20)); !errors.Is(err, bus.ErrFull) {
		t.Fatalf("put more than there is room for: %v, want ErrFull", err)
	}
	list, err := o.List(ctx)
	if err != nil || len(list) != 1 || list[0] != first {
		t.Errorf("listed %v, %v", list, err)
	}
	small, err := o.Put(ctx, bytes.NewReader([]byte("small"))) // the parts of what did not fit are gone
	if err != nil {
		t.Error(err)
	}
	for _, object := range []bus.Object{first, small} {
		if err := o.Delete(ctx, object.Digest); err != nil {
			t.Error(err)
		}
	}
	if _, err := o.Put(ctx, io.LimitReader(rand.Reader, 5<<20)); err != nil {
		t.Errorf("put after a deletion: %v", err)
	}
}

// Three servers in this process form a cluster and outlive one of them.
func TestEmbeddedCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for an election")
	}
	t.Parallel()
	ports := freePorts(t, 3)
	var routes []string
	for _, p := range ports {
		routes = append(routes, fmt.Sprintf("nats://127.0.0.1:%d", p))
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []*bus.Embedded
	for i, p := range ports {
		all = append(all, embed(t, bus.EmbedOptions{
			StateDir: t.TempDir(), Auth: bus.Credentials{Token: "t0ken"},
			Cluster: bus.EmbedCluster{Name: "c", Server: fmt.Sprintf("n%d", i), Listen: fmt.Sprintf("127.0.0.1:%d", p), Routes: routes},
		}))
	}
	one, err := all[0].Bucket(ctx, "b", bus.BucketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	two, err := all[1].Bucket(ctx, "b", bus.BucketOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := all[0].Replicas(t, "KV_b"); n != 3 {
		t.Errorf("kept %d times, want 3", n)
	}
	if _, err := one.Put(ctx, "k", []byte("v")); err != nil {
		t.Fatal(err)
	}
	if err := all[2].Close(); err != nil {
		t.Error(err)
	}
	if _, err := two.Put(ctx, "k2", nil); err != nil {
		t.Errorf("with two of three servers: %v", err)
	}
	if e, err := two.Get(ctx, "k"); err != nil || string(e.Value) != "v" {
		t.Errorf("got %v, %v", e, err)
	}
}

// Nothing runs on after Close.
func TestCloseEndsGoroutines(t *testing.T) {
	before := runtime.NumGoroutine()
	m := bus.NewMemory()
	e, err := bus.Embed(t.Context(), bus.EmbedOptions{Listen: "127.0.0.1:0", StateDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	n := dial(t, e.URL(), bus.DialOptions{})
	for _, b := range []bus.Bus{m, e, n} {
		for range 3 {
			if _, err := b.Subscribe(t.Context(), "s.>", func(bus.Message) {}); err != nil {
				t.Error(err)
			}
			bucket, err := b.Bucket(t.Context(), "b", bus.BucketOptions{TTL: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			changes, err := bucket.Watch(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			<-changes
		}
	}
	if runtime.NumGoroutine() < before+9 {
		t.Error("nothing runs that could be ended")
	}
	for _, b := range []bus.Bus{m, n, e} {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}
