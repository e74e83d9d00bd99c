//go:build !linux

package kernel

import "runtime"

// LowerPriority locks the calling goroutine to its OS thread; this system has no
// priority of single threads to lower.
func LowerPriority(int) error {
	runtime.LockOSThread()
	return nil
}

func setNice(int) error { return nil }
