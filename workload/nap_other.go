//go:build !linux

package workload

import "time"

// precise does nothing here: the runtime's timers are all there is.
func precise() (restore func()) { return func() {} }

// nap sleeps as precisely as the system can.
func nap(d time.Duration) { time.Sleep(d) }
