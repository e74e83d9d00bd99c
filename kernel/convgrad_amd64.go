//go:build !purego

package kernel

import "slices"

// gradRows returns about how many rows one block of a weight gradient takes, so that
// their inputs and one panel of their output gradients stay in the first-level cache
// while all taps go through them.
func gradRows(cin int) int { return min(512, max(48, 16<<10/(4*cin+4*Panel))) }

func convGradAVX2(c *ConvGrad, lo, hi int) {
	g := c.G
	rows, size := g.Rows(), gradRows(c.Cin)
	switch {
	case g.In == nil && g.Out == nil && g.InPix == g.OutPix:
		size *= 2 // one tap: less to keep
		for r := lo * rows; r < hi*rows; r += size {
			c.linear(r, min(size, hi*rows-r))
		}
	case g.Out != nil || g.In == nil:
		convGradGeneric(c, lo, hi)
	case rows <= size+size/2:
		per := max(1, size/rows)
		for n := lo; n < hi; n += per {
			c.block(n, min(per, hi-n), 0, rows)
		}
	default:
		parts := (rows + size - 1) / size
		for i := range (hi - lo) * parts {
			c.block(lo+i/parts, 1, rows*(i%parts)/parts, rows*(i%parts+1)/parts)
		}
	}
}

// block accumulates over the outputs [from, to) of each of several images; more than one
// are taken whole.
func (c *ConvGrad) block(image, images, from, to int) {
	g := c.G
	pitch, ypitch := 4*c.XPitch, 4*c.YPitch
	x, dy := c.X[image*g.InPix*c.XPitch:], c.DY[image*g.OutPix*c.YPitch:]
	for co := 0; co < c.Cout; co += Panel {
		for j := range g.Taps {
			if g.taps == nil {
				dy, in, tap := &dy[from*c.YPitch+co], &g.In[from*len(g.Taps)+j], 4*len(g.Taps)
				c.tiles(co, j, func(outputs, ci, inputs int, dw *float32) {
					convGradIndirect(&x[ci], dy, dw, inputs, outputs, to-from, pitch, ypitch,
						images, pitch*g.InPix, in, tap, &zeros[0])
				})
				continue
			}
			in, out := g.taps[j].within(from, to)
			if len(in) == 0 {
				continue
			}
			c.tiles(co, j, func(outputs, ci, inputs int, dw *float32) {
				convGradListed(&x[ci], &dy[co], dw, inputs, outputs, len(in), pitch, ypitch,
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
func (c *ConvGrad) linear(r, n int) {
	x, dy := c.X[r*c.XPitch:], c.DY[r*c.YPitch:]
	for co := 0; co < c.Cout; co += Panel {
		c.tiles(co, 0, func(outputs, ci, inputs int, dw *float32) {
			convGradLinear(&x[ci], &dy[co], dw, inputs, outputs, n, 4*c.XPitch, 4*c.YPitch)
		})
	}
}

// tiles calls f for the blocks of inputs that the assembly takes at a time, for the panel
// of output co and column j of the gather: up to 6 inputs for 16 outputs, up to 12 for 8,
// as even as possible.
func (c *ConvGrad) tiles(co, j int, f func(outputs, ci, inputs int, dw *float32)) {
	outputs, most := Panel, 6
	if c.Cout-co < Panel {
		outputs, most = 8, 12
	}
	parts := (c.Cin + most - 1) / most
	for p, ci := 0, 0; p < parts; p++ {
		inputs := (c.Cin - ci) / (parts - p)
		f(outputs, ci, inputs, &c.DW[PackedIndex(c.Taps, c.InMax, co, int(c.G.Taps[j]), ci)])
		ci += inputs
	}
}
