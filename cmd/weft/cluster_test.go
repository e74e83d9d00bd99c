package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weft/experiments/cluster"
)

// The tests of this file run weft as processes whose executors sleep, as experiments/cluster
// does at greater length.

func newLab(t *testing.T) *cluster.Lab {
	t.Helper()
	if testing.Short() {
		t.Skip("starts processes")
	}
	program, err := exec.LookPath("weft")
	if err != nil {
		t.Fatal(err)
	}
	l, err := cluster.NewLab(program, t.TempDir(), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// serveWith starts a router with its bus, and so many workers.
func serveWith(t *testing.T, l *cluster.Lab, workers int, args ...string) (*cluster.Server, []*cluster.Process) {
	t.Helper()
	args = append([]string{
		"--http", "127.0.0.1:0", "--bus-listen", "127.0.0.1:0", "--state-dir", filepath.Join(l.Dir, "state"), "--lease", "250ms",
	}, args...)
	s, err := l.Serve(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	all, err := l.Workers(s.Bus, workers)
	if err != nil {
		t.Fatal(err)
	}
	if workers > 0 {
		check(t, s.Ready(t.Context(), workers))
	}
	return s, all
}

// loaded puts a load on the server, meanwhile calls during, and checks that no request was
// lost or answered twice.
func loaded(t *testing.T, s *cluster.Server, rate float64, length time.Duration, during func()) *cluster.Account {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var a *cluster.Account
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		a, err = s.Load(ctx, rate, 800*time.Millisecond, length, 1)
	}()
	during()
	<-ended
	check(t, err)
	if a.Lost > 0 || a.Twice > 0 || a.Sent == 0 {
		t.Errorf("of %d requests %d were lost and %d answered twice: %v", a.Sent, a.Lost, a.Twice, a.Errors)
	}
	t.Log(a)
	return a
}

// Workers that are killed, freeze, or leave under load cost no request.
func TestClusterLosesWorkers(t *testing.T) {
	l := newLab(t)
	s, w := serveWith(t, l, 4)
	ctx := t.Context()
	a := loaded(t, s, 150, 4*time.Second, func() {
		time.Sleep(500 * time.Millisecond)
		w[0].Kill()
		check(t, s.AwaitWorkers(ctx, 3))
		w[1].Freeze()
		check(t, s.AwaitWorkers(ctx, 2))
		time.Sleep(500 * time.Millisecond)
		w[1].Thaw()
		check(t, s.AwaitWorkers(ctx, 3))
		if err := w[2].Stop(ctx); err != nil {
			t.Errorf("a worker that leaves ends with %v", err)
		}
		check(t, s.AwaitWorkers(ctx, 2))
		_, err := l.Worker("late", s.Bus)
		check(t, err)
		check(t, s.AwaitWorkers(ctx, 3))
	})
	if a.Attainment < 0.98 {
		t.Errorf("attainment %.4f", a.Attainment)
	}
	if a.Retried == 0 {
		t.Error("no request was retried, although workers were lost with batches in them")
	}
}

// A worker that leaves answers what it has.
func TestClusterDrainsAWorker(t *testing.T) {
	l := newLab(t)
	s, w := serveWith(t, l, 2)
	a := loaded(t, s, 100, 1500*time.Millisecond, func() {
		time.Sleep(500 * time.Millisecond)
		if err := w[0].Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	if a.Attainment < 0.98 {
		t.Errorf("attainment %.4f: leaving is no loss", a.Attainment)
	}
}

// Requests wait for workers, and are refused by their deadline when none comes.
func TestClusterWithoutWorkers(t *testing.T) {
	l := newLab(t)
	s, w := serveWith(t, l, 1)
	ctx := t.Context()
	w[0].Kill()
	check(t, s.AwaitWorkers(ctx, 0))
	a := loaded(t, s, 50, 500*time.Millisecond, func() {})
	if a.Refused != a.Sent {
		t.Errorf("without a worker %d of %d requests were refused", a.Refused, a.Sent)
	}
	a = loaded(t, s, 50, 300*time.Millisecond, func() {
		_, err := l.Worker("late", s.Bus)
		check(t, err)
	})
	if a.Answered == 0 {
		t.Error("no request waited for the worker that came")
	}
	check(t, s.AwaitWorkers(ctx, 1))
}

// A router that was killed finds its workers again, which run on, and so does a worker whose
// router comes back.
func TestClusterRouterRestarts(t *testing.T) {
	l := newLab(t)
	s, _ := serveWith(t, l, 2)
	ctx := t.Context()
	busAddress := strings.TrimPrefix(s.Bus, "nats://")
	s.Kill()
	start := time.Now()
	s, err := l.Serve(ctx, "--http", "127.0.0.1:0", "--bus-listen", busAddress, "--state-dir", filepath.Join(l.Dir, "state"), "--lease", "250ms")
	check(t, err)
	check(t, s.Ready(ctx, 2))
	t.Logf("two workers %v after the start", time.Since(start))
	a := loaded(t, s, 100, 500*time.Millisecond, func() {})
	if a.Attainment < 0.98 {
		t.Errorf("attainment %.4f after the restart", a.Attainment)
	}
}

// Batches do not need the bus.
func TestClusterLosesTheBus(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	b, url, err := l.Bus(ctx, "bus", "--listen", "127.0.0.1:0")
	check(t, err)
	s, err := l.Serve(ctx, "--http", "127.0.0.1:0", "--bus", url, "--lease", "250ms")
	check(t, err)
	_, err = l.Workers(url, 2)
	check(t, err)
	check(t, s.Ready(ctx, 2))
	a := loaded(t, s, 100, 1500*time.Millisecond, func() {
		time.Sleep(300 * time.Millisecond)
		b.Kill()
	})
	if a.Attainment < 0.98 {
		t.Errorf("attainment %.4f without the bus", a.Attainment)
	}
	_, _, err = l.Bus(ctx, "bus", "--listen", strings.TrimPrefix(url, "nats://"))
	check(t, err)
	_, err = l.Worker("late", url)
	check(t, err)
	check(t, s.AwaitWorkers(ctx, 3))
}

// A worker behind a network that is cut is lost, and comes back with the network.
func TestClusterNetworkCut(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	n, err := cluster.NewNetwork(ctx)
	if err != nil {
		t.Skipf("needs root and ip netns: %v", err)
	}
	t.Cleanup(n.Close)
	token, err := l.Token()
	check(t, err)
	s, err := l.Serve(ctx, "--http", "127.0.0.1:0", "--bus-listen", n.Here+":0", "--bus-token", token, "--state-dir", filepath.Join(l.Dir, "state"), "--lease", "250ms")
	check(t, err)
	_, err = l.Worker("near", s.Bus, "--bus-token", token)
	check(t, err)
	_, err = l.WorkerIn(n.Prefix(), "far", s.Bus, "--bus-token", token, "--listen", "0.0.0.0:0", "--insecure")
	check(t, err)
	check(t, s.Ready(ctx, 2))
	a := loaded(t, s, 80, 3*time.Second, func() {
		time.Sleep(500 * time.Millisecond)
		check(t, n.Cut(ctx))
		check(t, s.AwaitWorkers(ctx, 1))
		check(t, n.Mend(ctx))
		check(t, s.AwaitWorkers(ctx, 2))
	})
	if a.Attainment < 0.98 {
		t.Errorf("attainment %.4f", a.Attainment)
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// With certificates the bus and the streams are encrypted, and who has none of the cluster's joins neither.
func TestClusterOverTLS(t *testing.T) {
	l := newLab(t)
	ctx := t.Context()
	flags := certificates(t)
	s, err := l.Serve(ctx, append([]string{
		"--http", "127.0.0.1:0", "--bus-listen", "127.0.0.1:0", "--state-dir", filepath.Join(l.Dir, "state"),
	}, flags...)...)
	check(t, err)
	_, err = l.Worker("known", s.Bus, flags...)
	check(t, err)
	check(t, s.Ready(ctx, 1))
	loaded(t, s, 50, 300*time.Millisecond, func() {})
	stranger, err := l.Worker("stranger", s.Bus, certificates(t)...)
	check(t, err)
	_, err = stranger.Await(ctx, `certificate`)
	check(t, err)
	open, err := l.Worker("open", s.Bus)
	check(t, err)
	_, err = open.Await(ctx, `the server refuses us`)
	check(t, err)
}

// certificates returns the flags of a machine of a cluster of its own.
func certificates(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600))
		return path
	}
	certFile := write("cert.pem", "CERTIFICATE", cert)
	return []string{"--cluster-cert", certFile, "--cluster-key", write("key.pem", "PRIVATE KEY", private), "--cluster-ca", certFile}
}
