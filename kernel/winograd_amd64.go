//go:build !purego

package kernel

import "unsafe"

func winogradAVX2(w *Winograd, lo, hi int, scratch []float32) {
	w.blocks(&winogradYMM, lo, hi, scratch)
}

func winogradAVX512(w *Winograd, lo, hi int, scratch []float32) {
	w.blocks(&winogradZMM, lo, hi, scratch)
}

// winogradCode is the assembly of one tier, transforms by form.
type winogradCode struct {
	outputs  int // that are computed together
	rows     int // tiles that the accumulators hold
	input    [winogradM + 1]winogradInput
	products winogradProduct
	sums     winogradSums
	output   [winogradM + 1]winogradOutput
	few      [winogradM + 1]winogradOutputFews
}

var winogradInputFew = [...]winogradInputFews{2: winogradInputFew2, 4: winogradInputFew4}

type (
	winogradInputFews  func(v, x *float32, offset, row, pixel, above, left, down, right int, zero, tmp *float32)
	winogradOutputFews func(v, u, y *float32, row, pixel, down, right int, tmp *float32, channels int,
		scale, shift, res *float32, act int)
	winogradInput func(v *float32, stride int, x *float32, offset, row, pixel, above, left, down, right int,
		zero, tmp *float32, channels int)
	winogradProduct func(v *float32, vstride, row int, u *float32, ustride, upanel int, m *float32, mstride, mrow int,
		positions, groups, rows, more, outputs int)
	winogradSums func(v *float32, vstride, row int, u *float32, ustride, upanel int, m *float32, mstride, mrow int,
		terms *int, sums, groups, rows, more, outputs int)
	winogradOutput func(m *float32, stride int, y *float32, row, pixel, down, right int, tmp *float32, channels int,
		scale, shift, res *float32, act int)
)

var (
	winogradYMM = winogradCode{
		outputs: Panel, rows: 6,
		input:    [...]winogradInput{2: winogradInput2, 3: winogradInputDown, 4: winogradInput4},
		products: winogradProducts,
		sums:     winogradProductsDown,
		output:   [...]winogradOutput{2: winogradOutput2, 3: winogradOutputDown, 4: winogradOutput4},
		few:      [...]winogradOutputFews{2: winogradOutputFew2, 4: winogradOutputFew4},
	}
	winogradZMM = winogradCode{
		outputs: 2 * Panel, rows: 14,
		input:    [...]winogradInput{2: winogradInput2Wide, 3: winogradInputDownWide, 4: winogradInput4Wide},
		products: winogradProductsWide,
		sums:     winogradProductsDownWide,
		output:   [...]winogradOutput{2: winogradOutput2Wide, 3: winogradOutputDownWide, 4: winogradOutput4Wide},
		few:      [...]winogradOutputFews{2: winogradOutputFew2Wide, 4: winogradOutputFew4Wide},
	}
)

// winogradBlock is tiles that are worked on together, and their scratch: transformed
// inputs v at [position][tile][Cin] and products m at [position][tile][outputs], each
// position a cache line further than it need be, so that not all fall on the same set of
// the cache, and what one tile needs in between.
type winogradBlock struct {
	*winogradCode
	first     winogradTile
	tiles     int
	tmp, v, m *float32
	vStride   int // floats from position to position
	mStride   int
}

// blocks works off the tiles [lo, hi).
func (w *Winograd) blocks(code *winogradCode, lo, hi int, scratch []float32) {
	if w.Cin > len(zeros) {
		winogradGeneric(w, lo, hi, scratch)
		return
	}
	step, positions := w.Step(), w.positions()
	skip := int(-uintptr(unsafe.Pointer(&scratch[0]))%(float*winogradLine)) / float
	tmp, v := scratch[skip:], scratch[skip+winogradTmp:]
	for lo < hi {
		parts := (hi - lo + step - 1) / step
		b := winogradBlock{winogradCode: code, first: w.tile(lo), tiles: (hi - lo + parts - 1) / parts, tmp: &tmp[0], v: &v[0]}
		b.vStride = b.tiles*w.Cin + winogradLine
		b.mStride = b.tiles*code.outputs + winogradLine
		b.m = &v[positions*b.vStride]
		if w.Cin == WinogradFew {
			w.few(&b)
		} else {
			w.inputs(&b)
			for co := 0; co < w.Cout; co += code.outputs {
				if w.Stride == 1 {
					w.products(&b, co)
				} else {
					w.sums(&b, co)
				}
				w.outputs(&b, co)
			}
		}
		lo += b.tiles
	}
}

