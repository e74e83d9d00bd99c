package oip_test

import (
	"context"
	"crypto/sha256"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"

	"weft/guard"
)

// Where keys are in use, who has none can not open streams without end; those that end make room.
func TestStreamsWithoutAKey(t *testing.T) {
	address := serveGRPC(t, guarded(t, everybody(t)))
	const most = 16
	client := health.NewHealthClient(connectGRPC(t, address))
	watch := func(client health.HealthClient) (context.CancelFunc, error) {
		ctx, stop := context.WithCancel(t.Context())
		stream, err := client.Watch(ctx, &health.HealthCheckRequest{})
		if err == nil {
			_, err = stream.Recv()
		}
		return stop, err
	}
	var stop context.CancelFunc
	for range most {
		var err error
		if stop, err = watch(client); err != nil {
			t.Fatal(err)
		}
	}
	_, err := watch(client)
	refused(t, err, codes.ResourceExhausted, "without a key")
	if _, err := watch(health.NewHealthClient(connectGRPC(t, address))); err != nil {
		t.Errorf("on another connection: %v", err)
	}
	stop()
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err = watch(client); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("once one has ended: %v", err)
	}
}

// A stream goes by the keys as they are when a request comes, not when it began.
func TestStreamAfterAChangeOfKeys(t *testing.T) {
	key := guard.Key{Name: "user", Tenant: "user", SHA256: sha256.Sum256([]byte("user"))}
	path := filepath.Join(t.TempDir(), "keys.json")
	var g *guard.Guard
	change := func(keys ...guard.Key) {
		t.Helper()
		err := guard.Write(path, keys)
		if err == nil && g != nil {
			_, err = g.Reload(time.Now())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	change(key)
	g, err := guard.Open(path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	stream, err := dialGRPC(t, serveGRPC(t, guarded(t, g))).ModelStreamInfer(authorised(t.Context(), "user"))
	if err != nil {
		t.Fatal(err)
	}
	ask := func() (text string, err error) {
		t.Helper()
		if err := stream.Send(toyMessage()); err != nil {
			t.Fatal(err)
		}
		answer, err := stream.Recv()
		return answer.GetErrorMessage(), err
	}
	if text, err := ask(); text != "" || err != nil {
		t.Fatal(text, err)
	}
	key.Models = []string{"simple"}
	change(key)
	if text, err := ask(); !strings.Contains(text, "not for this model") || err != nil {
		t.Errorf("with a key for other models: %q, %v", text, err)
	}
	change()
	_, err = ask()
	refused(t, err, codes.Unauthenticated, "not known here")
}
