//go:build !purego

package kernel

import (
	"unsafe"

	"github.com/klauspost/cpuid/v2"
)

// vnni8 says whether the processor multiplies and adds bytes in one instruction and
// permutes them by a table.
var vnni8 = cpuid.CPU.Supports(cpuid.AVX512VNNI, cpuid.AVX512VBMI)

// kernels8 returns the int8 kernels of the tier in use: avx512 without these two
// extensions takes those of avx2.
func kernels8() *impl8 {
	switch {
	case active.name == "go":
		return &generic8
	case active.name == "avx512" && vnni8:
		return &vnni
	default:
		return &avx2x8
	}
}

// avx2x8 needs AVX2 and FMA; vnni needs what vnni8 says as well.
var avx2x8 = impl8{
	conv:      func(c *Conv8, lo, hi int) { c.rows(lo, hi, false) },
	depthwise: func(d *Depthwise8, lo, hi int) { d.rows(lo, hi, false) },
	quantise:  quantise8AVX2, add: add8AVX2, gate: gate8AVX2, mean: meanPool8AVX2, maxPool: maxPool8AVX2, avgPool: avgPool8AVX2,
}

var vnni = func() impl8 {
	k := avx2x8
	k.conv = func(c *Conv8, lo, hi int) { c.rows(lo, hi, true) }
	k.depthwise = func(d *Depthwise8, lo, hi int) { d.rows(lo, hi, true) }
	k.winograd = winograd8VNNI
	return k
}()

// args8 is what the assembly takes: kernel/_gen knows the order of its fields.
type args8 struct {
	pixels        unsafe.Pointer // list of the inputs of each row and tap; with linear rows, the first
	offsets       *int           // list of the offsets of the rows' outputs
	n             int            // rows
	taps          *int32
	ntaps         int
	cin           int
	w             *int8
	wtap, wpanel  int // bytes of a tap and of a panel of weights
	pitch, ypitch int // of linear rows
	y, res        *uint8
	bias          *int32
	scale         *float32
	table         *[256]uint8
	float         *float32
	half          int    // which outputs of the last panel are in use, as bits
	first         int    // offset of the first of linear rows' outputs
	ch            int    // depthwise: first channel
	_             [5]int // room for the assembly

	zero             int32
	zeroF            float32
	addA, addB, addC float32
	top, limit       float32
	_                int32
}

// table8 is table for bytes.
type table8 struct {
	pixels  [tableLen]*uint8
	offsets [tableRows]int
}

// fill describes n rows from row lo on; padding reads pad.
func (t *table8) fill(g *Gather, lo, n int, x []uint8, xPitch, yPitch int, pad *uint8) {
	per, taps := g.Rows(), len(g.Taps)
	image, i := lo/per, lo%per
	for done := 0; done < n; {
		part := min(per-i, n-done)
		base := &x[image*g.InPix*xPitch]
		if g.In == nil {
			for k := range part {
				t.pixels[done+k] = (*uint8)(unsafe.Add(unsafe.Pointer(base), xPitch*(i+k)))
			}
		} else {
			lookUp((**float32)(unsafe.Pointer(&t.pixels[done*taps])), &g.In[i*taps], part*taps,
				(*float32)(unsafe.Pointer(base)), xPitch, (*float32)(unsafe.Pointer(pad)))
		}
		for k := range part {
			out := i + k
			if g.Out != nil {
				out = int(g.Out[out])
			}
			t.offsets[done+k] = yPitch * (image*g.OutPix + out)
		}
		done += part
		image, i = image+1, 0
	}
}

// chunk8 returns how many rows one pass takes when a row costs work multiply-adds, as
// chunk does.
func (g *Gather) chunk8(work int) int {
	n := min(tableRows, tableLen/max(1, len(g.Taps)), (1<<24)/max(1, work))
	return max(6, n/24*24)
}

// set fills in what does not depend on the rows.
func (a *args8) set(c *Conv8) {
	a.cin = c.Cin
	a.wtap, a.wpanel = c.InMax*Panel, c.Taps*c.InMax*Panel
	a.pitch, a.ypitch = c.XPitch, c.YPitch
	a.zero, a.zeroF = int32(c.Zero), float32(c.Zero)
	a.addA, a.addB, a.addC = c.Add.A, c.Add.B, c.Add.C
	a.top, a.limit = 255, limit8
	a.table = c.Table
}

// group points to a group of panels that begins at output co.
func (a *args8) group(c *Conv8, co, panels int) {
	a.half = 1<<Panel - 1
	if c.Cout-co < panels*Panel {
		a.half = 1<<8 - 1
	}
	a.w = &c.W[PackedIndex8(c.Taps, c.InMax, co, 0, 0)]
	a.bias, a.scale = &c.Bias[co], &c.Scale[co]
	a.y, a.res, a.float = first(c.Y, co), first(c.Res, co), first(c.Float, co)
}

// panels8 returns how many of the panels left to compute together.
func panels8(left int, vnni bool) int {
	switch {
	case !vnni:
		return 1
	case left == 5: // one alone would be slow
		return 3
	default:
		return min(left, 4)
	}
}

