//go:build !purego

package kernel

import "github.com/klauspost/cpuid/v2"

// available returns the kernels that the processor can run, the fastest first.
func available() []impl {
	switch cpu := cpuid.CPU; {
	case !cpu.Supports(cpuid.AVX2, cpuid.FMA3):
		return []impl{generic}
	case !cpu.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512DQ, cpuid.AVX512VL):
		return []impl{avx2(), generic}
	default:
		return []impl{avx512(), avx2(), generic}
	}
}

func avx2() impl {
	t := generic
	t.name = "avx2"
	t.conv, t.convGrad = convAVX2, convGradAVX2
	t.winograd = winogradAVX2
	t.winogradRepack, t.winogradTiles, t.winogradPanel = winogradRepackAVX2, winogradTilesAVX2, winogradPanelAVX2
	t.depthwise, t.depthwiseGrad = depthwiseAVX2, depthwiseGradAVX2
	t.packTransposed = packTransposedAVX2
	t.moments, t.scaleShift = momentsAVX2, scaleShiftAVX2
	t.normGrad, t.affine2 = normGradAVX2, affine2AVX2
	t.channelSum, t.add, t.sgd = channelSumAVX2, addAVX2, sgdAVX2
	t.maxPool, t.avgPool = maxPoolAVX2, avgPoolAVX2
	t.near = nearAVX2
	if cpuid.CPU.Supports(cpuid.F16C) {
		t.widen = widenAVX2
	}
	return t
}

// avx512 needs the extensions F, BW, DQ and VL.
func avx512() impl {
	t := avx2()
	t.name = "avx512"
	t.winograd = winogradAVX512
	t.winogradRepack, t.winogradTiles, t.winogradPanel = winogradRepackAVX512, winogradTilesAVX512, winogradPanelAVX512
	t.convGrad = convGradAVX512
	t.conv, t.depthwise = convAVX512, depthwiseAVX512
	return t
}
