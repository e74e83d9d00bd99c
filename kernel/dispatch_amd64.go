//go:build !purego

package kernel

import "github.com/klauspost/cpuid/v2"

// fastest returns the best kernels that the processor can run.
func fastest() impl {
	if !cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		return generic
	}
	best := generic
	best.name = "avx2"
	best.conv = convAVX2
	best.convGrad = convGradAVX2
	return best
}
