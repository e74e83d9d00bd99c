//go:build !unix

package main

import (
	"context"
	"os"
)

// notifyFlight does nothing: there is no signal left that could ask for a flight.
func notifyFlight(chan<- os.Signal) {}

// untilHangup returns the context: there is no signal for it.
func untilHangup(ctx context.Context) (context.Context, context.CancelFunc) { return ctx, func() {} }

// notifyReload does nothing: there is no signal for it.
func notifyReload(chan<- os.Signal) {}
