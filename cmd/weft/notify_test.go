package main

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"
)

func TestAnnounce(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Skipf("no Unix sockets: %v", err)
	}
	defer manager.Close()
	if err := manager.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	hears := func(want string) {
		t.Helper()
		buf := make([]byte, 100)
		n, err := manager.Read(buf)
		if got := string(buf[:n]); err != nil || got != want {
			t.Errorf("the service manager hears %q, %v, want %q", got, err, want)
		}
	}
	t.Setenv("NOTIFY_SOCKET", socket)
	ctx, stop := context.WithCancel(t.Context())
	announce(ctx, slog.New(slog.DiscardHandler))
	hears("READY=1")
	stop()
	hears("STOPPING=1")
}
