package kernel

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// LowerPriority locks the calling goroutine to its OS thread and lowers the priority of
// that thread to a nice value of 1..19, so that computing on it doesn't starve the threads
// that serve the network. Raising it again takes a privilege: the goroutine stays locked,
// and its thread ends with it.
func LowerPriority(nice int) error {
	runtime.LockOSThread()
	return setNice(nice)
}

func setNice(nice int) error {
	if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice); err != nil {
		return fmt.Errorf("lower the priority of a thread to nice %d: %w", nice, err)
	}
	return nil
}
