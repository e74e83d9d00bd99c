package kernel

import (
	"slices"
	"unsafe"
)

// Tap is one position of a convolution window, relative to its centre.
type Tap struct{ DY, DX int }

// Raster lists the k·k taps of a window row by row, the order of dense convolution
// weights.
func Raster(k int) []Tap {
	p := (k - 1) / 2
	taps := make([]Tap, 0, k*k)
	for y := -p; y <= k/2; y++ {
		for x := -p; x <= k/2; x++ {
			taps = append(taps, Tap{y, x})
		}
	}
	return taps
}

// Rings lists the taps of an odd k·k window ring by ring: the centre, then the eight
// around it, and so on, each ring in raster order. A smaller window is a prefix of a
// larger one, so depthwise weights stored in this order serve every kernel size.
func Rings(k int) []Tap {
	taps := make([]Tap, 0, k*k)
	for r := 0; r <= k/2; r++ {
		for y := -r; y <= r; y++ {
			for x := -r; x <= r; x++ {
				if max(y, -y, x, -x) == r {
					taps = append(taps, Tap{y, x})
				}
			}
		}
	}
	return taps
}

// Gather says, for some of the output pixels of one image, which input pixel each tap
// reads. It is the indirection of an indirect GEMM: it depends on the geometry alone,
// neither on channels nor on batch, so every subnet shares it. Padding stands for zeros;
// kernels may skip it or multiply it out, which differs only where a weight or a gradient
// is not finite.
type Gather struct {
	InPix, OutPix int     // pixels of one input and one output image
	Taps          []int32 // number of the weight tap behind each column of In
	Out           []int32 // output pixel that row i writes; nil means i
	In            []int32 // [rows][len(Taps)] input pixel, or -1 for padding; nil means the identity with one tap

	slide *slide    // nil if it is no whole window
	parts []Gather  // the rows by which taps are padding, without those taps; nil if few are
	taps  []tapRows // one a tap; nil if little is padding
}

// tapRows lists, for one column of In, the rows where it is not padding: what the weight
// gradient of that tap sums over. Rows are in order of out.
type tapRows struct{ in, out []int32 }

// byTap sets taps where padding makes up at least a twelfth of In: choosing rows costs a
// little for each.
func (g *Gather) byTap() {
	if g.padding()*12 < len(g.In) {
		return
	}
	g.taps = make([]tapRows, len(g.Taps))
	for j := range g.taps {
		t := &g.taps[j]
		for r := range g.Rows() {
			if _, out, in := g.row(r); in[j] >= 0 {
				t.in, t.out = append(t.in, in[j]), append(t.out, int32(out))
			}
		}
	}
}

// Step returns how many rows to hand to Conv.Rows at a time when about so many make a
// good chunk of work for a thread, given the number of images: whole tiles of 6, or, where
// padding is worth skipping and there are plenty of images, groups of 6 whole images. It
// depends on shapes alone, so that results do not depend on the number of threads.
func (g *Gather) Step(rows, images int) int {
	if group := 6 * g.Rows(); g.parts != nil && images >= 4*6 {
		return max(1, rows/group) * group
	}
	return max(1, rows/48) * 48
}

// padding counts the entries of In that are padding.
func (g *Gather) padding() int {
	n := 0
	for _, p := range g.In {
		if p < 0 {
			n++
		}
	}
	return n
}

// drop removes the taps that are padding for every row, as most are where an image has few
// pixels, so that nothing reads their weights.
func (g *Gather) drop() {
	taps := len(g.Taps)
	used := make([]bool, taps)
	for i, p := range g.In {
		used[i%taps] = used[i%taps] || p >= 0
	}
	if !slices.Contains(used, false) {
		return
	}
	var in, kept []int32
	for j, t := range g.Taps {
		if used[j] {
			kept = append(kept, t)
		}
	}
	for i, p := range g.In {
		if used[i%taps] {
			in = append(in, p)
		}
	}
	g.Taps, g.In = kept, in
}

