package kerneltest

// Cases returns the shapes on which kernels and specification must agree: every tail,
// stride and option at small sizes.
func Cases() []Case {
	cs := append(convCases(), depthwiseCases()...)
	cs = append(cs, winogradCases()...)
	for _, c := range []int{8, 16, 24, 32, 40, 96, 120} {
		for _, rows := range []int{1, 7, 50} {
			cs = append(cs, rowCases(rows, c)...)
		}
	}
	for _, n := range []int{1, 7, 8, 9, 31, 77, 1000} {
		cs = append(cs, flatCases(n)...)
	}
	for _, c := range []int{8, 24} {
		cs = append(cs, poolCases(7, 9, 3, 2, c)...)
		cs = append(cs, poolCases(6, 6, 2, 2, c)...)
		cs = append(cs, poolCases(5, 4, 3, 1, c)...)
		cs = append(cs, global(49, c))
	}
	return append(cs, transposeCase(16, 1, 16), transposeCase(40, 9, 24), transposeCase(8, 9, 3), transposeCase(56, 1, 64))
}

// SpeedCases returns the shapes that are timed: those of residual networks and of small
// supernets.
func SpeedCases() []Case {
	cs := append(convSpeed(), depthwiseSpeed()...)
	cs = append(cs, winogradSpeed()...)
	cs = append(cs, rowCases(8*28*28, 16)...)  // in the second-level cache
	cs = append(cs, rowCases(64*28*28, 24)...) // and beyond
	cs = append(cs, rowCases(64*7*7, 96)...)
	cs = append(cs, poolCases(28, 28, 3, 2, 32)...)
	cs = append(cs, global(49, 96))
	return append(append(cs, flatCases(1<<20)...), transposeCase(128, 9, 128))
}
