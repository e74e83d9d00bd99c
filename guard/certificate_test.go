package guard_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"weft/guard"
	"weft/guard/guardtest"
)

// shake connects over a pipe and returns what the client sees of the server, and the server's error.
func shake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	client = client.Clone()
	client.ServerName = "localhost"
	failed := make(chan error, 1)
	go func() {
		defer b.Close()
		failed <- tls.Server(b, server).Handshake()
	}()
	c := tls.Client(a, client)
	err := c.Handshake()
	state := c.ConnectionState()
	if err == nil {
		go c.Read(make([]byte, 1)) // a server of TLS 1.3 may refuse after the client is through
	}
	return state, errors.Join(<-failed, err)
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVersionsAndProtocols(t *testing.T) {
	authority := guardtest.NewAuthority(t)
	cert, key, _ := authority.Files(t.TempDir())
	c, err := guard.LoadCertificates(guard.Files{Cert: cert, Key: key}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range []struct {
		most, want uint16
	}{{tls.VersionTLS11, 0}, {tls.VersionTLS12, tls.VersionTLS12}, {0, tls.VersionTLS13}} {
		client := &tls.Config{RootCAs: authority.Pool, MinVersion: tls.VersionTLS10, MaxVersion: v.most, NextProtos: []string{"http/1.1"}}
		state, err := shake(t, c.Config("h2", "http/1.1"), client)
		if (err == nil) != (v.want != 0) || err == nil && (state.Version != v.want || state.NegotiatedProtocol != "http/1.1") {
			t.Errorf("a client of at most %#x: %#x %q, %v", v.most, state.Version, state.NegotiatedProtocol, err)
		}
	}
}

// With authorities of clients, only clients that have a certificate of theirs get in.
func TestClientCertificates(t *testing.T) {
	authority, stranger := guardtest.NewAuthority(t), guardtest.NewAuthority(t)
	cert, key, ca := authority.Files(t.TempDir())
	c, err := guard.LoadCertificates(guard.Files{Cert: cert, Key: key, ClientCA: ca}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	foreign := stranger.Client()
	foreign.RootCAs = authority.Pool
	for name, client := range map[string]*tls.Config{"own": authority.Client(), "none": {RootCAs: authority.Pool}, "foreign": foreign} {
		if _, err := shake(t, c.Config(), client); (err == nil) != (name == "own") {
			t.Errorf("a client with certificate %s: %v", name, err)
		}
	}
	// The authority is replaced: its clients get in no more, even those that were in before.
	client := authority.Client()
	client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	if _, err := shake(t, c.Config(), client); err != nil {
		t.Fatal(err)
	}
	write(t, ca, stranger.PEM)
	if changed, err := c.Reload(time.Now()); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if _, err := shake(t, c.Config(), client); err == nil {
		t.Error("a client of an authority that is gone gets in")
	}
	if _, err := shake(t, c.Config(), foreign); err != nil {
		t.Errorf("a client of the new authority: %v", err)
	}
}

func TestBadCertificates(t *testing.T) {
	authority := guardtest.NewAuthority(t)
	dir := t.TempDir()
	cert, key, ca := authority.Files(dir)
	path := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		write(t, p, data)
		return p
	}
	_, otherKey := authority.Issue(time.Now().Add(time.Hour))
	old, oldKey := authority.Issue(time.Now().Add(-time.Minute))
	early, earlyKey := authority.Issue(time.Now().Add(3 * time.Hour))
	for _, c := range []struct {
		files guard.Files
		want  string
	}{
		{guard.Files{Cert: filepath.Join(dir, "none"), Key: key}, "no such file"},
		{guard.Files{Cert: path("text", []byte("hello")), Key: key}, "failed to find any PEM data in certificate"},
		{guard.Files{Cert: cert, Key: path("other", otherKey)}, "do not go together"},
		{guard.Files{Cert: path("old", old), Key: path("oldkey", oldKey)}, "has expired on " + time.Now().Add(-time.Minute).UTC().Format(time.DateOnly)},
		{guard.Files{Cert: path("early", early), Key: path("earlykey", earlyKey)}, "is valid from"},
		{guard.Files{Cert: cert, Key: key, ClientCA: key}, "no certificate in PEM"},
		{guard.Files{Cert: cert, Key: key, ClientCA: dir}, "is a directory"},
		{guard.Files{Cert: cert, Key: key, ClientCA: ca}, ""},
	} {
		_, err := guard.LoadCertificates(c.files, time.Now())
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.files, err, c.want)
		}
	}
	if os.Getuid() != 0 { // root may read anything
		if err := os.Chmod(key, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := guard.LoadCertificates(guard.Files{Cert: cert, Key: key}, time.Now()); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("a key that may not be read: %v", err)
		}
	}
}

// log is a writer that may be read at the same time.
type log struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *log) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.buf.String(), text)
}