// inputs transforms the inputs of a block.
func (w *Winograd) inputs(b *winogradBlock) {
	row, pixel := w.W*w.XPitch, w.XPitch
	input, t := b.input[w.form()], b.first
	for i := range b.tiles {
		y, x := t.row*w.Stride, t.col*w.Stride
		input(ahead(b.v, i*w.Cin), float*b.vStride, &w.X[t.image*w.H*row], float*((y-1)*row+(x-1)*pixel),
			float*row, float*pixel, isZero(y), isZero(x), w.H-y+1, w.W-x+1, &zeros[0], b.tmp, float*w.Cin)
		w.next(&t)
	}
}

// few computes a block of few inputs, which stand at [tile][position][4].
func (w *Winograd) few(b *winogradBlock) {
	row, pixel := w.W*w.XPitch, w.XPitch
	positions := w.positions()
	t := b.first
	for i := range b.tiles {
		winogradInputFew[w.M](ahead(b.v, 4*positions*i), &w.X[t.image*w.H*row], float*((t.row-1)*row+(t.col-1)*pixel),
			float*row, float*pixel, isZero(t.row), isZero(t.col), w.H-t.row+1, w.W-t.col+1, &zeros[0], b.tmp)
		w.next(&t)
	}
	row, pixel = w.W*w.YPitch, w.YPitch
	for co := 0; co < w.Cout; co += Panel {
		u, n := &w.U[PackedIndex(positions, w.InMax, co, 0, 0)], min(Panel, w.Cout-co)
		t := b.first
		for i := range b.tiles {
			y := (t.image*w.H+t.row)*row + t.col*pixel + co
			b.winogradCode.few[w.M](ahead(b.v, 4*positions*i), u, &w.Y[y], float*row, float*pixel, w.H-t.row, w.W-t.col,
				b.tmp, float*n, first(w.Scale, co), first(w.Shift, co), first(w.Res, y), int(w.Act))
			w.next(&t)
		}
	}
}

// products multiplies transformed inputs and weights for the outputs from co on.
func (w *Winograd) products(b *winogradBlock, co int) {
	n := min(b.winogradCode.outputs, w.Cout-co)
	positions := w.positions()
	groups := (b.tiles + b.rows - 1) / b.rows
	size := max(1, winogradCall/(b.tiles*w.Cin*n)) // positions a call
	for p := 0; p < positions; p += size {
		b.winogradCode.products(ahead(b.v, p*b.vStride), float*b.vStride, float*w.Cin,
			&w.U[PackedIndex(positions, w.InMax, co, p, 0)], float*w.InMax*Panel, float*positions*w.InMax*Panel,
			ahead(b.m, p*b.mStride), float*b.mStride, float*b.winogradCode.outputs,
			min(size, positions-p), groups, b.tiles/groups, b.tiles%groups, n)
	}
}

// outputs transforms the products for the outputs from co on.
func (w *Winograd) outputs(b *winogradBlock, co int) {
	row, pixel := w.outW()*w.YPitch, w.YPitch
	n := min(b.winogradCode.outputs, w.Cout-co)
	t := b.first
	for i := range b.tiles {
		y := (t.image*w.outH()+t.row)*row + t.col*pixel + co
		b.output[w.form()](ahead(b.m, i*b.winogradCode.outputs), float*b.mStride, &w.Y[y], float*row, float*pixel,
			w.outH()-t.row, w.outW()-t.col, b.tmp, float*n, first(w.Scale, co), first(w.Shift, co), first(w.Res, y), int(w.Act))
		w.next(&t)
	}
}

const (
	float        = 4       // bytes
	winogradCall = 5 << 19 // multiply-adds of one call, which cannot be preempted
)

// ahead returns the address n floats behind p.
func ahead(p *float32, n int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), float*n))
}

func isZero(n int) int {
	if n == 0 {
		return 1
	}
	return 0
}
