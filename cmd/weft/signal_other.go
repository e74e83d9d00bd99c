//go:build !unix

package main

import "os"

// notifyFlight does nothing: there is no signal left that could ask for a flight.
func notifyFlight(chan<- os.Signal) {}

// notifyReload does nothing: there is no signal for it.
func notifyReload(chan<- os.Signal) {}
