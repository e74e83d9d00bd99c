package workload

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// precise makes nap exact to some microseconds for the calling goroutine, until
// the returned function is called. The runtime's own timers may be late by a
// millisecond when the process is idle, and the kernel's by 50 µs.
func precise() (restore func()) {
	runtime.LockOSThread()
	slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	}
	return func() {
		if err == nil {
			// What was set before is valid.
			_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0)
		}
		runtime.UnlockOSThread()
	}
}

// nap sleeps in the kernel. It may return early.
func nap(d time.Duration) {
	ts := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&ts, nil) // interrupted: the caller looks at the clock
}
