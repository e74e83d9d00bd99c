package supernet

import (
	"weft/kernel"
	"weft/nn"
	"weft/tensor"
)

// ofaMBV3 is the space of OFA's MobileNetV3 at width 1.0 and 224 pixels, with the kernel
// fixed at 7 as CompOFA and DepS train it.
func ofaMBV3() *Space {
	s := &Space{
		Family:     MBV3,
		Input:      tensor.Shape{H: 224, W: 224},
		Stem:       Stem{Width: 16, Stride: 2, Block: 16},
		Head:       Head{Width: 960, Mix: 1280},
		Expansions: []float64{3, 4, 6},
		Kernels:    []int{7},
		Widths:     []float64{1},
	}
	for _, st := range []Stage{
		{Width: 24, Stride: 2},
		{Width: 40, Stride: 2, SE: true},
		{Width: 80, Stride: 2, HSwish: true},
		{Width: 112, Stride: 1, HSwish: true, SE: true},
		{Width: 160, Stride: 2, HSwish: true, SE: true},
	} {
		st.Depths = []int{2, 3, 4}
		s.Stages = append(s.Stages, st)
	}
	return s
}

// mbv332 is DepS' variant of ofaMBV3 for images of 32 pixels: two strides fewer.
func mbv332() *Space {
	s := ofaMBV3()
	s.Input.H, s.Input.W = 32, 32
	s.Stem.Stride = 1
	s.Stages[0].Stride = 1
	return s
}

// mbv328 is a thin MobileNetV3 for images of 28 pixels, small enough to train on a CPU:
// three stages at 14, 7 and 4 pixels.
func mbv328() *Space {
	depths := []int{1, 2, 3}
	return &Space{
		Family: MBV3,
		Input:  tensor.Shape{H: 28, W: 28},
		Stem:   Stem{Width: 8, Stride: 1, Block: 8},
		Head:   Head{Width: 240, Mix: 320},
		Stages: []Stage{
			{Width: 16, Stride: 2, Depths: depths},
			{Width: 32, Stride: 2, Depths: depths, SE: true, HSwish: true},
			{Width: 64, Stride: 2, Depths: depths, SE: true, HSwish: true},
		},
		Expansions: []float64{2, 3, 4},
		Kernels:    []int{5},
		Widths:     []float64{1},
	}
}

// mbv332s is mbv328 for images of 32 pixels.
func mbv332s() *Space {
	s := mbv328()
	s.Input.H, s.Input.W = 32, 32
	return s
}

// elasticKernel is a space with several kernels to choose from.
func elasticKernel(build func() *Space, kernels ...int) func() *Space {
	return func() *Space {
		s := build()
		s.Kernels = kernels
		return s
	}
}

// mbv3Stem is a 3x3 convolution and a block without expansion.
func (b *builder) mbv3Stem() {
	s := b.s
	b.conv("stem", s.channels(b.a, 0, s.Stem.Width), 3, s.Stem.Stride, kernel.HSwish)
	in := b.cur
	b.add(step{name: "stem.dw", kind: nn.Depthwise, out: b.channels(), k: 3, stride: 1, act: kernel.ReLU, norm: true})
	project := step{name: "stem.project", kind: nn.Conv, out: s.channels(b.a, 0, s.Stem.Block), k: 1, stride: 1, norm: true}
	if s.Stem.Block == s.Stem.Width {
		project.res = &in
	}
	b.add(project)
}

// invertedBlock is block i of stage m: 1x1 expansion, depthwise, squeeze-and-excite after
// its activation, linear 1x1 projection with the residual (OFA's MBConv).
func (b *builder) invertedBlock(m, i int) {
	st := &b.s.Stages[m]
	act := kernel.ReLU
	if st.HSwish {
		act = kernel.HSwish
	}
	in, mid := b.cur, b.middle(m, i, b.channels())
	b.conv("expand", mid, 1, 1, act)
	b.add(step{
		name: "dw", kind: nn.Depthwise, out: mid, k: b.s.Kernels[b.a.Kernel[b.s.block(m, i)]],
		stride: b.stride(m, i), act: act, norm: true, kernels: b.s.smallerKernels(),
	})
	if st.SE {
		b.add(step{name: "se", kind: nn.SE, out: mid, hidden: MakeDivisible(float64(mid / 4))})
	}
	project := step{name: "project", kind: nn.Conv, out: b.s.outputs(b.a, m), k: 1, stride: 1, norm: true}
	if b.identity(m, i) {
		project.res = &in
	}
	b.add(project)
}

// smallerKernels returns the kernels below the largest, descending.
func (s *Space) smallerKernels() []int {
	var k []int
	for i := len(s.Kernels) - 2; i >= 0; i-- {
		k = append(k, s.Kernels[i])
	}
	return k
}

// mbv3Head is the 1x1 convolution "head", the global mean, and "mix", which has neither
// normalisation nor bias (OFA's feature_mix_layer).
func (b *builder) mbv3Head() {
	s, last := b.s, len(b.s.Stages)-1
	b.conv("head", s.channels(b.a, last, s.Head.Width), 1, 1, kernel.HSwish)
	b.add(step{kind: nn.GlobalPool, out: b.channels()})
	b.add(step{name: "mix", kind: nn.Conv, out: s.channels(b.a, last, s.Head.Mix), k: 1, stride: 1, act: kernel.HSwish})
}
