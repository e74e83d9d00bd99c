package kernel

import "math"

// Winograd is a Conv of 3x3 taps and padding 1, computed by filters that multiply less. With
// stride 1 it is F(M×M, 3×3) of Winograd's minimal filtering (Lavin and Gray 2016, "Fast
// Algorithms for Convolutional Neural Networks", section 4): each tile of M×M outputs is
//
//	y = Aᵀ [ Σ_ci (G w Gᵀ) ⊙ (Bᵀ x B) ] A
//
// over its (M+2)×(M+2) inputs x, then act(scale·y + shift + res) as in Conv. That takes
// (M+2)² multiplications an input and output channel where Conv takes 9·M²: 4 times fewer
// for M = 4, 2.25 times fewer for M = 2. The interpolation points are 0, ±1/√2, ±√2, ∞
// for M = 4, with half the error of 0, ±1, ±2, ∞, and 0, ±1, ∞ for M = 2.
//
// With stride 2, the outputs y0 and y1 of a row need the inputs x0 to x4, of which those
// with odd numbers meet one tap and those with even numbers two, as in F(2, 2):
//
//	s = (x0−x2)·w0 + x1·w1,  t = x2·(w0+w2),  u = (x4−x2)·w2 + x3·w1,  y0 = s+t,  y1 = t+u
//
// In both directions that takes 25 multiplications for 2×2 outputs where Conv takes 36.
//
// Sums are rounded otherwise than in Conv: against exact sums of normally distributed
// values, the error relative to the largest output is at most 4e-6 for M = 4 and 2e-6 for
// M = 2 (Conv: 1e-6); TestWinogradError holds them. An input that is not finite can make
// NaN or infinite every output of the tiles that read it, where Conv spoils only the
// pixels around it.
type Winograd struct {
	M            int       // 2 or 4
	Stride       int       // 1 or 2; with 2, M is 2
	H, W         int       // of an image of inputs; that of outputs has ⌈H/Stride⌉×⌈W/Stride⌉ pixels
	X, Y         []float32 // [images][pixels][XPitch] and [images][pixels][YPitch]
	U            []float32 // from WinogradPack, at the maximum size
	Cin, Cout    int       // multiples of 8; Cin may also be WinogradFew
	XPitch       int
	YPitch       int
	InMax        int // of U
	Scale, Shift []float32
	Res          []float32 // layout of Y, may be Y
	Act          Act
}

// WinogradFew is a number of inputs that need not be a multiple of 8: the colours of an
// image. InMax is the same then.
const WinogradFew = 3

// winogradM is the largest M, and winogradMost how many positions its tiles have.
const (
	winogradM    = 4
	winogradMost = (winogradM + 2) * (winogradM + 2)
)

// WinogradLen returns the length of the transformed weights of F(m×m, 3×3):
//
//	[⌈outMax/16⌉][(m+2)²][inMax][16]
//
// A prefix of the outputs and of the inputs is read in place, as in packed weights.
func WinogradLen(m, outMax, inMax int) int { return PackedLen(outMax, (m+2)*(m+2), inMax) }

// WinogradPack transforms packed 3x3 weights in raster order to G w Gᵀ, for a stride of 1 or
// 2. dst has WinogradLen elements.
func WinogradPack(dst, w []float32, m, stride, outMax, inMax int) {
	const op = "winograd pack"
	checkWinograd(op, m, stride)
	need(op, "dst", dst, WinogradLen(m, outMax, inMax))
	need(op, "w", w, PackedLen(outMax, 9, inMax))
	g := winogradG[m+stride-1]
	n := len(g)
	rows := inMax * Panel
	for p := range Panels(outMax) {
		for i := range rows {
			var gw [6][3]float64
			for a := range n {
				for x := range 3 {
					for y := range 3 {
						gw[a][x] += g[a][y] * float64(w[(p*9+3*y+x)*rows+i])
					}
				}
			}
			for a := range n {
				for b := range n {
					u := gw[a][0]*g[b][0] + gw[a][1]*g[b][1] + gw[a][2]*g[b][2]
					dst[(p*n*n+a*n+b)*rows+i] = float32(u)
				}
			}
		}
	}
}

// winogradG holds G by form. For M = 4, the rows of ±1/√2 and ±√2 are scaled so
// that Aᵀ has ones in its second row.
var winogradG = map[int][][3]float64{
	2: {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}},
	3: {{1, 0, 0}, {0, 1, 0}, {1, 0, 1}, {0, 0, 1}},
	4: {
		{1, 0, 0},
		{-math.Sqrt2 / 3, -1.0 / 3, -math.Sqrt2 / 6},
		{-math.Sqrt2 / 3, 1.0 / 3, -math.Sqrt2 / 6},
		{math.Sqrt2 / 6, 1.0 / 3, math.Sqrt2 / 3},
		{math.Sqrt2 / 6, -1.0 / 3, math.Sqrt2 / 3},
		{0, 0, 1},
	},
}

