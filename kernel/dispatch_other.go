//go:build !amd64 || purego

package kernel

// available returns the kernels in plain Go.
func available() []impl { return []impl{generic} }
