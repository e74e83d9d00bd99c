package supernet

import (
	"weft/kernel"
	"weft/nn"
	"weft/tensor"
)

// ofaResNet50D is the space of OFA's ResNet50D at 224 pixels, the convolutional supernet of
// SuperServe.
func ofaResNet50D() *Space {
	s := &Space{
		Family:     Bottleneck,
		Input:      tensor.Shape{H: 224, W: 224},
		Stem:       Stem{Width: 64, Stride: 2},
		Expansions: []float64{0.2, 0.25, 0.35},
		Kernels:    []int{3},
		Widths:     []float64{0.65, 0.8, 1},
	}
	for m, base := range []int{2, 2, 4, 2} {
		st := Stage{Width: 256 << m, Stride: 2, Depths: []int{base, base + 1, base + 2}}
		if m == 0 {
			st.Stride = 1
		}
		s.Stages = append(s.Stages, st)
	}
	return s
}

// resnet32 is a ResNet of basic blocks for images of 32 pixels with stages at 16, 8 and 4
// pixels: wide and early at a low resolution, which trains fast on a CPU.
func resnet32() *Space { return basicResNet(32, 32, 48, 96, 192) }

// resnet32s is narrower than resnet32, for training in minutes.
func resnet32s() *Space { return basicResNet(32, 16, 32, 64, 128) }

// resnet32w is as resnet32, wider and without elastic widths, so that its smallest subnet is a seventh
// of the largest: the most accurate one for CIFAR-10 that trains within hours.
func resnet32w() *Space {
	s := basicResNet(32, 64, 64, 128, 256)
	s.Widths = []float64{1}
	return s
}

// resnet28 is a ResNet of basic blocks for images of 28 pixels with stages at 14, 7 and 4
// pixels. Its widths come in thirds, whole multiples of 8 channels in every stage.
func resnet28() *Space {
	s := basicResNet(28, 16, 24, 48, 96)
	s.Widths = []float64{0.34, 0.67, 1}
	return s
}

// resnet28s is narrower than resnet28, for training in a few minutes.
func resnet28s() *Space { return basicResNet(28, 16, 16, 32, 64) }

// basicResNet has a stem at full resolution and stages of one or two basic blocks, each of
// which halves the resolution.
func basicResNet(pixels, stem int, widths ...int) *Space {
	s := &Space{
		Family:     Basic,
		Input:      tensor.Shape{H: pixels, W: pixels},
		Stem:       Stem{Width: stem, Stride: 1},
		Expansions: []float64{0.25, 0.5, 1},
		Kernels:    []int{3},
		Widths:     []float64{0.5, 1},
	}
	for _, w := range widths {
		s.Stages = append(s.Stages, Stage{Width: w, Stride: 2, Depths: []int{1, 2}})
	}
	return s
}

func (b *builder) basicStem() {
	b.conv("stem", b.s.channels(b.a, 0, b.s.Stem.Width), 3, b.s.Stem.Stride, kernel.ReLU)
}

// deepStem is ResNet-D's: three 3x3 convolutions, of which the middle one has a residual,
// added after its activation as in OFA, and may be skipped, and a maximum pool.
func (b *builder) deepStem() {
	s := b.s
	half := MakeDivisible(float64(s.channels(b.a, 0, s.Stem.Width) / 2))
	b.conv("stem.conv1", half, 3, s.Stem.Stride, kernel.ReLU)
	in := b.cur
	b.skip = stemDepths[b.a.Depth[0]] == 0
	b.conv("stem.conv2", half, 3, 1, kernel.ReLU)
	b.add(step{kind: nn.Add, out: half, res: &in})
	b.skip = false
	b.conv("stem.conv3", s.channels(b.a, 1, s.Stem.Width), 3, 1, kernel.ReLU)
	b.add(step{kind: nn.MaxPool, out: b.channels(), k: 3, stride: 2})
}

// basicBlock is block i of stage m: 3x3 to the middle channels, 3x3 back with the residual.
func (b *builder) basicBlock(m, i int) {
	in, out := b.cur, b.s.outputs(b.a, m)
	res := in
	if !b.identity(m, i) {
		res = b.add(step{name: "down", kind: nn.Conv, out: out, k: 1, stride: b.stride(m, i), norm: true})
	}
	b.add(step{
		name: "conv1", kind: nn.Conv, from: &in, out: b.middle(m, i, out), k: 3,
		stride: b.stride(m, i), act: kernel.ReLU, norm: true,
	})
	b.add(step{name: "conv2", kind: nn.Conv, out: out, k: 3, stride: 1, act: kernel.ReLU, norm: true, res: &res})
}

// bottleneckBlock is block i of stage m: 1x1 to the middle channels, 3x3, 1x1 back with the
// residual. Its shortcut halves the resolution by a 2x2 mean before the 1x1 convolution
// (ResNet-D, "Bag of Tricks for Image Classification", section 4).
func (b *builder) bottleneckBlock(m, i int) {
	in, out, stride := b.cur, b.s.outputs(b.a, m), b.stride(m, i)
	mid := b.middle(m, i, out)
	res := in
	if !b.identity(m, i) {
		if stride == 2 {
			b.add(step{kind: nn.AvgPool, out: b.channels(), k: 2, stride: 2})
		}
		res = b.conv("down", out, 1, 1, kernel.Linear)
	}
	b.add(step{name: "conv1", kind: nn.Conv, from: &in, out: mid, k: 1, stride: 1, act: kernel.ReLU, norm: true})
	b.conv("conv2", mid, 3, stride, kernel.ReLU)
	b.add(step{name: "conv3", kind: nn.Conv, out: out, k: 1, stride: 1, act: kernel.ReLU, norm: true, res: &res})
}