// split sets parts where padding makes up at least a twenty-fifth of In.
func (g *Gather) split() {
	taps := len(g.Taps)
	if g.padding()*25 < len(g.In) {
		return
	}
	var order []uint64 // the sets of taps that occur
	rows := map[uint64][]int{}
	for r := range g.Rows() {
		var set uint64
		for j, p := range g.In[r*taps : r*taps+taps] {
			if p >= 0 {
				set |= 1 << j
			}
		}
		if rows[set] == nil {
			order = append(order, set)
		}
		rows[set] = append(rows[set], r)
	}
	for _, set := range order {
		g.parts = append(g.parts, g.part(set, rows[set]))
	}
}

// part returns the gather of some rows and the taps of a set.
func (g *Gather) part(set uint64, rows []int) Gather {
	p := Gather{InPix: g.InPix, OutPix: g.OutPix}
	for j, t := range g.Taps {
		if set>>j&1 == 1 {
			p.Taps = append(p.Taps, t)
		}
	}
	for _, r := range rows {
		out := int32(r)
		if g.Out != nil {
			out = g.Out[r]
		}
		p.Out = append(p.Out, out)
		for j, in := range g.In[r*len(g.Taps):][:len(g.Taps)] {
			if set>>j&1 == 1 {
				p.In = append(p.In, in)
			}
		}
	}
	return p
}

// slide describes a gather over all taps of a window that computes every output pixel, in
// order: neighbouring outputs share inputs.
type slide struct {
	h, w, ow  int // input lines and their pixels, pixels of an output line
	k, stride int
	taps      []int // numbers of the taps by where their input pixels lie, raster order
}

// newSlide orders the taps; sign is 1 when the input is at output + tap, −1 at output − tap.
func (win *Window) newSlide(taps []Tap, sign int) *slide {
	k := win.K
	s := &slide{h: win.H, w: win.W, ow: win.OW, k: k, stride: win.Stride, taps: make([]int, len(taps))}
	for i, t := range taps {
		s.taps[(sign*t.DY+k/2)*k+sign*t.DX+k/2] = i
	}
	return s
}

// Rows returns how many output pixels of one image the gather computes.
func (g *Gather) Rows() int {
	if g.Out != nil {
		return len(g.Out)
	}
	return g.OutPix
}

// Window is the geometry of a convolution with padding ⌊(K−1)/2⌋ on every side: for odd
// K, OH = ⌈H/Stride⌉; for K = Stride = 2, OH = ⌊H/2⌋ without padding.
type Window struct {
	H, W, OH, OW, K, Stride int
	// Fwd computes outputs from inputs.
	Fwd Gather
	// Bwd computes input gradients from output gradients: one gather a parity class of
	// input pixels, so that each lists only taps that can hit. Together their Out cover
	// every input pixel once; a class that no tap reaches has no Taps.
	Bwd []Gather
}

// IdentityGather returns the gather of a 1x1 convolution with stride 1 over pix pixels, and
// of a fully connected layer for pix = 1.
func IdentityGather(pix int) *Gather {
	return &Gather{InPix: pix, OutPix: pix, Taps: []int32{0}}
}

// NewWindow builds the geometry for h·w inputs, the taps in the order given
// (Raster(k) or Rings(k)).
func NewWindow(h, w, k, stride int, taps []Tap) *Window {
	win := newForward(h, w, k, stride, taps)
	if k == 1 && stride == 1 {
		win.Bwd = []Gather{win.Fwd}
		return win
	}
	win.Fwd.byTap()
	for py := range stride {
		for px := range stride {
			g := win.backward(taps, py, px)
			g.split()
			win.Bwd = append(win.Bwd, g)
		}
	}
	if stride == 1 && win.slides(taps) {
		win.Bwd[0].slide = win.newSlide(taps, -1)
	}
	return win
}

// newForward builds the geometry without what gradients need.
func newForward(h, w, k, stride int, taps []Tap) *Window {
	p := (k - 1) / 2
	win := &Window{H: h, W: w, K: k, Stride: stride, OH: (h+2*p-k)/stride + 1, OW: (w+2*p-k)/stride + 1}
	if k == 1 && stride == 1 {
		win.Fwd = *IdentityGather(h * w)
	} else {
		win.Fwd = win.forward(taps)
	}
	return win
}

// slides reports whether the taps are those of a window with a centre.
func (win *Window) slides(taps []Tap) bool {
	return win.K%2 == 1 && len(taps) == win.K*win.K
}

