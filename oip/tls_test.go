package oip_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"weft/guard"
	"weft/guard/guardtest"
	"weft/oip"
	pb "weft/oip/inference"
	"weft/serve"
)

// start serves the handler, by way of root, over HTTP on a loopback port and returns its address.
func start(t testing.TB, h *oip.Handler, root http.Handler) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(ctx, ln, root) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

// dialTLS returns a client of the gRPC service over TLS.
func dialTLS(t testing.TB, address string, config *tls.Config) pb.GRPCInferenceServiceClient {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return pb.NewGRPCInferenceServiceClient(conn)
}

// A server with certificates speaks HTTP/1.1, HTTP/2 and gRPC over TLS to
// clients that have one of theirs, to nobody else, and nothing without TLS.
func TestTLS(t *testing.T) {
	authority, stranger := guardtest.NewAuthority(t), guardtest.NewAuthority(t)
	cert, key, ca := authority.Files(t.TempDir())
	certificates, err := guard.LoadCertificates(guard.Files{Cert: cert, Key: key, ClientCA: ca}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	h := oip.NewHandler(s, oip.Options{Certificates: certificates})
	web, rpc := start(t, h, h), serveGRPC(t, h)
	foreign := stranger.Client()
	foreign.RootCAs = authority.Pool
	for name, config := range map[string]*tls.Config{"own": authority.Client(), "none": {RootCAs: authority.Pool}, "foreign": foreign, "distrusting": {}} {
		ok := name == "own"
		for _, two := range []bool{false, true} {
			transport := &http.Transport{TLSClientConfig: config.Clone(), Protocols: new(http.Protocols)}
			transport.Protocols.SetHTTP1(!two)
			transport.Protocols.SetHTTP2(two)
			resp, err := (&http.Client{Transport: transport}).Get("https://" + web + "/v2")
			if (err == nil) != ok || ok && (resp.StatusCode != 200 || (resp.ProtoMajor == 2) != two) {
				t.Errorf("certificate %s, HTTP/2 %v: %v, %v", name, two, resp, err)
			}
			if err == nil {
				resp.Body.Close()
			}
			transport.CloseIdleConnections()
		}
		client, err := oip.Dial("https://"+web, oip.ClientOptions{TLS: config})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(client.Close)
		m, err := client.Model(t.Context(), "toy")
		if err == nil {
			err = m.InferInto(t.Context(), &serve.Request{N: 1, Pixels: make([]byte, 4)}, new(serve.Response))
		}
		if (err == nil) != ok {
			t.Errorf("certificate %s, this package's client: %v", name, err)
		}
		_, err = dialTLS(t, rpc, config).ModelInfer(t.Context(), toyMessage())
		if status.Code(err) != map[bool]codes.Code{true: codes.OK, false: codes.Unavailable}[ok] {
			t.Errorf("certificate %s over gRPC: %v", name, err)
		}
	}
	if resp, err := http.Get("http://" + web + "/v2"); err != nil || resp.StatusCode != 400 {
		t.Errorf("without TLS: %v, %v", resp, err)
	}
	_, err = dialGRPC(t, rpc).ModelInfer(t.Context(), toyMessage())
	refused(t, err, codes.Unavailable, "")
}

// New certificates are shown to new connections of either transport while the server runs; those that are open go on.
func TestCertificatesAreReplaced(t *testing.T) {
	before, after := guardtest.NewAuthority(t), guardtest.NewAuthority(t)
	cert, key, _ := before.Files(t.TempDir())
	certificates, err := guard.LoadCertificates(guard.Files{Cert: cert, Key: key}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t, serve.Options{}, toy(t, linear{size: 4, classes: 3}))
	h := oip.NewHandler(s, oip.Options{Certificates: certificates})
	web, rpc := start(t, h, h), serveGRPC(t, h)
	get := func(a *guardtest.Authority) error {
		client, err := oip.Dial("https://"+web, oip.ClientOptions{TLS: &tls.Config{RootCAs: a.Pool}})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		return client.Ready(t.Context())
	}
	open := dialTLS(t, rpc, &tls.Config{RootCAs: before.Pool})
	infer := func(c pb.GRPCInferenceServiceClient) error {
		_, err := c.ModelInfer(t.Context(), toyMessage())
		return err
	}
	if err := get(before); err != nil {
		t.Fatal(err)
	}
	if err := infer(open); err != nil {
		t.Fatal(err)
	}
	newCert, newKey := after.Issue(time.Now().Add(time.Hour))
	for path, data := range map[string][]byte{cert: newCert, key: newKey} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if changed, err := certificates.Reload(time.Now()); !changed || err != nil {
		t.Fatal(changed, err)
	}
	if err := get(after); err != nil {
		t.Errorf("a new client: %v", err)
	}
	if err := get(before); err == nil {
		t.Error("a new connection is shown the old certificate")
	}
	if err := infer(open); err != nil {
		t.Errorf("an open connection: %v", err)
	}
	if err := infer(dialTLS(t, rpc, &tls.Config{RootCAs: after.Pool})); err != nil {
		t.Errorf("a new client of gRPC: %v", err)
	}
}
