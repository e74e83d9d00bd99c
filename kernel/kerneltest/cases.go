package kerneltest

// Cases returns the shapes on which kernels and specification must agree.
func Cases() []Case {
	return convCases()
}

// SpeedCases returns the shapes that are timed.
func SpeedCases() []Case {
	return convSpeed()
}
