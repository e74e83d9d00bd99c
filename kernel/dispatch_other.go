//go:build !amd64 || purego

package kernel

// fastest returns the kernels in plain Go.
func fastest() impl { return generic }
