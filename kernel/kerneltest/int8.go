package kerneltest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"

	"weft/kernel"
	"weft/tensor"
)

// Int8Case is one int8 operation on one shape. Its results must be the same bytes in
// every tier.
type Int8Case struct {
	Op, Shape string
	setup     func(*bytes8) Int8Work
}

func (c Int8Case) String() string { return c.Op + " " + c.Shape }

// Int8Work is a case with its buffers: units independent pieces and how to run some.
type Int8Work struct {
	Units int
	Run   func(lo, hi int)
	Ops   float64 // operations, a multiply-add being two; 0 where memory is the limit
	Bytes float64 // moved at least
}

// Setup returns the case on buffers that hold random values.
func (c Int8Case) Setup(seed uint64) Int8Work { return c.setup(newBytes8(seed)) }

// Agree runs the case by the specification and by the kernels in use, the latter in two
// pieces, and reports the first byte that differs or that was written outside the outputs.
func (c Int8Case) Agree(seed uint64) error {
	want := newBytes8(seed)
	w := c.setup(want)
	restore := kernel.UseTier("go")
	w.Run(0, w.Units)
	restore()
	got := newBytes8(seed)
	w = c.setup(got)
	w.Run(0, w.Units/3)
	w.Run(w.Units/3, w.Units)
	if err := got.equal(want); err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	return nil
}

// bytes8 hands out the buffers of one case between guard zones; the same seed gives the
// same contents.
type bytes8 struct {
	rng    *rand.Rand
	bytes  [][]uint8
	floats [][]float32
}

func newBytes8(seed uint64) *bytes8 { return &bytes8{rng: rand.New(rand.NewPCG(seed, 8))} }

// take returns n bytes, each 0, 255 or anything.
func (b *bytes8) take(n int) []uint8 {
	all := make([]uint8, n+2*guard)
	for i := range all {
		switch all[i] = uint8(b.rng.Uint32()); b.rng.IntN(4) {
		case 0:
			all[i] = 0
		case 1:
			all[i] = 255
		}
	}
	b.bytes = append(b.bytes, all)
	return all[guard : guard+n : guard+n]
}

// float returns n normal values.
func (b *bytes8) float(n int) []float32 {
	all := make([]float32, n+2*guard)
	for i := range all {
		all[i] = float32(b.rng.NormFloat64())
	}
	b.floats = append(b.floats, all)
	return all[guard : guard+n : guard+n]
}

// weights returns n weights within ±63, many of them at the ends.
func (b *bytes8) weights(n int) []int8 {
	w := make([]int8, n)
	for i := range w {
		switch b.rng.IntN(8) {
		case 0:
			w[i] = kernel.MaxWeight8
		case 1:
			w[i] = -kernel.MaxWeight8
		default:
			w[i] = int8(b.rng.IntN(2*kernel.MaxWeight8+1) - kernel.MaxWeight8)
		}
	}
	return w
}

// requant returns an epilogue for n channels whose sums have terms products each: mostly
// in range, some far outside.
func (b *bytes8) requant(n, terms int, zero uint8, table bool) kernel.Requant8 {
	r := kernel.Requant8{Zero: zero, Bias: make([]int32, n), Scale: make([]float32, n)}
	for i := range n {
		r.Bias[i] = int32(b.rng.IntN(20000) - 10000)
		r.Scale[i] = float32(b.rng.NormFloat64()) / float32(40*terms)
		switch b.rng.IntN(16) {
		case 0:
			r.Bias[i] = kernel.MaxBias8
			r.Scale[i] = 3
		case 1:
			r.Bias[i] = -kernel.MaxBias8
		case 2:
			r.Scale[i] = 0.5 // ties
		}
	}
	if table {
		r.Table = new([256]uint8)
		for i := range r.Table {
			r.Table[i] = uint8(b.rng.Uint32())
		}
	}
	return r
}

func (b *bytes8) equal(want *bytes8) error {
	for i, got := range b.bytes {
		for j, v := range got {
			if v != want.bytes[i][j] {
				return fmt.Errorf("buffer %d[%d]: got %d, want %d", i, j-guard, v, want.bytes[i][j])
			}
		}
	}
	for i, got := range b.floats {
		for j, v := range got {
			if w := want.floats[i][j]; math.Float32bits(v) != math.Float32bits(w) {
				return fmt.Errorf("floats %d[%d]: got %v, want %v", i, j-guard, v, w)
			}
		}
	}
	return nil
}

// conv8 describes a dense convolution of bytes.
type conv8 struct {
	n, h, w, k, stride int
	cin, cout          int
	inMax, outMax      int // 0: cin, cout
	xPad, yPad         int
	pad, zero          uint8
	res, table, float  bool
}

