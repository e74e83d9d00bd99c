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
	best.conv, best.convGrad = convAVX2, convGradAVX2
	best.depthwise, best.depthwiseGrad = depthwiseAVX2, depthwiseGradAVX2
	best.packTransposed = packTransposedAVX2
	best.moments, best.scaleShift = momentsAVX2, scaleShiftAVX2
	best.normGrad, best.affine2 = normGradAVX2, affine2AVX2
	best.channelSum, best.add, best.sgd = channelSumAVX2, addAVX2, sgdAVX2
	best.maxPool, best.avgPool = maxPoolAVX2, avgPoolAVX2
	return best
}
