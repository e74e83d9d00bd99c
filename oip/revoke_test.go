package oip_test

import (
	"crypto/sha256"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"weft/guard"
)

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
