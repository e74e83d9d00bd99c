//go:build unix

package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

// notifyFlight passes on the signals that ask for a flight.
func notifyFlight(c chan<- os.Signal) { signal.Notify(c, syscall.SIGUSR1) }

// untilHangup returns a context that ends with the terminal too, unless nohup keeps that from the program.
func untilHangup(ctx context.Context) (context.Context, context.CancelFunc) {
	if signal.Ignored(syscall.SIGHUP) {
		return ctx, func() {}
	}
	return signal.NotifyContext(ctx, syscall.SIGHUP)
}

// notifyReload passes on the signals that ask for files to be read again.
func notifyReload(c chan<- os.Signal) { signal.Notify(c, syscall.SIGHUP) }
