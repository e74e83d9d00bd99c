// Package kernel holds the hot loops of weft: what convolution, normalisation and
// their gradients do to float32 slices. Every loop exists twice, as plain Go (the
// specification, in the files named *_generic.go) and as AVX2+FMA assembly generated
// by kernel/_gen; the faster one that the processor offers is chosen at start-up, and
// the build tag purego leaves the assembly out.
//
// Activations are channels-last: [image][pixel][channel]. Dense convolution weights
// are packed once at the maximum size as
//
//	[⌈OutMax/16⌉][taps][InMax][16]
//
// so that a prefix of the outputs is a prefix of the panels and a prefix of the inputs
// is a prefix of each tap's rows: a subnet reads its slice in place, nothing is copied.
// Depthwise weights are [taps][Max channels], taps ring by ring (see Rings).
//
// Kernels work on the range of rows or images that the caller names and never start a
// goroutine; Pool spreads ranges over threads. Numbers of channels are multiples of 8
// for outputs (the first layer may have any number of inputs). A shape that does not
// fit its slice is a programmer's error and panics with a ShapeError. Slices may
// begin anywhere; those that begin at a multiple of 32 bytes are the fastest.
package kernel

// Panel is how many output channels one panel of packed weights holds.
const Panel = 16

// Panels returns the number of panels that hold n output channels.
func Panels(n int) int { return (n + Panel - 1) / Panel }

// PackedLen returns the length of packed dense weights.
func PackedLen(outMax, taps, inMax int) int { return Panels(outMax) * taps * inMax * Panel }

// PackedIndex returns where the weight of (out, tap, in) stands in packed weights.
func PackedIndex(taps, inMax, out, tap, in int) int {
	return ((out/Panel*taps+tap)*inMax+in)*Panel + out%Panel
}

// Act is an activation function.
type Act uint8

// Activation functions. HSigmoid(x) = clamp(x+3, 0, 6)/6 and HSwish(x) = x·HSigmoid(x)
// (MobileNetV3, section 5.2). ReLU turns a NaN into 0, the others pass it on.
const (
	Linear Act = iota
	ReLU
	HSwish
	HSigmoid
)

func (a Act) String() string {
	return [...]string{"linear", "relu", "h-swish", "h-sigmoid"}[a]
}

// Conv is a dense convolution or fully connected layer over a batch:
//
//	y[n][o][co] = act( scale[co] · Σ_t Σ_ci x[n][in(o,t)][ci] · w[co][t][ci] + shift[co] + res[n][o][co] )
//
// A nil Scale stands for ones, a nil Shift for zeros, a nil Res for zeros. Res has the
// layout of Y and may be Y itself, which then accumulates.
type Conv struct {
	G            *Gather
	X            []float32 // [images][InPix][XPitch], the first Cin of each pixel are read
	W            []float32 // packed at the maximum size
	Y            []float32 // [images][OutPix][YPitch], the first Cout of each pixel are written
	Cin, Cout    int       // Cout is a multiple of 8
	XPitch       int
	YPitch       int
	Taps, InMax  int // of W
	Scale, Shift []float32
	Res          []float32
	Act          Act
}

// Rows computes rows [lo, hi), where row r is output r mod G.Rows() of image
// r / G.Rows().
func (c *Conv) Rows(lo, hi int) {
	if lo < hi {
		c.check(hi)
		active.conv(c, lo, hi)
	}
}

// ConvGrad accumulates the weight gradient of a Conv:
//
//	dw[co][t][ci] += Σ_n Σ_o x[n][in(o,t)][ci] · dy[n][o][co]
type ConvGrad struct {
	G           *Gather // the forward gather
	X           []float32
	DY          []float32
	DW          []float32 // packed like W
	Cin, Cout   int
	XPitch      int
	YPitch      int // of DY
	Taps, InMax int
}

// Images accumulates over the images [lo, hi).
func (c *ConvGrad) Images(lo, hi int) {
	if lo < hi {
		c.check(hi)
		active.convGrad(c, lo, hi)
	}
}

// Depthwise is a convolution of each channel by itself:
//
//	y[n][o][c] = act( scale[c] · Σ_t x[n][in(o,t)][c] · w[t][c] + shift[c] + res[n][o][c] )
//
// Tensors have C channels and pitch C; W has rows of CMax. C is a multiple of 8.
type Depthwise struct {
	G            *Gather
	X, W, Y      []float32
	C, CMax      int
	Scale, Shift []float32
	Res          []float32
	Act          Act
}

// Rows computes rows [lo, hi), numbered as in Conv.Rows.
func (d *Depthwise) Rows(lo, hi int) {
	if lo < hi {
		d.check(hi)
		active.depthwise(d, lo, hi)
	}
}

// DepthwiseGrad accumulates the weight gradient of a Depthwise:
//
//	dw[t][c] += Σ_n Σ_o x[n][in(o,t)][c] · dy[n][o][c]
type DepthwiseGrad struct {
	G         *Gather // the forward gather
	X, DY, DW []float32
	C, CMax   int
}

// Images accumulates over the images [lo, hi).
func (d *DepthwiseGrad) Images(lo, hi int) {
	if lo < hi {
		d.check(hi)
		active.depthwiseGrad(d, lo, hi)
	}
}