// call computes the panels of a group.
func (a *args8) call(panels int, linear, vnni bool) {
	args := (*uint8)(unsafe.Pointer(a))
	switch {
	case !vnni && linear:
		conv8AVX2Linear1(args)
	case !vnni:
		conv8AVX2Indirect1(args)
	case panels == 4 && linear:
		conv8VNNILinear4(args)
	case panels == 4:
		conv8VNNIIndirect4(args)
	case panels == 3 && linear:
		conv8VNNILinear3(args)
	case panels == 3:
		conv8VNNIIndirect3(args)
	case panels == 2 && linear:
		conv8VNNILinear2(args)
	case panels == 2:
		conv8VNNIIndirect2(args)
	case linear:
		conv8VNNILinear1(args)
	default:
		conv8VNNIIndirect1(args)
	}
}

// lookUp passes bytes through the table, which the kernels of AVX2 leave to it.
func (r *Requant8) lookUp(y []uint8) {
	for i, b := range y {
		y[i] = r.Table[b]
	}
}

func (c *Conv8) rows(lo, hi int, vnni bool) {
	g := c.G
	if g.In == nil && g.Out == nil && g.InPix == g.OutPix {
		c.linearRows(lo, hi, vnni)
		return
	}
	if len(g.Taps) > tableLen/6 {
		conv8Generic(c, lo, hi)
		return
	}
	var t table8
	var a args8
	a.set(c)
	a.taps, a.ntaps = first(g.Taps, 0), len(g.Taps)
	pad := &padRow8(c.Pad)[0]
	size := g.chunk8(len(g.Taps) * c.Cin * 4 * Panel)
	for ; lo < hi; lo += size {
		n := min(size, hi-lo)
		t.fill(g, lo, n, c.X, c.XPitch, c.YPitch, pad)
		a.pixels, a.offsets = unsafe.Pointer(&t.pixels[0]), &t.offsets[0]
		for co := 0; co < c.Cout; {
			p := panels8(Panels(c.Cout-co), vnni)
			a.group(c, co, p)
			a.n = n
			a.call(p, false, vnni)
			co += p * Panel
		}
		if c.Table != nil && !vnni {
			for _, y := range t.offsets[:n] {
				c.lookUp(c.Y[y : y+c.Cout])
			}
		}
	}
}

// linearRows is for rows whose inputs and outputs follow each other.
func (c *Conv8) linearRows(lo, hi int, vnni bool) {
	var a args8
	a.set(c)
	size := c.G.chunk8(c.Cin * 4 * Panel)
	tap := int(c.G.Taps[0]) * a.wtap
	for ; lo < hi; lo += size {
		n := min(size, hi-lo)
		a.pixels, a.first = unsafe.Pointer(&c.X[lo*c.XPitch]), lo*c.YPitch
		for co := 0; co < c.Cout; {
			p := panels8(Panels(c.Cout-co), vnni)
			a.group(c, co, p)
			a.w = (*int8)(unsafe.Add(unsafe.Pointer(a.w), tap))
			a.n = n
			a.call(p, true, vnni)
			co += p * Panel
		}
		if c.Table != nil && !vnni {
			for r := lo; r < lo+n; r++ {
				c.lookUp(c.Y[r*c.YPitch:][:c.Cout])
			}
		}
	}
}

func (d *Depthwise8) rows(lo, hi int, vnni bool) {
	g, taps := d.G, len(d.G.Taps)
	var t table8
	var a args8
	a.ntaps = taps
	a.zero, a.limit = int32(d.Zero), limit8
	a.table = d.Table
	pad := &padRow8(d.Pad)[0]
	groups := DepthwiseLen8(block8, taps)
	size := g.chunk8(taps * d.C)
	for ; lo < hi; lo += size {
		n := min(size, hi-lo)
		t.fill(g, lo, n, d.X, d.C, d.C, pad)
		a.pixels, a.offsets = unsafe.Pointer(&t.pixels[0]), &t.offsets[0]
		for ch := 0; ch < d.C; {
			// Channels of a block stand 4·16 bytes apart in weights, biases and scales.
			i := ch / 16 % 4 * 4 // of biases and scales, ch being a multiple of 16, or
			if ch%16 != 0 {
				i += 2 * Panel // of 8
			}
			b := ch &^ (block8 - 1)
			a.w, a.bias, a.scale = &d.W[ch/block8*groups+4*i], &d.Bias[b+i], &d.Scale[b+i]
			a.y, a.ch, a.n = &d.Y[ch], ch, n
			args := (*uint8)(unsafe.Pointer(&a))
			switch left := d.C - ch; {
			case vnni && left > 32:
				a.half = -1 // all bits
				if left < block8 {
					a.half = 1<<left - 1
				}
				depthwise8VNNIx64(args)
				ch += block8
			case vnni:
				a.half = 1<<left - 1
				depthwise8VNNIx32(args)
				ch += 32
			case left >= 32:
				depthwise8AVX2x32(args)
				ch += 32
			default:
				depthwise8AVX2x8(args)
				ch += 8
			}
		}
		if d.Table != nil && !vnni {
			for _, y := range t.offsets[:n] {
				d.lookUp(d.Y[y : y+d.C])
			}
		}
	}
}
