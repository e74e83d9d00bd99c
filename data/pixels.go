package data

import (
	"image"
	"image/color"
	"math"
)

// channels returns the pixels of img as bytes, H,W,C. Transparency is blended onto black.
func channels(img image.Image, c int) []uint8 {
	r := img.Bounds()
	out := make([]uint8, 0, r.Dx()*r.Dy()*c)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			at := img.At(x, y)
			if c == 1 {
				out = append(out, color.GrayModel.Convert(at).(color.Gray).Y)
				continue
			}
			red, green, blue, _ := at.RGBA()
			out = append(out, uint8(red>>8), uint8(green>>8), uint8(blue>>8))
		}
	}
	return out
}

// scaleSquare cuts the central square out of src (h,w,c) and scales it to size x size with a triangle
// filter that is as wide as the larger pixel, so that shrinking averages instead of skipping.
func scaleSquare(src []uint8, w, h, c, size int) []uint8 {
	side := min(w, h)
	x0, y0 := (w-side)/2, (h-side)/2
	taps := triangle(side, size)
	rows := make([]float32, side*size*c) // side,size,c: each source row scaled
	for y := range side {
		for x, t := range taps {
			for ch := range c {
				var sum float32
				for k, weight := range t.weights {
					sum += weight * float32(src[((y0+y)*w+x0+t.first+k)*c+ch])
				}
				rows[(y*size+x)*c+ch] = sum
			}
		}
	}
	out := make([]uint8, size*size*c)
	for y, t := range taps {
		for i := range size * c {
			var sum float32
			for k, weight := range t.weights {
				sum += weight * rows[(t.first+k)*size*c+i]
			}
			out[y*size*c+i] = uint8(min(max(sum+0.5, 0), 255))
		}
	}
	return out
}

// tap lists the source pixels that make one scaled pixel; its weights add up to 1.
type tap struct {
	first   int
	weights []float32
}

func triangle(from, to int) []tap {
	scale := float64(from) / float64(to)
	radius := max(scale, 1)
	taps := make([]tap, to)
	for i := range taps {
		centre := (float64(i)+0.5)*scale - 0.5
		first := max(int(math.Ceil(centre-radius)), 0)
		last := min(int(math.Floor(centre+radius)), from-1)
		weights := make([]float32, last-first+1)
		var sum float32
		for k := range weights {
			weights[k] = float32(1 - math.Abs(float64(first+k)-centre)/radius)
			sum += weights[k]
		}
		for k := range weights {
			weights[k] /= sum
		}
		taps[i] = tap{first, weights}
	}
	return taps
}

// moments returns the mean and standard deviation of pixel/255 in each of c interleaved channels,
// computed from exact integer counts.
func moments(images []uint8, c int) (mean, std []float32) {
	counts := make([][256]int, c)
	for i := 0; i+c <= len(images); i += c {
		for ch := range c {
			counts[ch][images[i+ch]]++
		}
	}
	n := float64(len(images) / c)
	for ch := range c {
		var sum, squares float64
		for v, k := range counts[ch] {
			sum += float64(v) * float64(k)
			squares += float64(v) * float64(v) * float64(k)
		}
		m := sum / n
		mean = append(mean, float32(m/255))
		std = append(std, float32(math.Sqrt(max(squares/n-m*m, 0))/255))
	}
	return mean, std
}

// Normaliser turns bytes into the values that a network sees, (pixel/255 - mean) / std.
type Normaliser struct {
	table [][256]float32 // by channel, then pixel
}

// NewNormaliser returns the normaliser of the given means and standard deviations, one a channel.
// A channel that never varies (std 0) is only shifted.
func NewNormaliser(mean, std []float32) *Normaliser {
	n := &Normaliser{table: make([][256]float32, len(mean))}
	for c := range n.table {
		scale := float64(std[c])
		if scale == 0 {
			scale = 1
		}
		for v := range n.table[c] {
			n.table[c][v] = float32((float64(v)/255 - float64(mean[c])) / scale)
		}
	}
	return n
}

// Normaliser returns the normaliser of the set's channels.
func (s *Set) Normaliser() *Normaliser { return NewNormaliser(s.Mean, s.Std) }

// Apply writes the normalised pixels (channels last) to dst, which must be as long. It allocates nothing
// and may be called by several goroutines at once.
func (n *Normaliser) Apply(dst []float32, pixels []uint8) {
	dst = dst[:len(pixels)]
	switch len(n.table) {
	case 1:
		t := &n.table[0]
		for i, p := range pixels {
			dst[i] = t[p]
		}
	case 3:
		r, g, b := &n.table[0], &n.table[1], &n.table[2]
		for len(pixels) >= 3 && len(dst) >= 3 {
			dst[0], dst[1], dst[2] = r[pixels[0]], g[pixels[1]], b[pixels[2]]
			pixels, dst = pixels[3:], dst[3:]
		}
	default:
		for i := range pixels {
			dst[i] = n.table[i%len(n.table)][pixels[i]]
		}
	}
}
