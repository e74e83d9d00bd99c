package data

// scaler scales normalised images with a triangle filter as wide as the larger pixel, so that
// shrinking averages instead of skipping. It is scratch space of one goroutine.
type scaler struct {
	h, w, c int
	taps    map[[2]int][]tap // from, to
	rows    []float32        // h,pixels,c: each source row scaled
}

// scale writes src (h,w,c) at pixels x pixels into dst.
func (s *scaler) scale(dst, src []float32, pixels int) {
	if len(s.rows) < s.h*pixels*s.c {
		s.rows = make([]float32, s.h*pixels*s.c)
	}
	row := pixels * s.c
	for x, t := range s.find(s.w, pixels) {
		for y := range s.h {
			for ch := range s.c {
				var sum float32
				for k, weight := range t.weights {
					sum += weight * src[(y*s.w+t.first+k)*s.c+ch]
				}
				s.rows[y*row+x*s.c+ch] = sum
			}
		}
	}
	for y, t := range s.find(s.h, pixels) {
		out := dst[y*row : (y+1)*row]
		clear(out)
		for k, weight := range t.weights {
			for i, v := range s.rows[(t.first+k)*row:][:row] {
				out[i] += weight * v
			}
		}
	}
}

// find returns the taps from one length to another.
func (s *scaler) find(from, to int) []tap {
	key := [2]int{from, to}
	if s.taps == nil {
		s.taps = map[[2]int][]tap{}
	}
	if s.taps[key] == nil {
		s.taps[key] = triangle(from, to)
	}
	return s.taps[key]
}
