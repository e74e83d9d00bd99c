package main

import (
	"context"
	"log/slog"
	"net"
	"os"
)

// announce tells the service manager that asks for it (systemd, Type=notify; see sd_notify(3)) that the program is
// ready, and that it stops when ctx ends.
func announce(ctx context.Context, log *slog.Logger) {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return
	}
	tell := func(state string) {
		c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: address, Net: "unixgram"})
		if err == nil {
			_, err = c.Write([]byte(state))
			_ = c.Close()
		}
		if err != nil {
			log.Warn("the service manager can not be told", slog.String("state", state), slog.Any("error", err))
		}
	}
	tell("READY=1")
	context.AfterFunc(ctx, func() { tell("STOPPING=1") })
}
