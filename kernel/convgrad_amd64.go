//go:build !purego

package kernel

import "slices"

// gradRows returns about how many rows one block of a weight gradient takes, so that
// their inputs and one panel of their output gradients stay in the first-level cache
// while all taps go through them.
func gradRows(cin int) int { return min(512, max(48, 16<<10/(4*cin+4*Panel))) }

// convGradCode is the assembly of one tier.
type convGradCode struct {
	inputs   func(left, outputs int) int // how many of so many inputs to take next
	indirect func(x, dy, dw *float32, inputs, outputs, rows, pitch, ypitch, images, image int, in *int32, tap int, zero *float32)
	listed   func(x, dy, dw *float32, inputs, outputs, rows, pitch, ypitch, images, image, yimage int, in, out *int32)
	linear   func(x, dy, dw *float32, inputs, outputs, rows, pitch, ypitch int)
}

var (
	convGradYMM = convGradCode{gradInputs, convGradIndirect, convGradListed, convGradLinear}
	convGradZMM = convGradCode{gradInputsWide, convGradIndirectWide, convGradListedWide, convGradLinearWide}
)

// gradInputs: up to 6 inputs for 16 outputs, up to 12 for 8, as even as possible.
func gradInputs(left, outputs int) int {
	most := 6 * Panel / outputs
	return left / ((left + most - 1) / most)
}

// gradInputsWide: 24, 16 or 8 inputs, as even as possible, then 4, 2 or 1.
func gradInputsWide(left, _ int) int {
	if left >= 8 {
		parts := (left + 23) / 24
		return min((left/parts+7)&^7, left&^7)
	}
	for _, n := range []int{4, 2} {
		if left >= n {
			return n
		}
	}
	return 1
}

func convGradAVX2(c *ConvGrad, lo, hi int) { c.images(&convGradYMM, lo, hi) }

func convGradAVX512(c *ConvGrad, lo, hi int) { c.images(&convGradZMM, lo, hi) }

func (c *ConvGrad) images(code *convGradCode, lo, hi int) {
	g := c.G
	rows, size := g.Rows(), gradRows(c.Cin)
	switch {
	case g.In == nil && g.Out == nil && g.InPix == g.OutPix:
		size *= 2 // one tap: less to keep
		for r := lo * rows; r < hi*rows; r += size {
			c.linear(code, r, min(size, hi*rows-r))
		}
	case g.Out != nil || g.In == nil:
		convGradGeneric(c, lo, hi)
	case rows <= size+size/2:
		per := max(1, size/rows)
		for n := lo; n < hi; n += per {
			c.block(code, n, min(per, hi-n), 0, rows)
		}
	default:
		parts := (rows + size - 1) / size
		for i := range (hi - lo) * parts {
			c.block(code, lo+i/parts, 1, rows*(i%parts)/parts, rows*(i%parts+1)/parts)
		}
	}
}

// block accumulates over the outputs [from, to) of each of several images; more than one
// are taken whole.
func (c *ConvGrad) block(code *convGradCode, image, images, from, to int) {
	g := c.G
	pitch, ypitch := 4*c.XPitch, 4*c.YPitch
	x, dy := c.X[image*g.InPix*c.XPitch:], c.DY[image*g.OutPix*c.YPitch:]
	for co := 0; co < c.Cout; co += Panel {
		for j := range g.Taps {
			if g.taps == nil {
				dy, in, tap := &dy[from*c.YPitch+co], &g.In[from*len(g.Taps)+j], 4*len(g.Taps)
				c.tiles(code, co, j, func(outputs, ci, inputs int, dw *float32) {
					code.indirect(&x[ci], dy, dw, inputs, outputs, to-from, pitch, ypitch,
						images, pitch*g.InPix, in, tap, &zeros[0])
				})
				continue
			}
			in, out := g.taps[j].within(from, to)
			if len(in) == 0 {
				continue
			}
			c.tiles(code, co, j, func(outputs, ci, inputs int, dw *float32) {
				code.listed(&x[ci], &dy[co], dw, inputs, outputs, len(in), pitch, ypitch,
					images, pitch*g.InPix, ypitch*g.OutPix, &in[0], &out[0])
			})
		}
	}
}

// within returns the rows whose outputs are in [from, to).
func (t *tapRows) within(from, to int) (in, out []int32) {
	i, _ := slices.BinarySearch(t.out, int32(from))
	end, _ := slices.BinarySearch(t.out, int32(to))
	return t.in[i:end], t.out[i:end]
}

// linear accumulates over n rows from row r on whose inputs and outputs follow each other.
func (c *ConvGrad) linear(code *convGradCode, r, n int) {
	x, dy := c.X[r*c.XPitch:], c.DY[r*c.YPitch:]
	for co := 0; co < c.Cout; co += Panel {
		c.tiles(code, co, 0, func(outputs, ci, inputs int, dw *float32) {
			code.linear(&x[ci], &dy[co], dw, inputs, outputs, n, 4*c.XPitch, 4*c.YPitch)
		})
	}
}

// tiles calls f for the blocks of inputs that the assembly takes at a time, for the panel
// of output co and column j of the gather.
func (c *ConvGrad) tiles(code *convGradCode, co, j int, f func(outputs, ci, inputs int, dw *float32)) {
	outputs := min(Panel, c.Cout-co)
	for ci := 0; ci < c.Cin; {
		inputs := code.inputs(c.Cin-ci, outputs)
		f(outputs, ci, inputs, &c.DW[PackedIndex(c.Taps, c.InMax, co, int(c.G.Taps[j]), ci)])
		ci += inputs
	}
}