// PackTransposed writes the weights that compute input gradients: dst is
// [⌈inMax/16⌉][taps][outPad][16] with outPad = 16·⌈outMax/16⌉, so that a Conv over the
// output gradients with Window.Bwd, InMax = outPad gives
// dx[n][i][ci] = Σ_t Σ_co dy[n][o(i,t)][co] · w[co][t][ci].
func PackTransposed(dst, w []float32, outMax, taps, inMax int) {
	const op = "pack transposed"
	need(op, "dst", dst, PackedLen(inMax, taps, Panels(outMax)*Panel))
	need(op, "w", w, PackedLen(outMax, taps, inMax))
	active.packTransposed(dst, w, outMax, taps, inMax)
}

// Moments adds up each channel of x over rows, around a pivot:
// sum[c] += Σ (x−pivot[c]), sumsq[c] += Σ (x−pivot[c])². A pivot near the mean keeps the
// variance from cancelling in float32.
func Moments(x []float32, rows, c int, pivot, sum, sumsq []float32) {
	const op = "moments"
	checkRows(op, rows, c, x)
	checkChannels(op, c, pivot, sum, sumsq)
	active.moments(x, rows, c, pivot, sum, sumsq)
}

// ScaleShift computes y = act(x·scale + shift + res) on rows of c channels; res may be
// nil and y may be x.
func ScaleShift(y, x, res []float32, rows, c int, scale, shift []float32, act Act) {
	const op = "scale and shift"
	checkRows(op, rows, c, y, x)
	if res != nil {
		checkRows(op, rows, c, res)
	}
	checkChannels(op, c, scale, shift)
	active.scaleShift(y, x, res, rows, c, scale, shift, act)
}

// NormGrad is the first pass of the gradient of y = act(x·scale + shift + res) through
// batch normalisation. It overwrites dy by dz = dy·act′(z) and accumulates
// sumDZ[c] += Σ dz and sumDZX[c] += Σ dz·(x−mean[c]). For ReLU the mask is y > 0; for
// HSwish and HSigmoid z is computed as x·scale + shift, so res must have been nil.
func NormGrad(dy, y, x []float32, rows, c int, scale, shift, mean []float32, act Act, sumDZ, sumDZX []float32) {
	const op = "norm gradient"
	checkRows(op, rows, c, dy, x)
	checkChannels(op, c, mean, sumDZ, sumDZX)
	switch act {
	case ReLU:
		checkRows(op, rows, c, y)
	case HSwish, HSigmoid:
		checkChannels(op, c, scale, shift)
	}
	active.normGrad(dy, y, x, rows, c, scale, shift, mean, act, sumDZ, sumDZX)
}

// Affine2 computes out = a[c]·u + b[c]·v + d[c] on rows of c channels, the second pass of
// the gradient through batch normalisation. out may be u or v.
func Affine2(out, u, v []float32, rows, c int, a, b, d []float32) {
	const op = "affine"
	checkRows(op, rows, c, out, u, v)
	checkChannels(op, c, a, b, d)
	active.affine2(out, u, v, rows, c, a, b, d)
}

// ChannelSum adds to sum[c] the sum of x over rows, and to dot[c], unless nil, the sum
// of x·y.
func ChannelSum(x, y []float32, rows, c int, sum, dot []float32) {
	const op = "channel sum"
	checkRows(op, rows, c, x)
	checkChannels(op, c, sum)
	if dot != nil {
		checkRows(op, rows, c, y)
		checkChannels(op, c, dot)
	}
	active.channelSum(x, y, rows, c, sum, dot)
}

// MeanPool computes the mean over all pixels of one image. x: [pixels][c], y: [c].
func MeanPool(x, y []float32, pixels, c int) {
	y = y[:c]
	clear(y)
	ChannelSum(x, nil, pixels, c, y, nil)
	for i := range y {
		y[i] *= 1 / float32(pixels)
	}
}

// Add computes dst += src.
func Add(dst, src []float32) {
	need("add", "dst", dst, len(src))
	active.add(dst, src)
}

// MaxPool computes the maximum over the taps of each output pixel of one image and,
// unless arg is nil, the input pixel it came from (for the gradient). x: [InPix][c],
// y and arg: [OutPix][c].
func MaxPool(g *Gather, x, y []float32, arg []int32, c int) {
	const op = "max pool"
	checkPool(op, g, x, y, c)
	if arg != nil {
		need(op, "arg", arg, g.OutPix*c)
	}
	active.maxPool(g, x, y, arg, c)
}

// AvgPool computes the mean over the taps that are not padding, one image.
func AvgPool(g *Gather, x, y []float32, c int) {
	checkPool("avg pool", g, x, y, c)
	active.avgPool(g, x, y, c)
}

// SGD is one step of stochastic gradient descent with Nesterov momentum, as PyTorch
// defines it: g += decay·w; v = momentum·v + g; w −= lr·(g + momentum·v).
func SGD(w, g, v []float32, lr, momentum, decay float32) {
	need("sgd", "g", g, len(w))
	need("sgd", "v", v, len(w))
	active.sgd(w, g, v, lr, momentum, decay)
}
