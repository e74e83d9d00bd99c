// Package nets names the networks that the engines are compared on and the images that
// they are given, the same in every process.
package nets

import (
	"fmt"
	"math"
	"math/rand/v2"

	"weft/supernet"
	"weft/tensor"
)

// ResNet20 is the name of CIFAR's ResNet-20 (He et al. 2016, section 4.2, with projection
// shortcuts), a space of one network.
const ResNet20 = "resnet-20"

// Seed is that of weights and images.
const Seed = 1

// Mean and Std normalise pixel/255 (ImageNet's).
var (
	Mean = []float32{0.485, 0.456, 0.406}
	Std  = []float32{0.229, 0.224, 0.225}
)

// Space returns the named space for square images of so many pixels a side.
func Space(name string, pixels int) (*supernet.Space, error) {
	if name == ResNet20 {
		s := resNet20()
		return s, s.Validate()
	}
	classes := 10
	if pixels > 64 {
		classes = 1000
	}
	s, err := supernet.Find(name, classes, 3)
	if err != nil {
		return nil, err
	}
	return s.At(pixels)
}

func resNet20() *supernet.Space {
	return &supernet.Space{
		Name: ResNet20, Family: supernet.Basic, Input: tensor.Shape{H: 32, W: 32, C: 3}, Classes: 10,
		Stem: supernet.Stem{Width: 16, Stride: 1},
		Stages: []supernet.Stage{
			{Width: 16, Stride: 1, Depths: []int{3}},
			{Width: 32, Stride: 2, Depths: []int{3}},
			{Width: 64, Stride: 2, Depths: []int{3}},
		},
		Expansions: []float64{1}, Kernels: []int{3}, Widths: []float64{1},
	}
}

// Uniform returns n of the space's uniform subnets, from the smallest to the largest and
// evenly spaced in their order by MACs, in their text form; fewer if it has no more.
func Uniform(s *supernet.Space, n int) []string {
	all := s.Uniform()
	n = min(n, len(all))
	names := make([]string, n)
	for i := range names {
		k := len(all) - 1
		if n > 1 {
			k = i * (len(all) - 1) / (n - 1)
		}
		names[i] = s.Format(all[k])
	}
	return names
}

// Images returns n images of a shape, [n][H][W][C] of pixel/255: in each channel a wave
// of random brightness, direction and length under some noise. Noise alone would look
// the same everywhere to the deeper layers, whose statistics would then amplify rounding.
func Images(shape tensor.Shape, n int) []float32 {
	rng := rand.New(rand.NewPCG(Seed, uint64(shape.H)))
	x := make([]float32, n*shape.Size())
	for i := range n {
		for ch := range shape.C {
			base, phase := rng.Float64(), 2*math.Pi*rng.Float64()
			fy, fx := rng.NormFloat64()*6/float64(shape.H), rng.NormFloat64()*6/float64(shape.W)
			for p := range shape.Pixels() {
				v := base + 0.3*math.Sin(phase+fy*float64(p/shape.W)+fx*float64(p%shape.W)) + 0.1*rng.NormFloat64()
				x[(i*shape.Pixels()+p)*shape.C+ch] = float32(math.Round(255*min(max(v, 0), 1)) / 255)
			}
		}
	}
	return x
}

// Normalised normalises images of three channels in place and returns them.
func Normalised(x []float32) []float32 {
	for i := range x {
		x[i] = (x[i] - Mean[i%3]) / Std[i%3]
	}
	return x
}

// Planar returns the images as other engines take them: normalised, [n][C][H][W].
func Planar(images []float32, shape tensor.Shape, n int) []float32 {
	if len(images) != n*shape.Size() {
		panic(fmt.Sprintf("nets: %d values are not %d images of %v", len(images), n, shape))
	}
	y := make([]float32, len(images))
	pix, c := shape.Pixels(), shape.C
	for i, v := range images {
		img, p, ch := i/(pix*c), i/c%pix, i%c
		y[(img*c+ch)*pix+p] = (v - Mean[ch]) / Std[ch]
	}
	return y
}