func (c conv8) String() string {
	words := []string{fmt.Sprintf("n%d %dx%d %dx%d/%d %d→%d", c.n, c.h, c.w, c.k, c.k, c.stride, c.cin, c.cout)}
	for _, o := range []struct {
		on   bool
		name string
	}{{max(c.inMax, c.outMax) > 0, "sliced"}, {c.xPad+c.yPad > 0, "pitch"}, {c.res, "res"}, {c.table, "table"}, {c.float, "float"}} {
		if o.on {
			words = append(words, o.name)
		}
	}
	return strings.Join(words, " ")
}

func (c conv8) kase() Int8Case {
	return Int8Case{Op: "conv8", Shape: c.String(), setup: func(b *bytes8) Int8Work {
		g := &kernel.NewWindow(c.h, c.w, c.k, c.stride, kernel.Raster(c.k)).Fwd
		in, taps := max(c.cin, c.inMax), c.k*c.k
		k := &kernel.Conv8{
			G: g, Cin: c.cin, Cout: c.cout, XPitch: c.cin + c.xPad, YPitch: c.cout + c.yPad, Taps: taps, InMax: in,
			Pad: c.pad, Requant8: b.requant(kernel.Panels(c.cout)*kernel.Panel, taps*c.cin, c.zero, c.table),
		}
		k.X = b.take(c.n * g.InPix * k.XPitch)
		k.W = b.weights(kernel.PackedLen8(max(c.cout, c.outMax), taps, in))
		out := c.n * g.OutPix * k.YPitch
		if c.float {
			k.Float = b.float(out)
		} else {
			k.Y = b.take(out)
		}
		if c.res {
			k.Res = b.take(out)
			k.Add = kernel.Affine8{A: 0.71, B: 1.37, C: float32(c.zero) - 1.37*50}
		}
		return Int8Work{
			Units: c.n * g.Rows(), Run: k.Rows,
			Ops: 2 * float64(c.n*g.Rows()) * float64(c.cin*c.cout*taps),
		}
	}}
}

// tiles is the case by Winograd's algorithm: units are tiles of a 3x3 layer with stride 1.
func (c conv8) tiles() Int8Case {
	return Int8Case{Op: "winograd8", Shape: c.String(), setup: func(b *bytes8) Int8Work {
		g := &kernel.NewWindow(c.h, c.w, 3, 1, kernel.Raster(3)).Fwd
		in, outMax := max(c.cin, c.inMax), max(c.cout, c.outMax)
		k := &kernel.Winograd8{Tiles: kernel.NewTiles8(c.h, c.w), U: make([]int16, kernel.Winograd8Len(outMax, in)), Conv8: kernel.Conv8{
			G: g, Cin: c.cin, Cout: c.cout, XPitch: c.cin + c.xPad, YPitch: c.cout + c.yPad, Taps: 9, InMax: in,
			Pad: c.pad, Requant8: b.requant(kernel.Panels(c.cout)*kernel.Panel, 9*c.cin, c.zero, c.table),
		}}
		k.X = b.take(c.n * g.InPix * k.XPitch)
		k.W = b.weights(kernel.PackedLen8(outMax, 9, in))
		if !kernel.Winograd8Pack(k.U, k.W, outMax, in) {
			panic("kerneltest: sums do not fit")
		}
		out := c.n * g.OutPix * k.YPitch
		k.Y = b.take(out)
		if c.res {
			k.Res = b.take(out)
			k.Add = kernel.Affine8{A: 0.71, B: 1.37, C: float32(c.zero) - 1.37*50}
		}
		scratch := tensor.Bytes(k.Scratch())
		return Int8Work{
			Units: c.n * k.Tiles.In.Rows(), Run: func(lo, hi int) { k.Rows(lo, hi, scratch) },
			Ops: 2 * float64(c.n*g.Rows()) * float64(c.cin*c.cout*9),
		}
	}}
}