// Tiles returns the number of tiles of so many images, the units of Run.
func (w *Winograd) Tiles(images int) int { return images * w.tilesDown() * w.tilesAcross() }

func (w *Winograd) tilesDown() int   { return (w.outH() + w.M - 1) / w.M }
func (w *Winograd) tilesAcross() int { return (w.outW() + w.M - 1) / w.M }

func (w *Winograd) outH() int { return (w.H + w.Stride - 1) / w.Stride }
func (w *Winograd) outW() int { return (w.W + w.Stride - 1) / w.Stride }

// form numbers the ways to compute tiles: M, and 3 for stride 2.
func (w *Winograd) form() int { return w.M + w.Stride - 1 }

// Step returns how many tiles make a good chunk for one thread: with so many, transformed
// inputs, products and weights share the second-level cache, or, where weights come from
// memory, are read seldom. Run works off longer ranges in parts of about equal size, so a
// multiple does as well; a shorter chunk, down to a handful of tiles, costs little while
// weights come from a cache. It depends on shapes alone.
func (w *Winograd) Step() int {
	const cached = 12 << 20 // bytes of weights
	if 4*(w.M+2)*(w.M+2)*w.Cin*w.Cout <= cached {
		return 18
	}
	return 36
}

// positions returns how many elements the inputs of a tile have.
func (w *Winograd) positions() int { return (w.M + w.Stride + 1) * (w.M + w.Stride + 1) }

// Scratch returns how many floats of scratch Run needs, however long its range. Scratch
// holds nothing between calls; each thread needs its own.
func (w *Winograd) Scratch() int {
	return winogradLine + winogradTmp + w.positions()*(w.Step()*(w.Cin+2*Panel)+2*winogradLine)
}

const (
	winogradLine = 16                  // floats of a cache line
	winogradTmp  = 80 + 8*winogradMost // floats that one tile needs between two steps
)

// Run computes the tiles [lo, hi), numbered row by row and image by image. The results do
// not depend on how the tiles are split into ranges.
func (w *Winograd) Run(lo, hi int, scratch []float32) {
	if lo < hi {
		w.check(hi, scratch)
		active.winograd(w, lo, hi, scratch)
	}
}

func checkWinograd(op string, m, stride int) {
	require(m == 2 || m == 4, op, "M is neither 2 nor 4")
	require(stride == 1 || stride == 2 && m == 2, op, "Stride is neither 1 nor, for M = 2, 2")
}

func (w *Winograd) check(hi int, scratch []float32) {
	const op = "winograd"
	checkWinograd(op, w.M, w.Stride)
	require(w.H > 0 && w.W > 0, op, "an image has no pixels")
	whole := w.Cin > 0 && w.Cin%8 == 0 && w.Cin <= w.InMax
	require(whole || w.Cin == WinogradFew && w.InMax == WinogradFew && w.Stride == 1, op,
		"Cin is neither a multiple of 8 up to InMax nor, with stride 1, 3 and InMax")
	require(w.Cin <= w.XPitch, op, "Cin is above XPitch")
	require(w.Cout > 0 && w.Cout%8 == 0 && w.Cout <= w.YPitch, op, "Cout is no multiple of 8 up to YPitch")
	images := (hi-1)/w.Tiles(1) + 1
	need(op, "X", w.X, pixels(images*w.H*w.W, w.XPitch, w.Cin))
	need(op, "U", w.U, WinogradLen(w.M, w.Cout, w.InMax))
	need(op, "scratch", scratch, w.Scratch())
	n := pixels(images*w.outH()*w.outW(), w.YPitch, w.Cout)
	need(op, "Y", w.Y, n)
	checkEpilogue(op, w.Scale, w.Shift, w.Res, w.Cout, n)
}

// winogradTile is one tile: the pixel of its first output, and where that stands.
type winogradTile struct{ image, row, col int }

// tile returns tile number t.
func (w *Winograd) tile(t int) winogradTile {
	across := w.tilesAcross()
	per := across * w.tilesDown()
	t, image := t%per, t/per
	return winogradTile{image, t / across * w.M, t % across * w.M}
}

// next goes on to the tile that follows.
func (w *Winograd) next(t *winogradTile) {
	if t.col += w.M; t.col >= w.outW() {
		t.col = 0
		if t.row += w.M; t.row >= w.outH() {
			t.row = 0
			t.image++
		}
	}
}