func (win *Window) forward(taps []Tap) Gather {
	g := Gather{InPix: win.H * win.W, OutPix: win.OH * win.OW}
	for t := range taps {
		g.Taps = append(g.Taps, int32(t))
	}
	g.In = make([]int32, 0, g.OutPix*len(taps))
	for oy := range win.OH {
		for ox := range win.OW {
			for _, t := range taps {
				g.In = append(g.In, win.pixel(oy*win.Stride+t.DY, ox*win.Stride+t.DX, win.H, win.W))
			}
		}
	}
	g.drop()
	if win.slides(taps) {
		g.slide = win.newSlide(taps, 1)
	}
	g.split()
	return g
}

// backward lists the input pixels (y, x) with y ≡ py and x ≡ px (mod Stride): tap
// (dy, dx) carries the gradient of output ((y−dy)/Stride, (x−dx)/Stride) where that
// divides.
func (win *Window) backward(taps []Tap, py, px int) Gather {
	s := win.Stride
	g := Gather{InPix: win.OH * win.OW, OutPix: win.H * win.W, Out: []int32{}, In: []int32{}}
	var hit []Tap
	for i, t := range taps {
		if mod(py-t.DY, s) == 0 && mod(px-t.DX, s) == 0 {
			g.Taps = append(g.Taps, int32(i))
			hit = append(hit, t)
		}
	}
	for y := py; y < win.H; y += s {
		for x := px; x < win.W; x += s {
			g.Out = append(g.Out, int32(y*win.W+x))
			for _, t := range hit {
				g.In = append(g.In, win.pixel(floorDiv(y-t.DY, s), floorDiv(x-t.DX, s), win.OH, win.OW))
			}
		}
	}
	return g
}

func (win *Window) pixel(y, x, h, w int) int32 {
	if y < 0 || y >= h || x < 0 || x >= w {
		return -1
	}
	return int32(y*w + x)
}

func mod(a, b int) int { return ((a % b) + b) % b }

func floorDiv(a, b int) int { return (a - mod(a, b)) / b }

// Windows keeps the windows that were asked for, one a geometry. The zero value is ready
// for use; it is not safe for concurrent use.
type Windows struct {
	m   map[windowKey]*Window
	fwd map[windowKey]*Gather
}

type windowKey struct {
	h, w, k, stride int
	rings           bool
}

// taps returns those of the window, in its order.
func (key windowKey) taps() []Tap {
	if key.rings {
		return Rings(key.k)
	}
	return Raster(key.k)
}

// Get returns the window over h·w inputs with its taps in raster order, or ring by ring.
func (ws *Windows) Get(h, w, k, stride int, rings bool) *Window {
	key := windowKey{h, w, k, stride, rings}
	win := ws.m[key]
	if win == nil {
		win = NewWindow(h, w, k, stride, key.taps())
		if ws.m == nil {
			ws.m = map[windowKey]*Window{}
		}
		ws.m[key] = win
	}
	return win
}

// Forward returns the gather that computes outputs, as Get(…).Fwd, for those who need no
// gradients.
func (ws *Windows) Forward(h, w, k, stride int, rings bool) *Gather {
	key := windowKey{h, w, k, stride, rings}
	g := ws.fwd[key]
	if g == nil {
		g = &newForward(h, w, k, stride, key.taps()).Fwd
		if ws.fwd == nil {
			ws.fwd = map[windowKey]*Gather{}
		}
		ws.fwd[key] = g
	}
	return g
}

// Bytes returns the memory that the tables of indices take.
func (ws *Windows) Bytes() int {
	n := 0
	for _, w := range ws.m {
		n += w.Fwd.bytes()
		for i := range w.Bwd {
			n += w.Bwd[i].bytes()
		}
	}
	for _, g := range ws.fwd {
		n += g.bytes()
	}
	return n
}

// bytes returns the memory of the gather's tables.
func (g *Gather) bytes() int {
	n := 4 * (cap(g.Taps) + cap(g.In) + cap(g.Out))
	for i := range g.parts {
		n += int(unsafe.Sizeof(g.parts[i])) + g.parts[i].bytes()
	}
	for i := range g.taps {
		n += 4 * (cap(g.taps[i].in) + cap(g.taps[i].out))
	}
	return n
}