// Int8Cases returns the shapes on which all tiers must give the same bytes.
func Int8Cases() []Int8Case {
	var cs []Int8Case
	for _, c := range []conv8{
		{n: 2, h: 5, w: 5, k: 3, stride: 1, cin: 8, cout: 16},
		{n: 3, h: 7, w: 6, k: 3, stride: 2, cin: 16, cout: 24, inMax: 40, outMax: 64, pad: 7},
		{n: 2, h: 6, w: 9, k: 3, stride: 2, cin: 24, cout: 8, zero: 100, table: true},
		{n: 2, h: 9, w: 9, k: 5, stride: 1, cin: 4, cout: 40, pad: 255, zero: 3, res: true},
		{n: 2, h: 8, w: 8, k: 3, stride: 1, cin: 12, cout: 56, xPad: 2, yPad: 8, res: true, table: true},
		{n: 7, h: 4, w: 4, k: 1, stride: 1, cin: 48, cout: 24, xPad: 8, yPad: 16, outMax: 56, res: true},
		{n: 2, h: 7, w: 7, k: 1, stride: 2, cin: 16, cout: 48, inMax: 20},
		{n: 1, h: 1, w: 1, k: 1, stride: 1, cin: 72, cout: 56, float: true},
		{n: 3, h: 1, w: 1, k: 1, stride: 1, cin: 20, cout: 8, table: true, zero: 128},
		{n: 11, h: 1, w: 1, k: 1, stride: 1, cin: 64, cout: 104, float: true},
		{n: 211, h: 1, w: 1, k: 1, stride: 1, cin: 16, cout: 24, zero: 9},
		{n: 14, h: 4, w: 3, k: 3, stride: 1, cin: 8, cout: 120, res: true},
		{n: 1, h: 20, w: 20, k: 3, stride: 1, cin: 104, cout: 72, pad: 31, zero: 255},
		{n: 1, h: 14, w: 13, k: 7, stride: 2, cin: 4, cout: 136, res: true, zero: 1, table: true},
		{n: 1, h: 6, w: 6, k: 3, stride: 1, cin: 640, cout: 64},
	} {
		cs = append(cs, c.kase())
	}
	for i, out := range []int{8, 16, 24, 32, 40, 48, 64, 72, 88, 136} {
		cs = append(cs,
			conv8{n: 2, h: 4 + i%5, w: 7, k: 3, stride: 1, cin: out, cout: out, pad: 200, res: i%2 == 0}.tiles(),
			conv8{n: 3, h: 5, w: 4 + i, k: 3, stride: 1, cin: 8 + 8*i, cout: out, inMax: 96, outMax: 160, xPad: 8, yPad: 16, zero: 9, table: i%3 == 0}.tiles())
	}
	cs = append(cs, conv8{n: 31, h: 8, w: 8, k: 3, stride: 1, cin: 16, cout: 16, pad: 255}.tiles(), // blocks of several images
		conv8{n: 1, h: 14, w: 14, k: 3, stride: 1, cin: 176, cout: 64}.tiles(), conv8{n: 2, h: 2, w: 3, k: 3, stride: 1, cin: 8, cout: 8, pad: 3}.tiles())
	for rows := 1; rows <= 17; rows++ { // every tail
		for _, out := range []int{8, 16, 24, 32, 48, 56, 64} {
			cs = append(cs, conv8{n: rows, h: 1, w: 1, k: 1, stride: 1, cin: 20, cout: out, zero: 40, res: rows%2 == 0}.kase(),
				conv8{n: 1, h: 1, w: rows, k: 3, stride: 1, cin: 8, cout: out, pad: 90, table: rows%3 == 0}.kase())
		}
	}
	for i, c := range []int{8, 16, 24, 32, 40, 64, 88, 128, 232} {
		cs = append(cs, depthwise8(1, 6, 5, 3, 1, c, i%2 == 0), depthwise8(2, 7, 7, 5, 2, c, i%2 == 1), depthwise8(2, 4, 9, 7, 1, c, false))
	}
	for _, c := range []int{8, 24, 64, 264} {
		cs = append(append(cs, rows8(7, 9, c)...), rows8(2, 2, c)...)
	}
	return cs
}

// depthwise8 convolves c channels of n images of h·w pixels.
func depthwise8(n, h, w, k, stride, c int, table bool) Int8Case {
	shape := fmt.Sprintf("n%d %dx%d %dx%d/%d %d", n, h, w, k, k, stride, c)
	if table {
		shape += " table"
	}
	return Int8Case{Op: "depthwise8", Shape: shape, setup: func(b *bytes8) Int8Work {
		g := &kernel.NewWindow(h, w, k, stride, kernel.Rings(k)).Fwd
		d := &kernel.Depthwise8{
			G: g, C: c, Pad: 77, Requant8: b.requant(kernel.DepthwisePad8(c), k*k, 30, table),
			X: b.take(n * g.InPix * c), W: b.weights(kernel.DepthwiseLen8(c, k*k)), Y: b.take(n * g.OutPix * c),
		}
		for ch := range kernel.DepthwisePad8(c) { // taps that fill up are zero
			for t := k * k; t < (k*k+3)&^3; t++ {
				d.W[kernel.DepthwiseIndex8(k*k, ch, t)] = 0
			}
		}
		return Int8Work{Units: n * g.Rows(), Run: d.Rows, Ops: 2 * float64(n*g.Rows()*c*k*k)}
	}}
}

