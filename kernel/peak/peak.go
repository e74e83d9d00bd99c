// Package peak measures what a processor core can do at most, the yardstick of kernel
// speeds: fused multiply-adds that touch registers only, and copies between memory
// blocks.
package peak

// Flops is the number of floating-point operations of one round of FMA, a fused
// multiply-add being two.
const Flops = 12 * 8 * 2

// FMA runs n rounds of independent fused multiply-adds in registers.
func FMA(n int) {
	if n > 0 {
		fma(n)
	}
}
