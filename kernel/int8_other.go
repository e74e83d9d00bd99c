//go:build !amd64 || purego

package kernel

// kernels8 returns the int8 kernels in plain Go.
func kernels8() *impl8 { return &generic8 }