// rows8 are the operations that are not convolutions, on c channels of h·w pixels.
func rows8(h, w, c int) []Int8Case {
	n := h * w
	shape := fmt.Sprintf("%dx%d %d", h, w, c)
	whole := func(run func()) func(lo, hi int) {
		return func(lo, hi int) {
			if lo < hi {
				run()
			}
		}
	}
	pool := func(name string, k, stride int, f func(g *kernel.Gather, y, x []uint8, c, lo, hi int)) Int8Case {
		return Int8Case{Op: name, Shape: fmt.Sprintf("%s %d/%d", shape, k, stride), setup: func(b *bytes8) Int8Work {
			g := &kernel.NewWindow(h, w, k, stride, kernel.Raster(k)).Fwd
			x, y := b.take(n*c), b.take(g.OutPix*c)
			return Int8Work{Units: g.OutPix, Run: func(lo, hi int) { f(g, y, x, c, lo, hi) }, Bytes: float64(len(x) + len(y))}
		}}
	}
	return []Int8Case{
		{"quantise", shape, func(b *bytes8) Int8Work {
			x, y, sub, mul := b.float(n*3), b.take(n*3), b.float(3), b.float(3)
			x[b.rng.IntN(len(x))], x[b.rng.IntN(len(x))] = float32(math.NaN()), 1e30
			for i := range mul {
				mul[i] *= 60
			}
			return Int8Work{Units: n, Bytes: float64(15 * n), Run: func(lo, hi int) {
				kernel.Quantise8(y[3*lo:3*hi], x[3*lo:3*hi], sub, mul, 100)
			}}
		}},
		{"add8", shape, func(b *bytes8) Int8Work {
			x, r, y := b.take(n*c), b.take(n*c), b.take(n*c)
			return Int8Work{Units: n * c, Bytes: float64(3 * n * c), Run: func(lo, hi int) {
				kernel.Add8(y[lo:hi], x[lo:hi], r[lo:hi], kernel.Affine8{A: 0.5, B: 0.7, C: -20})
			}}
		}},
		{"gate8", shape, func(b *bytes8) Int8Work {
			x, gate, y := b.take(n*c), b.take(c), b.take(n*c)
			return Int8Work{Units: n, Bytes: float64(2 * n * c), Run: func(lo, hi int) {
				kernel.Gate8(y[lo*c:hi*c], x[lo*c:hi*c], gate, hi-lo, 13, 2, 0.0039, 40)
			}}
		}},
		{"mean pool8", shape, func(b *bytes8) Int8Work {
			x, y := b.take(n*c), b.take(c)
			return Int8Work{Units: 1, Bytes: float64(n * c), Run: whole(func() { kernel.MeanPool8(y, x, n, c, 17, 1.1/float32(n), 3) })}
		}},
		pool("max pool8", 3, 2, kernel.MaxPool8),
		pool("max pool8", 2, 2, kernel.MaxPool8),
		pool("avg pool8", 2, 2, kernel.AvgPool8),
		pool("avg pool8", 3, 1, kernel.AvgPool8),
	}
}

// Int8SpeedCases returns the shapes that are timed.
func Int8SpeedCases() []Int8Case {
	var cs []Int8Case
	for _, s := range []struct{ hw, cin, cout, k, stride int }{
		{32, 64, 64, 3, 1},
		{32, 16, 16, 3, 1},
		{32, 32, 32, 3, 1},
		{32, 128, 128, 3, 1},
		{14, 48, 48, 3, 1},
		{7, 96, 96, 3, 1},
		{28, 24, 48, 3, 2},
		{56, 64, 64, 3, 1},
		{14, 256, 256, 3, 1},
		{7, 512, 512, 3, 1},
		{56, 64, 256, 1, 1},
		{56, 256, 64, 1, 1},
		{28, 512, 128, 1, 1},
		{14, 1024, 256, 1, 1},
		{7, 2048, 512, 1, 1},
		{32, 16, 16, 1, 1},
		{32, 64, 64, 1, 1},
		{14, 80, 480, 1, 1},
		{1, 256, 96, 1, 1},
		{1, 960, 1280, 1, 1},
	} {
		for _, n := range []int{1, 8} {
			c := conv8{n: n, h: s.hw, w: s.hw, k: s.k, stride: s.stride, cin: s.cin, cout: s.cout}
			cs = append(cs, c.kase())
			if s.k == 3 && s.stride == 1 {
				cs = append(cs, c.tiles())
			}
		}
	}
	for _, s := range []struct{ hw, c, k, stride int }{{32, 64, 3, 1}, {28, 64, 3, 2}, {14, 480, 5, 1}, {14, 64, 5, 1}, {7, 960, 5, 1}, {56, 144, 7, 2}} {
		cs = append(cs, depthwise8(8, s.hw, s.hw, s.k, s.stride, s.c, false))
	}
	return append(cs, rows8(28, 28, 96)...)
}