// New certificates are shown without a restart; of bad ones the log tells once,
// and the old ones stay.
func TestWatch(t *testing.T) {
	authority := guardtest.NewAuthority(t)
	cert, key, _ := authority.Files(t.TempDir())
	c, err := guard.LoadCertificates(guard.Files{Cert: cert, Key: key}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	server, client := c.Config(), &tls.Config{RootCAs: authority.Pool}
	serial := func() string {
		t.Helper()
		state, err := shake(t, server, client)
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0].SerialNumber.String()
	}
	ctx, stop := context.WithCancel(t.Context())
	var out log
	var wg sync.WaitGroup
	wg.Go(func() {
		guard.Watch(ctx, time.Millisecond, nil, slog.New(slog.NewTextHandler(&out, nil)), c)
	})
	first := serial()
	write(t, cert, []byte("damaged"))
	await(t, "a bad certificate in the log", func() bool { return out.count("stays in force") > 0 })
	if got := serial(); got != first {
		t.Errorf("after a damaged file the certificate %s is shown, want %s", got, first)
	}
	newCert, newKey := authority.Issue(time.Now().Add(time.Hour))
	write(t, key, newKey)
	write(t, cert, newCert)
	await(t, "the new certificate", func() bool { return serial() != first })
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	await(t, "a missing key in the log", func() bool { return out.count("no such file") > 0 })
	time.Sleep(20 * time.Millisecond)
	stop()
	wg.Wait()
	if n := out.count("no such file"); n != 1 {
		t.Errorf("the log tells %d times of one missing file", n)
	}
}

// A signal has the files read at once, and the log tells again what is wrong with them.
func TestWatchIsAsked(t *testing.T) {
	authority := guardtest.NewAuthority(t)
	cert, key, _ := authority.Files(t.TempDir())
	c, err := guard.LoadCertificates(guard.Files{Cert: cert, Key: key}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var out log
	asked := make(chan os.Signal)
	var wg sync.WaitGroup
	wg.Go(func() {
		guard.Watch(ctx, time.Hour, asked, slog.New(slog.NewTextHandler(&out, nil)), c)
	})
	write(t, cert, []byte("damaged"))
	for range 3 { // the third is taken once the second is done
		asked <- os.Interrupt
	}
	if n := out.count("stays in force"); n < 2 {
		t.Errorf("asked twice, the log tells %d times of a bad certificate", n)
	}
	write(t, cert, good)
	asked <- os.Interrupt
	stop()
	wg.Wait()
	if out.count("files read again") != 1 {
		t.Error("the log does not tell that all is well again")
	}
}

// A certificate whose time has not come is taken once it has, without another change of its
// file; one whose time is over is an error from then on.
func TestCertificateInItsTime(t *testing.T) {
	authority := guardtest.NewAuthority(t)
	cert, key, _ := authority.Files(t.TempDir())
	now := time.Now()
	c, err := guard.LoadCertificates(guard.Files{Cert: cert, Key: key}, now)
	if err != nil {
		t.Fatal(err)
	}
	newCert, newKey := authority.Issue(now.Add(3 * time.Hour)) // from now+1h
	write(t, cert, newCert)
	write(t, key, newKey)
	for _, step := range []struct {
		at      time.Duration
		changed bool
		want    string
	}{
		{0, false, "is valid from"},
		{time.Second, false, "is valid from"},
		{61 * time.Minute, true, ""},
		{2 * time.Hour, false, ""},
		{4 * time.Hour, false, "has expired"},
		{5 * time.Hour, false, "has expired"},
	} {
		changed, err := c.Reload(now.Add(step.at))
		if changed != step.changed || (err == nil) != (step.want == "") || err != nil && !strings.Contains(err.Error(), step.want) {
			t.Errorf("after %v: %v, %v; want %v, %q", step.at, changed, err, step.changed, step.want)
		}
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %s after 5 s", what)
		}
	}
}

// FuzzPEM: whatever stands in the files of certificates is an error or a configuration.
func FuzzPEM(f *testing.F) {
	authority := guardtest.NewAuthority(f)
	cert, key := authority.Issue(time.Now().Add(time.Hour))
	f.Add(cert, key, authority.PEM)
	f.Add([]byte{}, key, []byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"))
	f.Fuzz(func(t *testing.T, cert, key, ca []byte) {
		dir := t.TempDir()
		files := guard.Files{Cert: filepath.Join(dir, "c"), Key: filepath.Join(dir, "k"), ClientCA: filepath.Join(dir, "a")}
		write(t, files.Cert, cert)
		write(t, files.Key, key)
		write(t, files.ClientCA, ca)
		if c, err := guard.LoadCertificates(files, time.Now()); err == nil && c.Config() == nil {
			t.Error("neither a configuration nor an error")
		}
	})
}
