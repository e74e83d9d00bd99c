//go:build !amd64 || purego

package kernel

// relax passes a little time.
//
//go:noinline
func relax(n int) {
	for range n {
	}
}
