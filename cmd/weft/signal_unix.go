//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// notifyFlight passes on the signals that ask for a flight.
func notifyFlight(c chan<- os.Signal) { signal.Notify(c, syscall.SIGUSR1) }

// notifyReload passes on the signals that ask for files to be read again.
func notifyReload(c chan<- os.Signal) { signal.Notify(c, syscall.SIGHUP) }
