package kernel

// WinogradRepack is WinogradPack for M = 4 at the speed of memory, in float32: for weights
// that change with every step of training. With flip, taps are reversed: weights from
// PackTransposed then compute input gradients.
func WinogradRepack(dst, w []float32, outMax, inMax int, flip bool) {
	const op = "winograd repack"
	need(op, "dst", dst, WinogradLen(winogradM, outMax, inMax))
	need(op, "w", w, PackedLen(outMax, 9, inMax))
	active.winogradRepack(dst, w, Panels(outMax), inMax*Panel, flip)
}

// WinogradGrad accumulates the weight gradient of a Conv with 3x3 taps, stride 1 and
// padding 1 as the gradient of Winograd with M = 4:
//
//	dw += Gᵀ [ Σ_tiles (Bᵀ x B) ⊙ (A dy Aᵀ) ] G
//
// It takes three steps, each over everything before the next begins: Transform all images,
// Products of all positions, Weights of all panels. Parts of a step may run on different
// threads. The error relative to the largest gradient is about 1e-6 on normally
// distributed values.
type WinogradGrad struct {
	H, W      int // of an image
	Cin, Cout int // multiples of 8; pixels of x and dy stand as far apart
	Images    int // of the batch
	// V and D are the transformed inputs and output gradients, of VLen and DLen elements, U
	// is the gradient of the transformed weights, of ULen elements.
	V, D, U []float32
}

// VLen returns the length of V.
func (w *WinogradGrad) VLen() int { return winogradMost * w.stride(w.Cin) }

// DLen returns the length of D.
func (w *WinogradGrad) DLen() int { return winogradMost * w.stride(w.Cout) }

// ULen returns the length of U.
func (w *WinogradGrad) ULen() int { return WinogradLen(winogradM, w.Cout, w.Cin) }

// stride is the distance from position to position: a cache line more than it need be, so
// that the positions of a tile do not fall on the same set of the cache.
func (w *WinogradGrad) stride(c int) int { return w.tiles()*c + winogradLine }

// Positions returns the number of positions, the units of Products.
func (w *WinogradGrad) Positions() int { return winogradMost }

func (w *WinogradGrad) tiles() int { return w.geometry().Tiles(w.Images) }

func (w *WinogradGrad) geometry() *Winograd {
	return &Winograd{M: winogradM, Stride: 1, H: w.H, W: w.W}
}

// Transform transforms the inputs x and the output gradients dy of some images, which
// begin with image number first of the batch.
func (w *WinogradGrad) Transform(x, dy []float32, first, images int) {
	const op = "winograd gradient"
	g := w.geometry()
	pix := w.H * w.W
	require(w.Cin > 0 && w.Cin%8 == 0 && w.Cout > 0 && w.Cout%8 == 0, op, "Cin or Cout is no multiple of 8")
	require(first+images <= w.Images, op, "the images are not of the batch")
	need(op, "x", x, images*pix*w.Cin)
	need(op, "dy", dy, images*pix*w.Cout)
	need(op, "V", w.V, w.VLen())
	need(op, "D", w.D, w.DLen())
	active.winogradTiles(w, x, dy, g.Tiles(first), g.Tiles(images))
}

// Products computes U at positions [lo, hi).
func (w *WinogradGrad) Products(lo, hi int) {
	const op = "winograd gradient"
	need(op, "V", w.V, w.VLen())
	need(op, "D", w.D, w.DLen())
	need(op, "U", w.U, w.ULen())
	c := ConvGrad{G: single, Cin: w.Cin, XPitch: w.Cin, YPitch: w.Cout, Taps: 1, InMax: w.Cin}
	for p := lo; p < hi; p++ {
		c.X = w.V[p*w.stride(w.Cin):]
		for co := 0; co < w.Cout; co += Panel {
			c.DY, c.Cout = w.D[p*w.stride(w.Cout)+co:], min(Panel, w.Cout-co)
			c.DW = w.U[PackedIndex(winogradMost, w.Cin, co, p, 0):][:w.Cin*Panel]
			clear(c.DW)
			c.Images(0, w.tiles())
		}
	}
}

var single = IdentityGather(1)

// Weights adds the gradients of the panels [lo, hi) to dw, packed with rows of inMax inputs.
func (w *WinogradGrad) Weights(dw []float32, inMax, lo, hi int) {
	const op = "winograd gradient"
	require(w.Cin <= inMax, op, "Cin is above the inputs of dw")
	need(op, "U", w.U, w.ULen())
	need(op, "dw", dw, PackedLen(w.Cout, 9, inMax))
	n := w.Cin * Panel
	for p := lo; p < hi; p++ {
		active.winogradPanel(dw[p*9*inMax*Panel:], inMax*Panel, w.U[p*winogradMost*n:], n)
	}
}
