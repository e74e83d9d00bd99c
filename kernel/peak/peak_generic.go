//go:build !amd64 || purego

package peak

// sink keeps the compiler from dropping the loop.
var sink float32

// fma runs as many multiply-adds as the assembly, in plain Go.
func fma(n int) {
	var a [12]float32
	for range 8 * n {
		for i := range a {
			a[i] += a[i] * 0.5
		}
	}
	sink = a[0]
}
