package supernet

// EncodeLen returns the length of the encoding of an Arch: the sum, over every depth, width,
// expansion and kernel of which the space offers more than one, of how many it offers. It is
// 75 for ofa-mbv3: five stages of 3 depths and of 4 blocks with 3 expansions each.
func (s *Space) EncodeLen() int {
	var a Arch
	n := 0
	for c := range s.choices(&a) {
		if c.n > 1 {
			n += c.n
		}
	}
	return n
}

// Encode writes the one-hot encoding of a into the first EncodeLen values of dst, for
// predictors: stage by stage its depth and width, then the expansion and kernel of each of
// its blocks. Blocks that do not run are all zeros (as in OFA's predictor, which leaves
// depths to be seen from them).
func (s *Space) Encode(dst []float32, a Arch) {
	at := 0
	for c := range s.choices(&a) {
		if c.n == 1 {
			continue
		}
		clear(dst[at : at+c.n])
		if c.live {
			dst[at+int(*c.index)] = 1
		}
		at += c.n
	}
}
